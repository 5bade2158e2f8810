"""What a service accepts, as functions on its state: each refusal in words, none with a side effect."""

from __future__ import annotations

import re
from typing import Final

from bondstone.base import names
from bondstone.base.errors import AlreadyExists, Changed, InvalidInput, KeyReused, NotFound, Refused
from bondstone.model.service import (
    AbandonCall,
    CancelCall,
    Conditional,
    LabelsCall,
    OperationKind,
    OperationRecord,
    PauseCall,
    Phase,
    Request,
    Resolved,
    ServiceState,
    StepRecord,
    StepStatus,
    request_digest,
    state_digest,
)
from bondstone.workflows.commit import rollback_target
from bondstone.workflows.dependants import check_may_go

MAX_QUEUE: Final = 100
MAX_LABELS: Final = 32
MAX_INPUT_CHARS: Final = 256 * 1024

_KEEPABLE = frozenset({StepStatus.SUCCEEDED, StepStatus.UNCHANGED, StepStatus.KEPT})
_CHANGES = frozenset({OperationKind.UPDATE, OperationKind.PATCH, OperationKind.UPGRADE})
_LABEL_KEY = re.compile(names.LABEL_KEY_PATTERN)


def check_request(state: ServiceState, request: Request) -> None:
    """Refuse a request that the service cannot take as it stands."""
    where = str(state.service)
    if request.request_id in state.seen_requests:
        _check_same(state, request)
        return
    check_expected(state, request)
    if len(request.model_dump_json()) > MAX_INPUT_CHARS:
        raise InvalidInput(f"the request is larger than {MAX_INPUT_CHARS // 1024} KiB", where=where)
    if len(state.queue) >= MAX_QUEUE:
        raise Refused(f"{MAX_QUEUE} operations are waiting already", where=where, hint="wait, or cancel some")
    if any(pending.record.kind is OperationKind.DECOMMISSION for pending in state.queue):
        raise Refused(
            "the service is being decommissioned",
            where=where,
            hint="watch it with `bond service show`; once it is gone its name is free",
        )
    check_may_go(state, request)
    check_labels(state, LabelsCall(set=request.labels))
    _check_kind(request, where)
    if request.kind is OperationKind.PROVISION and not request.retry:
        _check_provision(state, request)
        return
    if not exists(state):
        raise NotFound(f"there is no service {where}", hint="`bond service list` shows the existing ones")
    if request.retry:
        _check_retry(state, request)
    elif request.kind is not OperationKind.DECOMMISSION:
        _check_change(state, request)


def _check_same(state: ServiceState, request: Request) -> None:
    """Refuse a request id that was used for another request."""
    known = state.request_digests.get(request.request_id)
    if known is not None and known != request_digest(request):
        raise KeyReused(
            f"the request id {request.request_id!r} was used for another request",
            where=f"{state.service}/op/{state.seen_requests[request.request_id]}",
            hint="send the same request again, or choose another id (`--request-id`, `Idempotency-Key`)",
        )


def check_expected(state: ServiceState, call: Conditional) -> None:
    """Refuse a change that depends on a state which the service is not in any more."""
    if call.expected_state and call.expected_state != state_digest(state):
        raise Changed(
            "it has changed since you read it",
            where=str(state.service),
            hint="read it again, look at what changed, and send the change with its new ETag",
        )


def check_cancel(state: ServiceState, call: CancelCall) -> None:
    """Refuse to cancel what is not there or has ended."""
    check_expected(state, call)
    if find_pending(state, call.number):
        return
    ended = next((record for record in state.operations if record.number == call.number), None)
    where = f"{state.service}/op/{call.number}"
    if ended:
        raise Refused(f"the operation has ended: {ended.status}", where=where)
    raise NotFound("the service has no such operation", where=where, hint="see `bond operation list`")


def check_labels(state: ServiceState, call: LabelsCall) -> None:
    """Refuse labels that are malformed or too many."""
    check_expected(state, call)
    for key, value in call.set.items():
        if not _LABEL_KEY.fullmatch(key):
            raise InvalidInput(
                f"{key[:64]!r} cannot be a label's key",
                where=str(state.service),
                hint="use 1 to 63 of a-z, 0-9, '.', '_', '/' and '-', starting with a letter",
            )
        if len(value) > 128 or not value.isprintable():  # noqa: PLR2004 - documented in the message
            raise InvalidInput(
                f"the value of label {key!r} is longer than 128 characters or not printable",
                where=str(state.service),
            )
    if len((state.labels | call.set).keys() - set(call.remove)) > MAX_LABELS:
        raise InvalidInput(f"a service has at most {MAX_LABELS} labels", where=str(state.service))


def check_pause(state: ServiceState, call: PauseCall, *, pause: bool) -> None:
    """Refuse to pause what is paused, and to resume what is not."""
    check_expected(state, call)
    _insist_exists(state)
    if pause and state.paused_by:
        why = f": {state.pause_reason}" if state.pause_reason else ""
        raise Refused(f"the service is paused already, by {state.paused_by}{why}", where=str(state.service))
    if not pause and not state.paused_by:
        raise Refused("the service is not paused", where=str(state.service))


def check_abandon(state: ServiceState, call: AbandonCall) -> None:
    """Refuse to forget a service that is not there, or while something runs."""
    check_expected(state, call)
    _insist_exists(state)
    if state.queue:
        raise Refused(
            f"operation {state.queue[0].record.id} has not ended",
            where=str(state.service),
            hint="cancel it first: `bond service cancel`",
        )


