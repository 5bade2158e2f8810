"""The runtime of the SDK as a worker wants it: its warnings in our log, its metrics and ours for Prometheus."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from temporalio.common import MetricGaugeFloat, MetricHistogramFloat, MetricMeter
from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    PrometheusConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)

from bondstone.base import metrics
from bondstone.base.errors import SettingsInvalid
from bondstone.base.metrics import METRICS, Metric

_PROCESS: Final = "process"
"""The label by which a control worker's series differ from an executor worker's."""


def start(name: str, metrics_bind: str) -> None:
    """Set the runtime of this process up; once, before anything connects.

    Args:
        name: What kind of process this is, for the label `process`.
        metrics_bind: `IP:PORT` to serve `/metrics` on; empty for none.

    Raises:
        SettingsInvalid: nothing can listen there.
    """
    # Core's own lines go through Python's logging too; warnings only, its info is about itself.
    core = LoggingConfig(
        TelemetryFilter(core_level="WARN", other_level="ERROR"),
        forwarding=LogForwardingConfig(logger=logging.getLogger("temporalio.core")),
    )
    if not metrics_bind:
        Runtime.set_default(Runtime(telemetry=TelemetryConfig(logging=core)))
        return
    prometheus = PrometheusConfig(
        bind_address=metrics_bind,
        counters_total_suffix=True,
        unit_suffix=True,
        durations_as_seconds=True,
        histogram_bucket_overrides={metric.name: metric.buckets for metric in METRICS if metric.buckets},
    )
    try:
        runtime = Runtime(
            telemetry=TelemetryConfig(
                logging=core, metrics=prometheus, attach_service_name=False, global_tags={_PROCESS: name}
            )
        )
    except ValueError as error:
        raise SettingsInvalid(
            f"metrics cannot be served: {error}",
            where=f"metrics_bind = {metrics_bind}",
            hint="BOND_METRICS_BIND is IP:PORT, as in 127.0.0.1:9464, and each process needs a port of its own",
        ) from error
    Runtime.set_default(runtime)
    metrics.use(_Sink(runtime.metric_meter))


class _Sink:
    def __init__(self, meter: MetricMeter) -> None:
        self._made: dict[str, MetricHistogramFloat | MetricGaugeFloat] = {
            metric.name: meter.create_histogram_float(metric.name, metric.text)
            if metric.kind == "histogram"
            else meter.create_gauge_float(metric.name, metric.text)
            for metric in METRICS
        }

    def __call__(self, metric: Metric, value: float, labels: Mapping[str, str]) -> None:
        instrument = self._made[metric.name]
        if isinstance(instrument, MetricHistogramFloat):
            instrument.record(value, labels)
        elif isinstance(instrument, MetricGaugeFloat):
            instrument.set(value, labels)
