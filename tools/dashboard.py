"""The Grafana dashboard, `deploy/monitoring/dashboard.json`: written from a table, so that it can be read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

PAGE = "deploy/monitoring/dashboard.json"


@dataclass(frozen=True)
class Panel:
    """A graph.

    Args:
        title: Above it.
        queries: PromQL by legend.
        unit: Of Grafana: `s`, `short`, `ops`.
        text: What a reader should think of it.
    """

    title: str
    queries: dict[str, str]
    unit: str
    text: str


def _quantiles(metric: str, by: str = "", where: str = "") -> dict[str, str]:
    labels = f"le, {by}" if by else "le"
    legend = f" {{{{{by}}}}}" if by else ""
    rate = f"sum by ({labels}) (rate({metric}_bucket{{{where}}}[$__rate_interval]))"
    return {
        f"{name}{legend}": f"histogram_quantile({value}, {rate})" for name, value in (("p50", 0.5), ("p95", 0.95))
    }


def _sums(metric: str, by: str) -> str:
    return f"sum by ({by}) (increase({metric}[$__rate_interval]))"


PANELS: Final = (
    Panel(
        "Operations ended",
        {"{{kind}} {{outcome}}": _sums("bond_operation_duration_seconds_count", "kind, outcome")},
        "short",
        "What became of the operations on services.",
    ),
    Panel(
        "Duration of operations",
        _quantiles("bond_operation_duration_seconds", "promise"),
        "s",
        "From start to end, waits for approvals included.",
    ),
    Panel(
        "Wait in the queues of services",
        _quantiles("bond_operation_queue_seconds"),
        "s",
        "One operation of a service runs at a time.",
    ),
    Panel(
        "Wait for control workers",
        _quantiles("temporal_workflow_task_schedule_to_start_latency_seconds"),
        "s",
        "Above a second for long: one control worker more.",
    ),
    Panel(
        "Wait for executor workers",
        _quantiles("temporal_activity_schedule_to_start_latency_seconds", "task_queue", 'process="executor"'),
        "s",
        "Above a minute for long: one executor worker of that pool more.",
    ),
    Panel(
        "Terraform slots",
        {"{{use}} {{state}}": "sum by (use, state) (bond_terraform_slots)"},
        "short",
        "Waiting above 0 for long: more slots, or more workers.",
    ),
    Panel(
        "Wait for states",
        _quantiles("bond_state_lease_wait_seconds", "found"),
        "s",
        "`held` grows when workers die while they work.",
    ),
    Panel(
        "Activities that failed",
        {"{{activity_type}}": _sums("temporal_activity_execution_failed_total", "activity_type")},
        "short",
        "Attempts: most are tried again.",
    ),
    Panel(
        "Duration of activities",
        _quantiles("temporal_activity_execution_latency_seconds", "activity_type", 'process="executor"'),
        "s",
        "Plans and applies among them.",
    ),
    Panel(
        "Workers",
        {"{{process}}": "count by (process) (count by (process, instance) (temporal_num_pollers))"},
        "short",
        "Processes that poll Temporal.",
    ),
)


def text() -> str:
    """The whole file."""
    return json.dumps(_dashboard(), indent=2)


def _dashboard() -> dict[str, Any]:
    return {
        "title": "Bondstone",
        "uid": "bondstone",
        "tags": ["bondstone", "temporal"],
        "schemaVersion": 39,
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "30s",
        "templating": {
            "list": [{"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}]
        },
        "panels": [_panel(number, panel) for number, panel in enumerate(PANELS)],
    }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "${datasource}"}
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.text,
        "datasource": source,
        "gridPos": {"x": 12 * (number % 2), "y": 8 * (number // 2), "w": 12, "h": 8},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + at), "datasource": source, "expr": query, "legendFormat": legend}
            for at, (legend, query) in enumerate(panel.queries.items())
        ],
    }
