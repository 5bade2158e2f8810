"""What a service says to campaigns, as functions on its state: no clock, no I/O."""

from __future__ import annotations

from typing import Any, Final

from bondstone.model.campaign.events import AttemptAccepted, AttemptDeclined, AttemptFinished
from bondstone.model.campaign.run import SubmitCall, WithdrawCall
from bondstone.model.plan import ChangeCounts
from bondstone.model.service import (
    OperationKind,
    OperationRecord,
    OperationStatus,
    Request,
    ServiceState,
    Submission,
)

MAX_ENDED: Final = 10
"""How many submissions that have ended are kept, to answer once more."""

_MOVES: Final = frozenset({OperationKind.PATCH, OperationKind.UPGRADE})
_RETRIED: Final = _MOVES | {OperationKind.UPDATE}

Said = AttemptAccepted | AttemptDeclined | AttemptFinished


def answer(state: ServiceState, call: SubmitCall) -> Said | Request:
    """What to say to a submission at once; or the request to take on for it."""
    known = find(state, call.request.request_id)
    if known is not None:
        return last_answer(known)
    if any(pending.record.kind is OperationKind.DECOMMISSION for pending in state.queue):
        return _declined(call, "skipped", "it is being decommissioned")
    if state.queue:
        head = state.queue[0].record
        return _declined(call, "busy", f"its {head.kind} {head.id} has not ended")
    request = call.request.changed(campaign=call.campaign)
    if call.undoes:
        return _undone(state, call) or request
    if _complies(state, request):
        return _declined(call, "skipped", "compliant")
    return _retried(state, request)


def find(state: ServiceState, request_id: str) -> Submission | None:
    """A submission that is remembered."""
    return next((known for known in state.submissions if known.request_id == request_id), None)


def last_answer(known: Submission) -> AttemptAccepted | AttemptFinished:
    """What there is to say of a submission that was taken on, or withdrawn."""
    if known.status is None:
        return AttemptAccepted(target=known.target, attempt=known.attempt, operation=known.number)
    return AttemptFinished(
        target=known.target,
        attempt=known.attempt,
        operation=known.number,
        status=known.status,
        error=known.error,
        evidence=known.evidence,
    )


def taken(state: ServiceState, call: SubmitCall, number: int) -> ServiceState:
    """The state that remembers a submission whose operation it has accepted."""
    return _remember(state, _submission(call.request.request_id, call, number))


def withdrawn(state: ServiceState, call: WithdrawCall) -> ServiceState:
    """The state that will not take on what is withdrawn before it has come."""
    entry = _submission(call.request_id, call, 0)
    return _remember(state, entry.changed(status=OperationStatus.CANCELLED))


def closed(state: ServiceState, ended: OperationRecord) -> tuple[ServiceState, Submission | None]:
    """The state after a submission's operation has ended, and the submission; None for all other operations."""
    known = next((each for each in state.submissions if each.number == ended.number), None)
    if known is None:
        return state, None
    changes = {"status": ended.status, "error": ended.error, "evidence": evidence_of(state, ended)}
    known = known.changed(**changes)
    return _remember(state, known), known


def evidence_of(state: ServiceState, ended: OperationRecord) -> dict[str, Any]:
    """What an auditor asks for of an operation, small: fields of `TargetRecord`."""
    applied = [step for step in ended.steps if step.plan is not None]
    changes = sum((step.changes for step in ended.steps), ChangeCounts())
    return {
        "operation_id": ended.id,
        "revision_before": ended.before.model_dump(mode="json") if ended.before else None,
        "revision_after": state.resolved.revision.model_dump(mode="json") if state.resolved else None,
        "plans": {step.id: step.plan.digest for step in applied if step.plan is not None},
        "changes": changes.model_dump(mode="json"),
        "decisions": {step.id: step.decision.outcome for step in ended.steps if step.decision is not None},
    }


def _complies(state: ServiceState, request: Request) -> bool:
    """Whether it stands in health on what it is to move to."""
    if request.kind not in _MOVES or state.resolved is None or not state.healthy:
        return False
    return request.version == state.resolved.revision.version and state.healthy[-1].same(state.resolved)


def _retried(state: ServiceState, request: Request) -> Request:
    """The request; or a retry, when a campaign's attempt has got half-way there."""
    last = state.retryable
    if last is None or last.record.kind is not request.kind or request.kind not in _RETRIED:
        return request
    half_way = state.resolved is not None and state.resolved.same(last.resolved)
    if not half_way or not last.record.campaign or (request.version or "") != _version(last.request):
        return request
    return request.changed(retry=True, promise="", version="", inputs={})


def _version(request: Request | None) -> str:
    return request.version if request else ""


def _undone(state: ServiceState, call: SubmitCall) -> Said | None:
    """Why there is nothing to roll back; None when there is."""
    last = _last_change(state)
    recent = last.request_id if last else next(reversed(state.seen_requests), "")
    if not recent.startswith(call.undoes):
        by = f" by {last.requested_by}" if last else ""
        return _declined(call, "refused", f"it was changed since{by}: {last.id if last else recent}")
    if last is None:
        return None
    # What stands where it stood before is taken back, however it came there: to a campaign a success.
    back = AttemptFinished(
        target=call.target, attempt=call.attempt, operation=last.number, status=OperationStatus.SUCCEEDED
    )
    if last.status is OperationStatus.ROLLED_BACK:
        return back
    if last.kind is OperationKind.ROLLBACK:
        return back if last.status is OperationStatus.SUCCEEDED else None
    failed = state.retryable
    stayed = failed is not None and state.resolved is not None and not state.resolved.same(failed.resolved)
    return back if stayed else None


def _last_change(state: ServiceState) -> OperationRecord | None:
    """The last operation that may have changed what the service stands on, if it is remembered."""
    return next(
        (
            record
            for record in reversed(state.operations)
            if not record.dry_run and record.kind is not OperationKind.RECONCILE
        ),
        None,
    )


def _declined(call: SubmitCall, why: str, reason: str) -> AttemptDeclined:
    return AttemptDeclined.model_validate(
        {"target": call.target, "attempt": call.attempt, "why": why, "reason": reason}
    )


def _submission(request_id: str, call: SubmitCall | WithdrawCall, number: int) -> Submission:
    return Submission(
        request_id=request_id, target=call.target, attempt=call.attempt, reply_to=call.reply_to, number=number
    )


def _remember(state: ServiceState, entry: Submission) -> ServiceState:
    entries = [*(known for known in state.submissions if known.request_id != entry.request_id), entry]
    running = [known for known in entries if known.status is None]
    ended = [known for known in entries if known.status is not None]
    return state.changed(submissions=(*ended[-MAX_ENDED:], *running))
