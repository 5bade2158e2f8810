"""What programs read of campaigns: stable fields, they only ever grow. See `campaign_report` for the report."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, Literal

from bondstone.base.errors import ErrorInfo
from bondstone.base.models import Document
from bondstone.campaign.awaited import awaits
from bondstone.campaign.words import why
from bondstone.client.documents.campaign_plan import CampaignVote, ChangeSetDocument, PlansDocument
from bondstone.model.approval import missing
from bondstone.model.campaign.report import CampaignReport
from bondstone.model.campaign.run import (
    CampaignDescription,
    FlightView,
    FreezeRecord,
    LedgerBatch,
    TargetRecord,
    WaveProgress,
)
from bondstone.model.campaign.state import CampaignStatus, TargetOutcome
from bondstone.model.manifest import KeptPlatformManifest

MAX_FAILURES_SHOWN: Final = 100
_FAILURES: Final = frozenset({TargetOutcome.FAILED, TargetOutcome.TIMED_OUT, TargetOutcome.UNREACHABLE})


class CampaignCheck(Document):
    """A campaign's file that is valid on its own: `bond campaign validate -o json`."""

    name: str
    operation: str
    waves: int


class CampaignRow(Document):
    """One campaign in a list: an element of `bond campaign list -o json`."""

    name: str
    status: str
    """As of `campaign show`; or failed, of one that could not begin, and terminated"""
    owner: str = ""
    promise: str = ""
    revision: str = ""
    """PROMISE@VERSION that it leads to, where it leads to one"""
    started_at: datetime
    ended_at: datetime | None = None


class WaveDocument(Document):
    """One wave of a campaign."""

    name: str
    status: Literal["waiting", "gate", "running", "soaking", "done", "not-attempted"]
    targets: int
    succeeded: int
    failed: int
    """Those that count against the budget"""
    running: int
    waiting: int
    counts: dict[str, int]
    """Targets by outcome, and waiting and running; no zeros"""
    max_failures: int | None = None
    max_concurrent: int | None = None
    missing: tuple[str, ...] = ()
    """The approvals that its gate waits for, in words"""
    soak_until: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None

    @classmethod
    def of(cls, wave: WaveProgress, requested_by: str) -> WaveDocument:
        """From what the campaign says of it."""
        running = sum(wave.counts.get(name, 0) for name in ("running", "rolling-back"))
        waits = wave.gate is not None and wave.gate.status == "waiting"
        return cls(
            name=wave.name,
            status=wave.status,
            targets=wave.size,
            succeeded=wave.counts.get(TargetOutcome.SUCCEEDED, 0),
            failed=wave.failures,
            running=running,
            waiting=wave.counts.get("waiting", 0),
            counts=wave.counts,
            max_failures=wave.max_failures,
            max_concurrent=wave.max_concurrent,
            missing=tuple(missing(wave.gate, requested_by=requested_by)) if wave.gate and waits else (),
            soak_until=wave.soak_until,
            started_at=wave.started_at,
            ended_at=wave.ended_at,
        )


class FlightDocument(Document):
    """A target that runs."""

    service: str
    """TEAM/NAME"""
    attempt: int
    """1 for its first"""
    phase: str
    """submitted, accepted, between (two attempts) or cancelling"""
    stalled: str = ""
    """What it cannot go on for want of: that no worker serves its pool"""
    awaiting: bool = False
    """Its operation waits for an approval: `bond approval list --campaign NAME`"""
    operation: str | None = None
    """TEAM/NAME/op/N, once its service has accepted"""
    started_at: datetime
    error: ErrorInfo | None = None
    """Of the attempt before this one"""

    def in_words(self) -> str:
        """What it does or waits for, as people read it."""
        return "waits for an approval" if self.awaiting else self.stalled or self.phase

    @classmethod
    def of(cls, flight: FlightView) -> FlightDocument:
        """From what the campaign says of it."""
        return cls(
            service=flight.service,
            attempt=flight.tries,
            phase=flight.phase,
            stalled=flight.stalled,
            awaiting=flight.awaiting,
            operation=flight.operation or None,
            started_at=flight.started_at,
            error=flight.error,
        )


class FailureDocument(Document):
    """A target that counts against the budget."""

    service: str
    wave: str
    outcome: TargetOutcome
    operation: str | None = None
    """TEAM/NAME/op/N"""
    reason: str = ""
    error: ErrorInfo | None = None

    def why(self) -> str:
        """Why it failed, in a line."""
        return why(self.reason, self.error)


