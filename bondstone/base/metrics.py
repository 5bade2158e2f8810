"""What Bondstone measures; workers export it to Prometheus (`bondstone.workers.telemetry`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

_SECONDS: Final = (0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400)


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric.

    Args:
        name: As Prometheus shows it.
        kind: A histogram counts values, a gauge keeps the last.
        text: What it is, for people.
        labels: What tells its series apart; each takes few values.
        process: Who has it.
        buckets: Upper bounds of a histogram.
    """

    name: str
    kind: Literal["histogram", "gauge"]
    text: str
    labels: tuple[str, ...]
    process: Literal["control", "executor"]
    buckets: tuple[float, ...] = ()

    def record(self, value: float, **labels: str) -> None:
        """Say a value.

        Args:
            value: Seconds of a histogram; a number of things of a gauge.
            labels: One for each of `labels`.
        """
        _sink(self, value, labels)


OPERATION_DURATION: Final = Metric(
    "bond_operation_duration_seconds",
    "histogram",
    "From the start of an operation to its end, waits for people included",
    ("kind", "promise", "outcome"),
    "control",
    _SECONDS,
)
OPERATION_QUEUE: Final = Metric(
    "bond_operation_queue_seconds",
    "histogram",
    "From the acceptance of an operation to its start: the time in the queue of its service",
    ("kind", "promise"),
    "control",
    _SECONDS,
)
TERRAFORM_SLOTS: Final = Metric(
    "bond_terraform_slots",
    "gauge",
    "Places for Terraform processes: `state` is `total`, `used` or `waiting`, `use` is `change` or `read`",
    ("use", "state"),
    "executor",
)
LEASE_WAIT: Final = Metric(
    "bond_state_lease_wait_seconds",
    "histogram",
    "How long an attempt waited until it held a state; `found` is `free` or `held`",
    ("found",),
    "executor",
    (0.1, *_SECONDS[:-2]),
)

METRICS: Final = (OPERATION_DURATION, OPERATION_QUEUE, TERRAFORM_SLOTS, LEASE_WAIT)


def use(sink: Callable[[Metric, float, Mapping[str, str]], None]) -> None:
    """Where values go from here on; nowhere, as long as nobody says so."""
    global _sink  # noqa: PLW0603 - a process has one place for its metrics, as it has one log
    _sink = sink


def _nowhere(metric: Metric, value: float, labels: Mapping[str, str]) -> None:
    del metric, value, labels


_sink: Callable[[Metric, float, Mapping[str, str]], None] = _nowhere
