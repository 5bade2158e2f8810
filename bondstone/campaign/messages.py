"""What a campaign says to services, and what it writes down of them, as functions on frozen models."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

from bondstone.base import names
from bondstone.model.attestation import Attestation
from bondstone.model.campaign.events import (
    AskCalendar,
    Cancel,
    Command,
    LoadPage,
    OverdueTarget,
    ProbeTargets,
    RecordOutcome,
    Submit,
)
from bondstone.model.campaign.run import (
    AskedService,
    Job,
    SubmitCall,
    TargetEntry,
    TargetRecord,
    WithdrawCall,
)
from bondstone.model.campaign.state import CampaignState, Rules
from bondstone.model.service import OperationKind, Request


def submission(
    campaign: str,
    by: str,
    job: Job,
    command: Submit,
    entry: TargetEntry,
    *,
    attestation: Attestation | None = None,
) -> SubmitCall:
    """What is sent to a target's service.

    Args:
        campaign: Name of the campaign.
        by: Who started it: whoever that is may not approve its plans.
        job: What is done.
        command: Which target and attempt; or that it is taken back.
        entry: The target.
        attestation: Of whoever started it.
    """
    kind, undoes = job.operation, ""
    if command.rollback:
        kind, undoes = OperationKind.ROLLBACK, names.campaign_request_id(campaign, command.target, 0)[:-1]
    elif job.undoes:
        undoes = f"{names.campaign_workflow_id(job.undoes)}/"
    moves = kind in {OperationKind.PATCH, OperationKind.UPGRADE}
    changes = moves or kind is OperationKind.UPDATE
    request = Request(
        request_id=names.campaign_request_id(campaign, command.target, command.attempt),
        kind=kind,
        promise=job.promise if changes else "",
        version=entry.to if moves else "",
        inputs=job.inputs if kind is OperationKind.UPDATE else {},
        repair=job.repair and kind is OperationKind.RECONCILE,
        recheck=kind is OperationKind.RECONCILE,
        with_parts=kind is OperationKind.RECONCILE and job.unit == "tree",
        requested_by=by,
        reason=f"campaign {campaign}: {job.reason}",
        campaign=campaign,
        pins=None if undoes else entry.pins,
        attestation=attestation,
    )
    return SubmitCall(
        campaign=campaign,
        target=command.target,
        attempt=command.attempt,
        request=request,
        reply_to=names.campaign_workflow_id(campaign),
        undoes=undoes,
    )


def withdrawal(campaign: str, by: str, command: Cancel, *, attestation: Attestation | None = None) -> WithdrawCall:
    """What is sent to a target's service to have an attempt stopped."""
    return WithdrawCall(
        request_id=names.campaign_request_id(campaign, command.target, command.attempt),
        target=command.target,
        attempt=command.attempt,
        reply_to=names.campaign_workflow_id(campaign),
        by=by,
        reason=f"campaign {campaign}: {command.reason}",
        attestation=attestation,
    )


def question_about(command: OverdueTarget, entry: TargetEntry) -> AskedService:
    """One target to ask after, with where it is."""
    return AskedService(
        target=command.target,
        attempt=command.attempt,
        operation=command.operation,
        service=entry.service,
        version=entry.version,
        to=entry.to,
        pool=entry.pool,
    )


def plain(target: int) -> OverdueTarget:
    """A target by itself, whatever attempts it had."""
    return OverdueTarget(target=target, attempt=0)


def target_record(record: RecordOutcome, rules: Rules, entry: TargetEntry) -> TargetRecord:
    """What became of a target, with what an auditor asks for."""
    ends = accumulate(wave.size for wave in rules.waves)
    wave = next(each.name for each, end in zip(rules.waves, ends, strict=True) if record.target < end)
    known = {key: value for key, value in record.evidence.items() if key in _EVIDENCE and value is not None}
    fields: dict[str, Any] = record.model_dump(exclude={"evidence"})
    operation_id = f"{entry.service}/op/{record.operation}" if record.operation else ""
    about = {
        "service": entry.service,
        "wave": wave,
        "version_before": entry.version,
        "to": entry.to,
        "operation_id": operation_id,
    }
    return TargetRecord.model_validate(fields | about | known)


_EVIDENCE = frozenset({"operation_id", "revision_before", "revision_after", "plans", "changes", "decisions"})
"""What a service sends of an operation: fields of `TargetRecord`."""


def open_questions(state: CampaignState) -> list[Command]:
    """Questions that nobody answers any more, because the run that asked them is over."""
    commands: list[Command] = []
    for kind, question in state.questions.items():
        if kind == "page":
            commands.append(LoadPage(page=question.number))
        elif kind == "probe":
            commands.append(ProbeTargets(batch=question.number, targets=question.targets))
        else:
            commands.append(AskCalendar())
    return commands