class FreezeDocument(Document):
    """A time in which campaigns start nothing: an element of `bond freeze list -o json`."""

    name: str
    team: str
    """Empty: the whole platform"""
    exempt: tuple[str, ...]
    """Classes of changes that go on: EMG exempts a campaign whose change is EMG-17"""
    by: str
    reason: str
    begins_at: datetime
    ends_at: datetime | None
    """null until somebody ends it"""
    applied: KeptPlatformManifest | None = None
    """The manifest that `bond apply` took it from; null when it never did"""
    changes: int = 0
    """How often it was changed; `expected` of a change names the number that was read"""

    @classmethod
    def of(cls, freeze: FreezeRecord) -> FreezeDocument:
        """From what is kept of it."""
        return cls(**freeze.model_dump())


class PausedDocument(Document):
    """Why a campaign starts nothing."""

    cause: Literal["verb", "budget", "rollback"]
    """verb: a person paused it; budget: too many targets failed; rollback: it rolls targets back"""
    by: str = ""
    reason: str = ""
    at: datetime


class HoldingFreeze(Document):
    """A freeze that holds something of a campaign up now."""

    name: str
    team: str
    """Empty: the whole platform"""
    ends_at: datetime | None
    """null until it is deleted"""


class CampaignDocument(Document):
    """One campaign: `bond campaign show -o json`."""

    name: str
    status: CampaignStatus
    operation: str = ""
    promise: str = ""
    to: str = ""
    """As its file says: a version, latest-patch or latest"""
    unit: Literal["service", "tree"] = "service"
    """What one target is: a service, or one with the parts that were made for it"""
    owner: str = ""
    reason: str = ""
    change: str = ""
    requested_by: str
    started_at: datetime | None = None
    ended_at: datetime | None = None
    targets: int
    targets_digest: str
    """sha256 of the frozen list of targets: what approvals name"""
    wave: str
    """The current one"""
    max_concurrent: int
    counts: dict[str, int]
    """Targets by outcome, and waiting and running; no zeros"""
    waves: tuple[WaveDocument, ...]
    running: int
    awaiting: int = 0
    """How many of those that run wait for an approval of their plan"""
    flights: tuple[FlightDocument, ...]
    """The first of those that run, those that wait for an approval before all others"""
    failures: tuple[FailureDocument, ...]
    """The first hundred targets that failed, by service"""
    failed: int
    """How many failed"""
    max_failures: int | None = None
    budget: str = ""
    """How the budget was broken, in words; empty while it is not"""
    awaits: tuple[str, ...]
    """Whom or what it waits for, in words"""
    ending: str = ""
    """Why it ends, or ended, before all its targets were tried: an abort, a gate that expired"""
    effect: tuple[str, ...] = ()
    """In the answer to a verb: what it did and did not touch, a sentence each"""
    skipped: dict[str, int]
    """Services that were selected and are no targets, by why"""
    linked_from: str = ""
    """The campaign whose targets it took up again"""
    paused: PausedDocument | None = None
    freezes: tuple[HoldingFreeze, ...] = ()
    """Freezes that hold something of it up now"""
    opens_at: datetime | None = None
    """While nothing may start: when that may change; null when it never does"""
    links: dict[str, str] = {}
    """Name to URL; `temporal` is the campaign's workflow in the Temporal UI"""

    @classmethod
    def of(cls, description: CampaignDescription, failures: Iterable[FailureDocument] = ()) -> CampaignDocument:
        """From what the campaign answered, and what is known of its failures."""
        job, rules, paused, calendar = description.job, description.rules, description.paused, description.calendar
        return cls(
            name=description.name,
            status=description.status,
            operation=job.operation if job else "",
            promise=job.promise if job else "",
            to=job.to if job else "",
            unit=job.unit if job else "service",
            owner=job.owner if job else "",
            reason=description.reason or (job.reason if job else ""),
            change=job.change if job else "",
            requested_by=description.requested_by,
            started_at=description.started_at,
            ended_at=description.ended_at,
            targets=description.targets,
            targets_digest=description.targets_digest,
            wave=description.wave,
            max_concurrent=description.max_concurrent,
            counts=description.counts,
            waves=tuple(WaveDocument.of(wave, description.requested_by) for wave in description.waves),
            running=description.running,
            awaiting=description.awaiting,
            flights=tuple(map(FlightDocument.of, description.flights)),
            failures=tuple(failures),
            failed=description.failures,
            max_failures=rules.max_failures if rules else None,
            budget=description.broken,
            awaits=tuple(awaits(description)),
            ending=description.ending,
            effect=description.effect,
            skipped=description.left_out,
            linked_from=description.linked.campaign if description.linked else "",
            paused=PausedDocument(**paused.model_dump()) if paused else None,
            freezes=tuple(HoldingFreeze(**each.model_dump()) for each in calendar.freezes) if calendar else (),
            opens_at=(calendar.opens_at or calendar.until) if calendar and not calendar.open else None,
        )


