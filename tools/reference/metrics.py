"""The page of every metric: from `bondstone/base/metrics.py`."""

from __future__ import annotations

from bondstone.base.metrics import METRICS
from tools.docstrings import cell

PAGE = "docs/reference/metrics.md"

HEAD = """# Metrics

A worker serves Prometheus metrics at `/metrics` where the setting `metrics_bind` (`BOND_METRICS_BIND`, `IP:PORT`)
says so. Every series has the label `process`: `control` or `executor`. Times are in seconds. There is no access
control: bind to an address that only Prometheus reaches.

With `bond up`, the first control worker takes the port, each further worker the next one.

## Bondstone's own

| metric | kind | labels | of | what it is |
|---|---|---|---|---|
"""

TAIL = """
`outcome` is how the operation ended: `succeeded`, `failed`, `cancelled`, … as in the ledger. An operation counts
once it is in the ledger.

## Of the Temporal SDK

The SDK adds its own, with the prefix `temporal_` and labels as `task_queue`, `activity_type`, `workflow_type`. Worth
watching:

| metric | what it says of Bondstone |
|---|---|
| `temporal_activity_schedule_to_start_latency_seconds` | how long steps wait for a worker of their pool (`task_queue="pool/NAME"`) |
| `temporal_workflow_task_schedule_to_start_latency_seconds` | how long workflows wait for a control worker: add one when it grows |
| `temporal_activity_execution_latency_seconds` | how long activities take, `activity_type="terraform.apply"` among them |
| `temporal_activity_execution_failed_total` | attempts that failed; Temporal tries again where that may help |
| `temporal_workflow_task_execution_failed_total` | should stay 0: a workflow task that fails is tried for ever |
| `temporal_worker_task_slots_available` | 0 for long: the worker is full |
| `temporal_num_pollers` | 0: the worker has lost Temporal |
| `temporal_request_failure_total` | requests to Temporal that failed |
"""


def text() -> str:
    """The whole page."""
    rows = [
        f"| `{metric.name}` | {metric.kind} | {', '.join(f'`{label}`' for label in metric.labels)} "
        f"| {metric.process} | {cell(metric.text)} |\n"
        for metric in METRICS
    ]
    return HEAD + "".join(rows) + TAIL
