"""What an ended operation changes in its service, as functions on frozen state."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from bondstone.errors import OperationCancelled
from bondstone.model.service import (
    CancelCall,
    OperationKind,
    OperationRecord,
    OperationResult,
    OperationStatus,
    Phase,
    ServiceState,
    StepOutputs,
    StepStatus,
)

MAX_OPERATIONS: Final = 10
MAX_SEEN_REQUESTS: Final = 200

_RUNNING_PHASES = {
    OperationKind.PROVISION: Phase.PROVISIONING,
    OperationKind.DECOMMISSION: Phase.DECOMMISSIONING,
}


def commit(state: ServiceState, ended: OperationRecord, result: OperationResult) -> ServiceState:
    """The state after the operation at the head of the queue has ended."""
    succeeded = result.status is OperationStatus.SUCCEEDED
    outputs = _step_outputs(state, ended)
    changes: dict[str, object] = {
        "queue": tuple(pending for pending in state.queue if pending.record.number != ended.number),
        "operations": (*state.operations, ended)[-MAX_OPERATIONS:],
        "step_outputs": outputs,
        "health": result.health,
    }
    if ended.kind is OperationKind.DECOMMISSION and succeeded:
        changes |= {"phase": Phase.DECOMMISSIONED, "outputs": {}, "step_outputs": {}}
    elif succeeded:
        changes |= {"phase": Phase.READY, "outputs": result.outputs}
    else:
        changes |= {"phase": Phase.FAILED}
    return state.model_copy(update=changes)


def drop_pending(state: ServiceState, call: CancelCall, now: datetime) -> ServiceState:
    """The state after an operation that was still waiting has been cancelled."""
    dropped = next(pending.record for pending in state.queue if pending.record.number == call.number)
    why = f": {call.reason}" if call.reason else ""
    error = OperationCancelled(f"cancelled by {call.requested_by}{why}", hint="it had not started")
    ended = dropped.model_copy(
        update={"status": OperationStatus.CANCELLED, "error": error.info(), "finished_at": now}
    )
    return state.model_copy(
        update={
            "queue": tuple(pending for pending in state.queue if pending.record.number != call.number),
            "operations": (*state.operations, ended)[-MAX_OPERATIONS:],
        }
    )


def phase_of(state: ServiceState) -> Phase:
    """The phase to show: that of what runs, else the one the last operation left."""
    if state.queue and state.queue[0].record.status is OperationStatus.RUNNING:
        return _RUNNING_PHASES[state.queue[0].record.kind]
    return state.phase


def remember_request(seen: dict[str, int], request_id: str, number: int) -> dict[str, int]:
    """Request ids with the new one last; the oldest are forgotten."""
    kept = list(seen.items())[-(MAX_SEEN_REQUESTS - 1) :]
    return dict([*kept, (request_id, number)])


def _step_outputs(state: ServiceState, ended: OperationRecord) -> dict[str, StepOutputs]:
    """The outputs of every step that stands, after what this operation applied or destroyed."""
    outputs = dict(state.step_outputs)
    for step in ended.steps:
        if step.outputs is not None:
            outputs[step.id] = step.outputs
        elif ended.kind is OperationKind.DECOMMISSION and step.status in {
            StepStatus.SUCCEEDED,
            StepStatus.UNCHANGED,
        }:
            outputs.pop(step.id, None)
    return outputs
