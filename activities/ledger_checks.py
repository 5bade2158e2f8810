"""What a ledger record must prove before a control worker signs it.

The workflow that sends it may be anybody's. Who asked, who voted and what was applied is checked here; how an
operation went beside that (its status, its error, its times) is as the workflow says.
"""

from __future__ import annotations

from typing import Final

from pydantic import ValidationError

from bondstone.activities.attested import Checks
from bondstone.base.errors import AttestationInvalid
from bondstone.model.attestation import acceptance_id, check_signature
from bondstone.model.ledger import LedgerRecord
from bondstone.model.service import (
    OperationKind,
    StepStatus,
)
from bondstone.store import Store
from bondstone.store.ledger_verification import CALLS
from bondstone.store.objects import segment

OWN: Final = "bondstone"

_ONCE: Final = frozenset({"operation", "approval", "rejection", "cancellation"})
"""Kinds whose sequence is never used twice by services of one name."""


async def check_record(store: Store, checks: Checks, record: LedgerRecord) -> None:
    """Refuse a record of something that nobody is attested to have done.

    Raises:
        AttestationInvalid: saying what is not proved.
    """
    if await _is_written(store, record):
        return
    await _check_place(store, record)
    if record.kind == "operation":
        await _check_operation(store, checks, record)
    elif record.kind in {"approval", "rejection"}:
        await _check_vote(checks, record)
    elif record.kind == "state":
        await checks.attestation(record, verb="state.push", target=str(record.service), by=record.by)
    elif record.kind in CALLS:
        await _check_call(store, checks, record)
    else:
        raise _refused(record, "services write no such record")


async def _is_written(store: Store, record: LedgerRecord) -> bool:
    """Whether this very record is there already: an attempt before this one wrote it."""
    same = [
        each
        for each in await store.ledger.history(record.service)
        if each.at == record.at and each.sequence == record.sequence
    ]
    return any(each.changed(key_id="", signature="") == record for each in same)


async def _check_place(store: Store, record: LedgerRecord) -> None:
    """Refuse a record that does not follow the last one, or is of something that was recorded before."""
    if record.previous != await store.ledger.last_digest(record.service):
        raise _refused(record, "it does not follow the last record of the service")
    if record.kind in _ONCE and segment(record.sequence) in await store.ledger.sequences(record.service):
        raise _refused(record, "there is a record of it already")


async def _check_operation(store: Store, checks: Checks, record: LedgerRecord) -> None:
    if record.attestation is None:
        by_platform = record.operation_kind in {OperationKind.RECONCILE, OperationKind.UPDATE} and record.by == OWN
        if not by_platform:
            raise _refused(record, "the operation carries no attestation of who asked for it")
    else:
        key = acceptance_id(record.attestation, str(record.call.get("request_id", "")))
        accepted = await store.vouched.accepted(key)
        if accepted is None or accepted.service != record.service or accepted.request.requested_by != record.by:
            raise _refused(record, "no such request was accepted")
        bound = await store.vouched.request_of(record.service, record.operation or 0)
        if bound not in {"", key}:
            raise _refused(record, "another request led to this operation")
    after = record.revision_after
    if after is None or not await checks.has_basis(record.service, after, record.inputs_after):
        raise _refused(record, "no accepted request led to this revision and these inputs")
    for approval in record.approvals:
        for vote in approval.votes:
            await checks.vote(vote, approval, f"{record.service}/op/{record.operation}")
    if not record.dry_run:
        await _check_applied(store, record)


async def _check_applied(store: Store, record: LedgerRecord) -> None:
    """Refuse to say that plans were applied which no executor was permitted to apply."""
    for step in record.steps:
        plan = step.plan
        if step.status is not StepStatus.SUCCEEDED or plan is None or plan.empty:
            continue
        if not await store.vouched.was_applied(record.service, record.operation or 0, step.id, plan.digest):
            raise _refused(record, f"the plan of step {step.id} was never applied")


async def _check_vote(checks: Checks, record: LedgerRecord) -> None:
    if len(record.approvals) != 1 or not record.approvals[0].votes:
        raise _refused(record, "it has no vote")
    approval = record.approvals[0]
    for vote in approval.votes:
        await checks.vote(vote, approval, f"{record.service}/op/{record.operation}")
    last = approval.votes[-1]
    if (last.by, last.approve) != (record.by, record.kind == "approval"):
        raise _refused(record, "the vote is another one")


async def _check_call(store: Store, checks: Checks, record: LedgerRecord) -> None:
    model, verb = CALLS[record.kind]
    attestation = record.attestation
    if record.kind == "cancellation" and attestation is not None and attestation.target.startswith("campaign/"):
        keys = await store.platform_keys.knowing("attestation", attestation.key_id)
        check_signature(attestation, keys)
        return
    target = f"{record.service}/op/{record.operation}" if record.kind == "cancellation" else str(record.service)
    try:
        call = model.model_validate({**record.call, "attestation": attestation})
    except ValidationError:
        # Not as it is: Temporal would try an unknown error again for ever, and the service's ledger would wait.
        raise _refused(record, "the record does not say what was requested") from None
    await checks.attestation(call, verb=verb, target=target, by=record.by)


def _refused(record: LedgerRecord, why: str) -> AttestationInvalid:
    return AttestationInvalid(f"the record {record.sequence} was refused: {why}", where=str(record.service))
