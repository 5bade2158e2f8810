"""What a service writes into the ledger."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from bondstone.model.attestation import Attestable
from bondstone.model.ledger import LedgerRecord
from bondstone.model.service import (
    AbandonCall,
    CancelCall,
    LabelsCall,
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
        cause=ended.cause,
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
        attestation=pending.attestation,
        call={"request_id": ended.request_id} if pending.attestation else {},
    )


def of_cancellation(record: OperationRecord, call: CancelCall, now: datetime) -> LedgerRecord:
    """The record of a request to cancel an operation."""
    return LedgerRecord(
        kind="cancellation",
        service=record.service,
        sequence=f"op-{record.number}-cancel",
        at=now,
        by=call.requested_by,
        reason=call.reason,
        attestation=call.attestation,
        call=request_of(call),
        operation=record.number,
        operation_kind=record.kind,
    )


def of_pause(
    state: ServiceState, call: PauseCall, now: datetime, kind: Literal["pause", "resume"]
) -> LedgerRecord:
    """The record of a service that was paused or resumed: whether it starts drift checks on its own."""
    return LedgerRecord(
        kind=kind,
        service=state.service,
        sequence=f"{kind}-{state.next_number}",
        at=now,
        by=call.requested_by,
        reason=call.reason,
        attestation=call.attestation,
        call=request_of(call),
    )


def of_abandon(state: ServiceState, call: AbandonCall, now: datetime, retained: tuple[str, ...]) -> LedgerRecord:
    """The record of a service that was abandoned, with what it still holds."""
    before = state.resolved
    return LedgerRecord(
        kind="abandon",
        retained=retained,
        service=state.service,
        sequence=f"abandon-{state.next_number}",
        at=now,
        by=call.requested_by,
        reason=call.reason,
        attestation=call.attestation,
        call=request_of(call),
        revision_before=before.revision if before else None,
        inputs_before=before.inputs if before else {},
    )


def of_labels(state: ServiceState, call: LabelsCall, now: datetime) -> LedgerRecord:
    """An attested change of labels, which permits rest on."""
    return LedgerRecord(
        kind="labels",
        service=state.service,
        sequence=f"labels-{state.next_number}",
        at=now,
        by=call.requested_by,
        attestation=call.attestation,
        call=request_of(call),
    )


def request_of(call: Attestable) -> dict[str, Any]:
    """What an attestation is of, so that it can be verified beside the record."""
    return call.model_dump(mode="json", exclude={"attestation"}, exclude_defaults=True) if call.attestation else {}
