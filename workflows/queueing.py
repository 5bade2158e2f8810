"""How an accepted request joins a service's queue, as functions on frozen state."""

from __future__ import annotations

from datetime import datetime

from bondstone.model.service import (
    OperationKind,
    OperationRecord,
    PendingOperation,
    Request,
    Resolution,
    ServiceState,
    request_digest,
)
from bondstone.workflows.commit import remember_request
from bondstone.workflows.dependants import with_dependant


def joined(
    state: ServiceState,
    request: Request,
    resolution: Resolution,
    *,
    ahead: PendingOperation | None,
    retried: PendingOperation | None,
    now: datetime,
) -> tuple[ServiceState, OperationRecord]:
    """The state with the request's operation at the end of the queue, and its record.

    Args:
        state: As it is now, not as it was when the request began to be resolved.
        request: What was asked.
        resolution: What it came to.
        ahead: The operation whose success that rests on, if there is one.
        retried: The operation that it runs again, if it does.
        now: The time of acceptance.
    """
    number = max(state.next_number, resolution.last_number + 1)
    current = ahead.resolved if ahead else state.resolved
    record = OperationRecord(
        service=state.service,
        number=number,
        kind=retried.record.kind if retried else request.kind,
        revision=resolution.resolved.revision,
        before=current.revision if current else None,
        request_id=request.request_id,
        requested_by=request.requested_by,
        requested_at=now,
        reason=request.reason,
        campaign=request.campaign,
        trace=request.trace,
        cause=request.cause,
        dry_run=request.dry_run,
        retry_of=retried.record.number if retried else None,
    )
    pending = PendingOperation(
        record=record,
        resolved=resolution.resolved,
        retry=request.retry,
        **(retried or request).options(),
        request=retried.request if retried else request,
        after=ahead.record.number if ahead else 0,
        attestation=request.attestation,
        attested=request.attestation is not None,
    )
    numbers = remember_request(state.seen_requests, request.request_id, number)
    digests = {**state.request_digests, request.request_id: request_digest(request)}
    changes = {
        "queue": (*state.queue, pending),
        "labels": state.labels | request.labels,
        "seen_requests": numbers,
        "request_digests": {known: value for known, value in digests.items() if known in numbers},
        "next_number": number + 1,
        "ledger_digest": state.ledger_digest or resolution.ledger_digest,
        "created_at": state.created_at or now,
        "dependants": state.dependants if request.dry_run else with_dependant(state.dependants, request.parent),
        "created_by": state.created_by or request.requested_by,
        "attested": state.attested or request.attestation is not None,
    }
    return state.changed(**changes), record


def with_own_reconcile(state: ServiceState, now: datetime) -> ServiceState:
    """The state with the service's own look for drift in its queue, when it stands on something."""
    if state.resolved is None:
        return state
    record = OperationRecord(
        service=state.service,
        number=state.next_number,
        kind=OperationKind.RECONCILE,
        revision=state.resolved.revision,
        request_id=f"reconcile-{state.next_number}",
        requested_by="bondstone",
        requested_at=now,
        reason="scheduled by the promise",
    )
    pending = PendingOperation(
        record=record,
        resolved=state.resolved,
        repair=state.resolved.day_two.reconcile_repair,
        attested=state.attested,
    )
    return state.changed(
        queue=(*state.queue, pending),
        next_number=state.next_number + 1,
        next_due=None,
    )
