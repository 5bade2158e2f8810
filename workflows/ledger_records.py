"""What a service writes into the ledger."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from bondstone.model.ledger import LedgerRecord
from bondstone.model.service import (
    AbandonCall,
    CancelCall,
    OperationRecord,
    PauseCall,
    PendingOperation,
    ServiceState,
)


def of_operation(
    state: ServiceState, ended: OperationRecord, pending: PendingOperation, now: datetime
) -> LedgerRecord:
    """An operation that has ended, with what the service stood on before."""
    before = state.resolved
    return LedgerRecord(
        kind="operation",
        service=ended.service,
        sequence=f"op-{ended.number}",
        at=now,
        by=ended.requested_by,
        reason=ended.reason,
        campaign=ended.campaign,
        operation=ended.number,
        operation_kind=ended.kind,
        status=ended.status,
        revision_before=before.revision if before else None,
        inputs_before=before.inputs if before else {},
        revision_after=ended.revision,
        inputs_after=pending.resolved.inputs,
        steps=ended.steps,
        approvals=ended.approvals,
        retained=ended.retained,
        dry_run=ended.dry_run,
        retry_of=ended.retry_of,
        drift=ended.drift,
        error=ended.error,
        requested_at=ended.requested_at,
        started_at=ended.started_at,
    )


def of_cancellation(record: OperationRecord, call: CancelCall, now: datetime) -> LedgerRecord:
    """Somebody's word that an operation must stop."""
    return LedgerRecord(
        kind="cancellation",
        service=record.service,
        sequence=f"op-{record.number}-cancel",
        at=now,
        by=call.requested_by,
        reason=call.reason,
        operation=record.number,
        operation_kind=record.kind,
    )


def of_pause(
    state: ServiceState, call: PauseCall, now: datetime, kind: Literal["pause", "resume"]
) -> LedgerRecord:
    """Somebody's word that a service starts nothing by itself any more, or does so again."""
    return LedgerRecord(
        kind=kind,
        service=state.service,
        sequence=f"{kind}-{state.next_number}",
        at=now,
        by=call.requested_by,
        reason=call.reason,
    )


def of_abandon(state: ServiceState, call: AbandonCall, now: datetime, retained: tuple[str, ...]) -> LedgerRecord:
    """Somebody's word that the platform forgets a service, with what it still stands on."""
    before = state.resolved
    return LedgerRecord(
        kind="abandon",
        retained=retained,
        service=state.service,
        sequence=f"abandon-{state.next_number}",
        at=now,
        by=call.requested_by,
        reason=call.reason,
        revision_before=before.revision if before else None,
        inputs_before=before.inputs if before else {},
    )