class ZonedTime(Document):
    """One moment, where people are."""

    utc: datetime
    local: dict[str, str]
    """IANA zone to the time there, as in 2026-11-24 22:00 GMT"""


class PreviewTarget(Document):
    """One service that would be a target."""

    service: str
    wave: str
    version: str
    """What it stands on"""
    to: str
    """The version it would go to; empty when the operation moves none"""
    why: str
    """Why it is selected"""
    parts: tuple[str, ...] = ()
    """With `unit: tree`: the parts that were made for it, and theirs"""


class PreviewLeft(Document):
    """One service that would be none."""

    service: str
    kind: Literal["skipped", "not-selected"]
    reason: str


class PreviewWave(Document):
    """One wave, and when it would be."""

    name: str
    targets: int
    max_failures: int | None = None
    max_concurrent: int | None = None
    soak_seconds: int = 0
    gate: str = ""
    """The approvals that it would wait for; the times suppose that they are given at once"""
    starts_at: ZonedTime | None = None
    """null when windows or freezes never let it begin, as far as can be seen"""
    ends_at: ZonedTime | None = None


class PreviewDocument(Document):
    """What a campaign would do: `bond campaign preview -o json`."""

    name: str
    operation: str
    promise: str = ""
    to: str = ""
    unit: Literal["service", "tree"] = "service"
    """What one target is"""
    scope: str = ""
    """Of which services all of this speaks, to a caller who may not see every one; empty when of all"""
    targets: int
    max_failures: int | None = None
    """Of the whole campaign; null when each wave has its own"""
    waves: tuple[PreviewWave, ...]
    selected: tuple[PreviewTarget, ...]
    """Wave after wave, in the campaign's order"""
    left: tuple[PreviewLeft, ...]
    """Every other service, by id"""
    seconds_each: float
    """How long one target is taken to last, as others of its promise did"""
    based_on: str
    """Where that comes from, in words"""
    whole_platform: str = ""
    """That it takes every service of the platform, with their number; empty when it does not"""
    asks: tuple[str, ...] = ()
    """When a target waits for an approval of its plan, by rules that are known before there is one"""
    freezes: tuple[str, ...] = ()
    """The freezes that it would meet, each with its end, and its beginning while that is yet to come"""
    overlaps: tuple[str, ...] = ()
    """Campaigns that run and have targets of this one too"""
    as_of: datetime
    plans: PlansDocument | None = None
    """With --plan: what each target's dry run came to"""


def waits_for_people(campaign: CampaignDocument) -> bool:
    """Whether only people can let a campaign continue: a wave is at its gate, or a broken budget has paused it."""
    at_gate = campaign.status == "awaiting-approval"
    return at_gate or (campaign.status == "paused" and bool(campaign.budget) and not campaign.running)


def failures(description: CampaignDescription, batches: Iterable[LedgerBatch]) -> list[FailureDocument]:
    """The targets that failed, of what is kept and of what is not kept yet, by service."""
    last: dict[int, TargetRecord] = {record.target: record for batch in batches for record in batch.records}
    last.update({record.target: record for record in description.recent})
    failed = sorted(filter(_failed, last.values()), key=lambda record: record.service)
    return [
        FailureDocument(
            service=record.service,
            wave=record.wave,
            outcome=record.outcome,
            operation=record.operation_id or None,
            reason=record.reason,
            error=record.error,
        )
        for record in failed[:MAX_FAILURES_SHOWN]
    ]


def _failed(record: TargetRecord) -> bool:
    """Whether it counts against the budget; one that failed does so too when it went back by itself."""
    return record.outcome in _FAILURES or (
        record.outcome is TargetOutcome.ROLLED_BACK and record.error is not None
    )


DOCUMENTS: Final[dict[str, Any]] = {
    "campaign-validate": CampaignCheck,
    "campaign-list": list[CampaignRow],
    "campaign-show": CampaignDocument,
    "campaign-preview": PreviewDocument,
    "campaign-report": CampaignReport,
    "campaign-approvals": list[ChangeSetDocument],
    "campaign-votes": list[CampaignVote],
    "freeze-list": list[FreezeDocument],
}
"""Command to the type of its `-o json`. `campaign run` and the verbs answer as `campaign-show`; those of
freezes as one element of `freeze-list`."""
