"""What a service accepts, as functions on its state: each refusal in words, none with a side effect."""

from __future__ import annotations

import re
from typing import Final

from bondstone import names
from bondstone.errors import AlreadyExists, InvalidInput, NotFound, Refused
from bondstone.model.service import (
    CancelCall,
    LabelsCall,
    OperationKind,
    OperationRecord,
    OperationStatus,
    Request,
    ServiceState,
    StepRecord,
    StepStatus,
)

MAX_QUEUE: Final = 100
MAX_LABELS: Final = 32
MAX_INPUT_CHARS: Final = 256 * 1024

_RETRYABLE = frozenset({OperationStatus.FAILED, OperationStatus.CANCELLED})
_KEEPABLE = frozenset({StepStatus.SUCCEEDED, StepStatus.UNCHANGED, StepStatus.KEPT})
_LABEL_KEY = re.compile(names.LABEL_KEY_PATTERN)


def check_request(state: ServiceState, request: Request) -> None:
    """Refuse a request that the service cannot take as it stands."""
    where = str(state.service)
    if request.request_id in state.seen_requests:
        return
    if request.dry_run:
        raise Refused("dry runs are not in this release", where=where, hint="leave out --dry-run")
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
    check_labels(state, LabelsCall(set=request.labels))
    if request.retry:
        _check_retry(state, request)
    elif request.kind is OperationKind.PROVISION:
        _check_provision(state, request)
    elif not exists(state):
        raise NotFound(f"there is no service {where}", hint="`bond service list` shows those that are")


def check_cancel(state: ServiceState, call: CancelCall) -> None:
    """Refuse to cancel what is not there or has ended."""
    if find_pending(state, call.number):
        return
    ended = next((record for record in state.operations if record.number == call.number), None)
    where = f"{state.service}/op/{call.number}"
    if ended:
        raise Refused(f"the operation has ended: {ended.status}", where=where)
    raise NotFound("the service has no such operation", where=where, hint="see `bond operation list`")


def check_labels(state: ServiceState, call: LabelsCall) -> None:
    """Refuse labels that are malformed or too many."""
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


def exists(state: ServiceState) -> bool:
    """Whether somebody's request for this service was ever accepted."""
    return state.resolved is not None


def find_pending(state: ServiceState, number: int) -> OperationRecord | None:
    """The record of an operation that has not ended."""
    return next((pending.record for pending in state.queue if pending.record.number == number), None)


def find_record(state: ServiceState, number: int) -> OperationRecord | None:
    """The record of an operation that waits, runs, or ended not long ago."""
    return find_pending(state, number) or next(
        (record for record in state.operations if record.number == number), None
    )


def kept_steps(state: ServiceState, retried: OperationRecord) -> tuple[StepRecord, ...]:
    """The steps that a retry of a provision need not run again."""
    if retried.kind is not OperationKind.PROVISION:
        return ()
    return tuple(step for step in retried.steps if step.status in _KEEPABLE and step.id in state.step_outputs)


def _check_retry(state: ServiceState, request: Request) -> None:
    where = str(state.service)
    if not exists(state):
        raise NotFound(f"there is no service {where}", hint="`bond service list` shows those that are")
    if state.queue:
        raise Refused(
            f"operation {state.queue[0].record.id} is still running",
            where=where,
            hint="wait for it, or cancel it first",
        )
    last = state.operations[-1] if state.operations else None
    if last is None or last.status not in _RETRYABLE:
        raise Refused(
            f"there is nothing to retry: the last operation {last.status if last else 'is not known'}", where=where
        )
    if request.inputs or request.promise or request.version:
        raise InvalidInput(
            "a retry runs the same operation again and takes no inputs",
            where=where,
            hint="to change the inputs of a service that never became ready, request it again",
        )


def _check_provision(state: ServiceState, request: Request) -> None:
    """A name is free, or its owner tries again after a provision that never succeeded."""
    where = str(state.service)
    if not request.promise:
        raise InvalidInput("the request names no promise", where=where)
    if not exists(state):
        return
    last = state.operations[-1] if state.operations else None
    never_ready = last is not None and last.kind is OperationKind.PROVISION and last.status in _RETRYABLE
    if state.queue or not never_ready:
        raise AlreadyExists(
            f"{where} exists already, requested by {state.created_by}",
            where=str(state.resolved.revision) if state.resolved else "",
            hint="choose another name, or look at it with `bond service show`",
        )
    if state.resolved and state.resolved.revision.promise != request.promise:
        raise AlreadyExists(
            f"{where} is a failed {state.resolved.revision.promise}",
            hint=f"decommission it before requesting a {request.promise} by that name",
        )
