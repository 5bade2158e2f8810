"""What the expressions of a promise can see: its inputs, its service, the operation, outputs of steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bondstone.base.names import SERVICE_EXECUTOR
from bondstone.cel import Variables
from bondstone.model.promise import Promise
from bondstone.model.secret import as_ref
from bondstone.model.service import OperationKind, ServiceId, StepOutputs
from bondstone.promise.schema import Field, fields

EXACT: Final = 2**53
"""Up to here a float holds every whole number."""


def variables_for(
    promise: Promise,
    *,
    service: ServiceId,
    labels: Mapping[str, str],
    kind: OperationKind,
    inputs: Mapping[str, Any],
    outputs: Mapping[str, StepOutputs],
    service_outputs: Mapping[str, Any] | None = None,
) -> Variables:
    """The variables of an operation on a service, by dotted name.

    Every declared input is there, with null for one that was not given; what the schema calls a `number` is a
    float, so that `inputs.ratio * 2.0` holds for 3 as for 3.5, but for a whole one beyond 2**53.
    Values are taken as they are: reveal references first where the values are wanted.
    """
    variables: dict[str, Any] = {f"inputs.{name}": value for name, value in inputs.items()}
    for item in fields(promise):
        _add(variables, item, inputs.get(item.path))
    variables["service.name"] = service.name
    variables["service.team"] = service.team
    variables["service.labels"] = dict(labels)
    variables["context.operation"] = str(kind)
    parts = {step.id for step in promise.spec.steps if step.executor == SERVICE_EXECUTOR}
    for step, step_outputs in outputs.items():
        for name, value in step_outputs.values.items():
            variables[f"steps.{step}.outputs.{name}"] = value
            if step in parts:
                variables[f"requires.{step}.outputs.{name}"] = value
    for name, value in (service_outputs or {}).items():
        variables[f"outputs.{name}"] = value
    return variables


def _add(variables: dict[str, Any], item: Field, value: Any) -> None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if item.type.startswith("double"):
            value = _as_float(value)
        elif item.type.startswith("int") and isinstance(value, float) and value.is_integer():
            value = int(value)
    variables[f"inputs.{item.path}"] = value
    for member in item.members:
        name = member.path.rpartition(".")[2]
        inside = value.get(name) if isinstance(value, Mapping) and as_ref(value) is None else None
        _add(variables, member, inside)


def _as_float(value: float) -> float:
    """The number as a float, but for a whole one with more digits than a float keeps."""
    return value if isinstance(value, int) and abs(value) > EXACT else float(value)
