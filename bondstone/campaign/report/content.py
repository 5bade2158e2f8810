"""The report of a campaign, made of what is kept of it. Pure: reads nothing, and knows no clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from bondstone.campaign.awaited import awaits
from bondstone.campaign.waves import COMPLIANT
from bondstone.model.campaign.events import Note
from bondstone.model.campaign.report import (
    CampaignReport,
    ComplianceReport,
    EventReport,
    LeftReport,
    PlanEvidence,
    TargetReport,
    WaveReport,
)
from bondstone.model.campaign.run import (
    CampaignDescription,
    CampaignHeader,
    LedgerBatch,
    LeftOut,
    TargetEntry,
    TargetRecord,
    WaveProgress,
)
from bondstone.model.campaign.state import FAILURES, CampaignState, Code
from bondstone.model.ledger import LedgerRecord
from bondstone.model.service import Approval, OperationKind, OperationStatus, StepRecord, Vote

_GOING: Final = {
    Code.WAITING: "waiting",
    Code.RUNNING: "running",
    Code.RETURNING: "rolling-back",
    Code.RETURNING_FAILED: "rolling-back",
}


_MADE_SO: Final[dict[OperationKind, str]] = {
    OperationKind.RECONCILE: "targets that were checked and have no drift",
    OperationKind.UPDATE: "targets that have the new inputs",
}
"""What success makes of a target where no version is the goal; how many were so before, nobody looked."""


@dataclass(frozen=True, slots=True)
class Kept:
    """All that a report is made of."""

    header: CampaignHeader
    manifest: Mapping[str, Any]
    """What it was started with, as its author wrote it."""
    description: CampaignDescription
    state: CampaignState | None
    """One character for each target; None before the targets are frozen."""
    targets: Sequence[TargetEntry] = ()
    batches: Sequence[LedgerBatch] = ()
    left: Sequence[LeftOut] = ()
    operations: Mapping[str, LedgerRecord] = field(default_factory=dict)
    """Ledger record by the id of the operation, `TEAM/NAME/op/N`: plans, decisions and approvals in full."""


def build(kept: Kept, *, as_of: datetime) -> CampaignReport:
    """The report of a campaign that runs or has ended.

    Args:
        kept: What there is.
        as_of: The time of the report.
    """
    header, description = kept.header, kept.description
    metadata: dict[str, Any] = kept.manifest.get("metadata", {})
    spec: dict[str, Any] = kept.manifest.get("spec", {})
    job = description.job
    targets = tuple(_targets(kept))
    return CampaignReport(
        name=header.name,
        status=description.status,
        operation=job.operation if job else str(spec.get("operation", "")),
        promise=job.promise if job else str(spec.get("promise", "")),
        to=job.to if job else str(spec.get("to", "")),
        source=str(spec.get("from", "")),
        owner=str(metadata.get("owner", "")),
        reason=description.reason or header.start.reason or str(metadata.get("reason", "")),
        change=str(metadata.get("change", "")),
        requested_by=header.start.requested_by,
        started_at=description.started_at or header.at,
        ended_at=description.ended_at,
        as_of=as_of,
        targets_digest=description.targets_digest,
        linked_from=header.start.linked.campaign if header.start.linked else "",
        counts=dict(Counter(target.outcome for target in targets)),
        failures=sum(target.failed for target in targets),
        max_failures=description.rules.max_failures if description.rules else None,
        budget=description.broken,
        awaits=tuple(awaits(description)),
        ending=description.ending,
        rules=spec,
        waves=tuple(_wave(wave, targets) for wave in description.waves),
        events=tuple(_events(kept)),
        compliance=_compliance(kept, targets),
        targets=targets,
        left=tuple(LeftReport(service=it.service, kind=it.kind, reason=it.reason) for it in kept.left),
    )


def last_records(description: CampaignDescription, batches: Iterable[LedgerBatch]) -> dict[int, TargetRecord]:
    """The last word on each target: from the ledger, and from what the campaign has not written there yet."""
    records = {record.target: record for batch in batches for record in batch.records}
    return {**records, **{record.target: record for record in description.recent}}


# Targets -------------------------------------------------------------------------------------------------


def _targets(kept: Kept) -> Iterator[TargetReport]:
    records = last_records(kept.description, kept.batches)
    promise = kept.description.job.promise if kept.description.job else ""
    waves = [wave.name for wave in kept.description.waves for _ in range(wave.size)]
    codes = "".join(kept.state.pages) if kept.state else Code.WAITING * len(kept.targets)
    for number, (entry, wave, code) in enumerate(zip(kept.targets, waves, map(Code, codes), strict=False)):
        waiting = TargetReport(
            target=number,
            service=entry.service,
            team=entry.team,
            wave=wave,
            pool=entry.pool,
            outcome=code.outcome.value if code.outcome else _GOING[code],
            failed=code in FAILURES,
            revision_before=f"{promise}@{entry.version}" if promise else entry.version,
        )
        record = records.get(number)
        if record is None:
            yield waiting
        else:
            yield _tried(waiting, record, kept.operations.get(record.operation_id))


def _tried(target: TargetReport, record: TargetRecord, operation: LedgerRecord | None) -> TargetReport:
    """A target with the evidence of what was tried."""
    before = record.revision_before or (operation.revision_before if operation else None)
    succeeded = operation is not None and operation.status is OperationStatus.SUCCEEDED
    # The ledger says where an operation led to; of one that failed only the service knows what it stands on.
    after = record.revision_after or (operation.revision_after if operation and succeeded else None)
    seconds = (record.ended_at - record.started_at).total_seconds() if record.started_at else None
    return target.changed(
        revision_before=str(before or target.revision_before),
        revision_after=str(after or ""),
        reason=record.reason,
        attempts=record.attempts,
        operation=record.operation_id or None,
        started_at=record.started_at,
        ended_at=record.ended_at,
        seconds=seconds,
        plans=tuple(_plans(operation) if operation else _noted_plans(record)),
        error=record.error,
    )


def _plans(operation: LedgerRecord) -> Iterator[PlanEvidence]:
    for step in operation.steps:
        if step.plan or step.decision or step.error or step.failed_checks or step.warnings:
            yield _plan(step, operation.approvals)


def _plan(step: StepRecord, approvals: Iterable[Approval]) -> PlanEvidence:
    digest = step.plan.digest if step.plan else ""
    decision = step.decision
    votes = (vote for each in approvals if (each.step, each.digest) == (step.id, digest) for vote in each.votes)
    return PlanEvidence(
        step=step.id,
        part=step.part,
        digest=digest,
        status=step.status,
        **step.changes.model_dump(),
        failed_checks=step.failed_checks,
        warnings=step.warnings,
        earlier_attempts=step.earlier_attempts,
        policy=decision.outcome if decision else "",
        policies_digest=decision.policies_digest if decision else "",
        findings=tuple(f"{item.level}: {item.message}" for item in decision.findings) if decision else (),
        approvals=tuple(map(_vote, votes)),
    )


def _noted_plans(record: TargetRecord) -> Iterator[PlanEvidence]:
    """What the campaign itself knows of the plans, where the ledger of the service says nothing (yet)."""
    for step in dict.fromkeys([*record.plans, *record.decisions]):
        alone = len(record.plans) == 1 and step in record.plans
        yield PlanEvidence(
            step=step,
            digest=record.plans.get(step, ""),
            policy=record.decisions.get(step, ""),
            **(record.changes.model_dump() if alone else {}),
        )


def _vote(vote: Vote) -> str:
    roles = f" ({', '.join(vote.roles)})" if vote.roles else ""
    comment = f": {vote.comment}" if vote.comment else ""
    return f"{'approved' if vote.approve else 'rejected'} by {vote.by}{roles}{comment}"


# Waves, events, compliance -------------------------------------------------------------------------------


def _wave(wave: WaveProgress, targets: Sequence[TargetReport]) -> WaveReport:
    reports = [target for target in targets if target.wave == wave.name]
    return WaveReport(
        name=wave.name,
        targets=wave.size,
        status=wave.status,
        counts=dict(Counter(target.outcome for target in reports)),
        failures=sum(target.failed for target in reports),
        max_failures=wave.max_failures,
        max_concurrent=wave.max_concurrent,
        soak_seconds=wave.soak_seconds,
        started_at=wave.started_at,
        last_success_at=wave.last_success_at,
        ended_at=wave.ended_at,
        gate=wave.gate.status if wave.gate else "",
        votes=tuple(map(_vote, wave.gate.votes)) if wave.gate else (),
    )


def _events(kept: Kept) -> Iterator[EventReport]:
    names = [wave.name for wave in kept.description.waves]
    notes = (note for batch in kept.batches for note in batch.notes)
    for note in sorted(notes, key=lambda note: note.at):
        yield _event(note, names)


def _event(note: Note, waves: Sequence[str]) -> EventReport:
    wave = waves[note.wave] if 0 <= note.wave < len(waves) else ""
    return EventReport(at=note.at, what=note.what, wave=wave, by=note.by, reason=note.reason)


def _compliance(kept: Kept, targets: Sequence[TargetReport]) -> ComplianceReport | None:
    job, frozen = kept.description.job, kept.header.frozen
    if frozen is not None and frozen.allowed is not None:
        return ComplianceReport(
            measure=f"targets whose plans the policies in force allow; before: their last plans, by set "
            f"{frozen.policy_set}",
            services=len(targets),
            before=frozen.allowed,
            after=sum(target.outcome == "succeeded" for target in targets),
        )
    if job is None or not (job.to or job.operation in _MADE_SO):
        return None
    if not job.to:
        after = sum(target.outcome == "succeeded" for target in targets)
        return ComplianceReport(measure=_MADE_SO[job.operation], services=len(targets), before=None, after=after)
    before = sum(item.kind == "skipped" and item.reason == COMPLIANT for item in kept.left)
    skipped = sum(item.kind == "skipped" for item in kept.left)
    return ComplianceReport(
        measure=f"services that it selected and that are at {job.promise} {job.to}",
        services=len(targets) + skipped,
        before=before,
        after=before + sum(target.outcome == "succeeded" for target in targets),
    )