def check_adopted_steps(request: Request, resolved: Resolved) -> None:
    """Refuse a state for a step that does not run."""
    running = [spec.id for spec in resolved.steps if not spec.skip]
    for step in request.adopt:
        if step not in running:
            raise InvalidInput(
                f"a state is to be adopted by step {step[:64]!r}, which does not run",
                where=str(resolved.revision),
                hint=f"the steps that run are {', '.join(running)}",
            )


def exists(state: ServiceState) -> bool:
    """Whether somebody's request for this service was ever accepted."""
    return state.current is not None


def find_pending(state: ServiceState, number: int) -> OperationRecord | None:
    """The record of an operation that has not ended."""
    return next((pending.record for pending in state.queue if pending.record.number == number), None)


def find_record(state: ServiceState, number: int) -> OperationRecord | None:
    """The record of an operation that waits, runs, or ended not long ago."""
    return find_pending(state, number) or next(
        (record for record in state.operations if record.number == number), None
    )


def kept_steps(state: ServiceState, retried: OperationRecord) -> tuple[StepRecord, ...]:
    """The steps that a retry need not run again: those of its main part that succeeded and still stand."""
    if retried.kind in {OperationKind.DECOMMISSION, OperationKind.RECONCILE}:
        return ()
    return tuple(
        step
        for step in retried.steps
        if not step.part and step.status in _KEEPABLE and step.id in state.step_outputs
    )


def _insist_exists(state: ServiceState) -> None:
    if not exists(state):
        raise NotFound(f"there is no service {state.service}", hint="`bond service list` shows the existing ones")


def _check_retry(state: ServiceState, request: Request) -> None:
    where = str(state.service)
    if state.queue:
        raise Refused(
            f"operation {state.queue[0].record.id} has not ended",
            where=where,
            hint="wait for it, or cancel it first",
        )
    if state.retryable is None:
        last = state.operations[-1].status if state.operations else "is not known"
        raise Refused(f"there is nothing to retry: the last operation {last}", where=where)
    if request.inputs or request.promise or request.version:
        raise InvalidInput(
            "a retry runs the same operation again and takes no inputs",
            where=where,
            hint="to change the inputs of a service that never became ready, request it again",
        )


def _check_kind(request: Request, where: str) -> None:
    """Refuse what only another kind of request may say."""
    if request.adopt and (request.kind is not OperationKind.PROVISION or request.retry):
        raise InvalidInput("only the first request of a service adopts a state", where=where)
    if request.with_parts and request.kind is not OperationKind.RECONCILE:
        raise InvalidInput(f"{request.kind} takes its parts along by itself", where=where, hint="leave parts out")


def _check_provision(state: ServiceState, request: Request) -> None:
    """A name is free, or its owner tries again after a provision that never succeeded."""
    where = str(state.service)
    if not request.promise:
        raise InvalidInput("the request names no promise", where=where)
    if request.adopt:
        _check_adoption(state, request)
    if not exists(state):
        return
    if state.queue or state.healthy or state.resting is not Phase.FAILED:
        raise AlreadyExists(
            f"{where} exists already, requested by {state.created_by}",
            where=str(state.current.revision) if state.current else "",
            hint="choose another name, or look at it with `bond service show`",
        )
    if state.resolved and state.resolved.revision.promise != request.promise:
        raise AlreadyExists(
            f"{where} is a failed {state.resolved.revision.promise}",
            hint=f"decommission it before requesting a {request.promise} by that name",
        )


def _check_adoption(state: ServiceState, request: Request) -> None:
    """States are adopted by a new service only, and never destroyed because its first operation failed."""
    where = str(state.service)
    if exists(state):
        raise AlreadyExists(
            f"{where} exists already, requested by {state.created_by}",
            where=str(state.current.revision) if state.current else "",
            hint="only a new service adopts; `bond state push` gives this one another state",
        )
    if request.dry_run or request.on_failure == "destroy":
        raise InvalidInput(
            "an adoption cannot be a dry run, nor destroy what it adopts when it fails",
            where=where,
            hint="with `ask` it changes nothing that nobody has approved",
        )


def _check_change(state: ServiceState, request: Request) -> None:
    """What needs a service that has once been ready, or will have been when its turn comes."""
    where = str(state.service)
    if not state.healthy and not any(pending.record.kind is OperationKind.PROVISION for pending in state.queue):
        raise Refused(
            "the service never became ready",
            where=where,
            hint="`bond service retry`, or request it again with other inputs",
        )
    if request.promise and state.current and request.promise != state.current.revision.promise:
        raise Refused(f"the service is a {state.current.revision.promise}, not a {request.promise}", where=where)
    if request.version and request.kind not in _CHANGES - {OperationKind.UPDATE}:
        raise InvalidInput(f"{request.kind} takes no version", where=where, hint="patch and upgrade do")
    if request.inputs and request.kind not in _CHANGES:
        raise InvalidInput(f"{request.kind} takes no inputs", where=where, hint="update does")
    if request.kind is OperationKind.UPDATE and not request.inputs:
        raise InvalidInput("an update names no input to change", where=where)
    if request.kind is OperationKind.ROLLBACK and rollback_target(state) is None:
        raise Refused(
            "there is nothing to roll back to: the service was never healthy in another state",
            where=where,
            hint="`bond service history` shows its revisions",
        )
    if request.dry_run and request.kind is OperationKind.RECONCILE:
        raise InvalidInput("a reconcile changes nothing unless it is asked to repair", where=where)
