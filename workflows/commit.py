"""What an ended operation changes in its service, as functions on frozen state."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from bondstone.base.errors import OperationCancelled
from bondstone.model.service import (
    CancelCall,
    Health,
    OperationKind,
    OperationRecord,
    OperationResult,
    OperationStatus,
    PendingOperation,
    Phase,
    Resolved,
    ServiceState,
    StepStatus,
)

MAX_OPERATIONS: Final = 10
MAX_SEEN_REQUESTS: Final = 200
MAX_HEALTHY: Final = 3

_RUNNING_PHASES = {
    OperationKind.PROVISION: Phase.PROVISIONING,
    OperationKind.UPDATE: Phase.UPDATING,
    OperationKind.PATCH: Phase.PATCHING,
    OperationKind.UPGRADE: Phase.UPGRADING,
    OperationKind.ROLLBACK: Phase.ROLLING_BACK,
    OperationKind.RECONCILE: Phase.RECONCILING,
    OperationKind.DECOMMISSION: Phase.DECOMMISSIONING,
}


def commit(
    state: ServiceState, pending: PendingOperation, ended: OperationRecord, result: OperationResult
) -> ServiceState:
    """The state after the operation at the head of the queue has ended."""
    succeeded = result.status is OperationStatus.SUCCEEDED
    failed = not succeeded and result.status is not OperationStatus.ROLLED_BACK
    changes: dict[str, object] = {
        "queue": tuple(waiting for waiting in state.queue if waiting.record.number != ended.number),
        "operations": (*state.operations, ended)[-MAX_OPERATIONS:],
        "retryable": pending if failed and not ended.dry_run else None,
    }
    if not ended.dry_run:
        changes |= _stands(state, pending, result)
        changes |= {"resting": _resting(state, pending, result), "failed_checks": _failed_checks(state, result)}
    return state.changed(**changes)


def drop_pending(state: ServiceState, call: CancelCall, now: datetime) -> ServiceState:
    """The state after an operation that was still waiting has been cancelled."""
    dropped = next(pending.record for pending in state.queue if pending.record.number == call.number)
    why = f": {call.reason}" if call.reason else ""
    error = OperationCancelled(f"cancelled by {call.requested_by}{why}", hint="it had not started")
    ended = dropped.changed(
        status=OperationStatus.CANCELLED,
        error=error.info(),
        finished_at=now,
    )
    return state.changed(
        queue=tuple(pending for pending in state.queue if pending.record.number != call.number),
        operations=(*state.operations, ended)[-MAX_OPERATIONS:],
    )


def phase_of(state: ServiceState) -> Phase:
    """The phase to show: that of what runs, else the one the last operation left."""
    head = state.queue[0].record if state.queue else None
    if head is not None and head.status is OperationStatus.AWAITING_APPROVAL:
        return Phase.AWAITING_APPROVAL
    if head is not None and head.status is OperationStatus.RUNNING:
        return _RUNNING_PHASES[head.kind]
    return state.resting


def next_due(state: ServiceState, now: datetime) -> datetime | None:
    """When the service will look for drift by itself; None when it never does."""
    resolved = state.resolved
    if resolved is None or not resolved.day_two.reconcile_seconds or not state.healthy or state.paused_by:
        return None
    return now + timedelta(seconds=resolved.day_two.reconcile_seconds)


def rollback_target(state: ServiceState) -> Resolved | None:
    """The last revision and inputs that were healthy, other than what the service stands on."""
    return next(iter(state.ways_back), None)


def remember_request(numbers: dict[str, int], request_id: str, number: int) -> dict[str, int]:
    """Request ids with the new one last; the oldest are forgotten."""
    kept = list(numbers.items())[-(MAX_SEEN_REQUESTS - 1) :]
    return dict([*kept, (request_id, number)])


def _stands(state: ServiceState, pending: PendingOperation, result: OperationResult) -> dict[str, object]:
    """Revision, outputs and health after the operation."""
    kind = pending.record.kind
    succeeded = result.status is OperationStatus.SUCCEEDED
    outputs = state.step_outputs if result.step_outputs is None else result.step_outputs
    if kind is OperationKind.DECOMMISSION:
        gone: dict[str, object] = {"outputs": {}} if succeeded else {}
        if result.stands != "before":
            gone |= {"health": Health.UNKNOWN}
        return gone | {"step_outputs": outputs}
    if kind is OperationKind.RECONCILE:
        return {"step_outputs": outputs, "drift": result.drift if succeeded else state.drift}
    changes: dict[str, object] = {"step_outputs": outputs}
    if result.stands != "before" or state.resolved is None:
        changes["resolved"] = pending.resolved
        if pending.request is not None and pending.request.applied is not None:
            changes["applied"] = pending.request.applied
    if result.stands != "before" or result.status is OperationStatus.ROLLED_BACK:
        changes |= {"health": result.health, "drift": 0}
    if succeeded:
        changes |= {"outputs": result.outputs, "healthy": _with_healthy(state, pending.resolved)}
    elif result.status is OperationStatus.ROLLED_BACK:
        changes |= {"outputs": result.outputs}
    return changes


def _failed_checks(state: ServiceState, result: OperationResult) -> dict[str, tuple[str, ...]]:
    """What the checks of each step say now: a step that was not looked at keeps what they said."""
    checks = dict(state.failed_checks)
    for step in result.steps:
        if step.status in {StepStatus.SUCCEEDED, StepStatus.UNCHANGED}:
            destroyed = step.plan is not None and step.plan.destroy
            checks[step.id] = () if destroyed else step.failed_checks
    return {step: words for step, words in checks.items() if words}


def _with_healthy(state: ServiceState, resolved: Resolved) -> tuple[Resolved, ...]:
    others = tuple(past for past in state.healthy if not past.same(resolved))
    return (*others, resolved)[-MAX_HEALTHY:]


def _resting(state: ServiceState, pending: PendingOperation, result: OperationResult) -> Phase:
    kind = pending.record.kind
    if result.status is OperationStatus.SUCCEEDED:
        if kind is OperationKind.DECOMMISSION:
            return Phase.DECOMMISSIONED
        return state.resting if kind is OperationKind.RECONCILE and not pending.repair else Phase.READY
    if result.status is OperationStatus.ROLLED_BACK:
        return Phase.READY
    if kind is OperationKind.PROVISION or not state.healthy:
        return Phase.FAILED
    if kind is OperationKind.DECOMMISSION and result.stands != "before":
        return Phase.FAILED
    return state.resting if result.stands == "before" else Phase.DEGRADED
