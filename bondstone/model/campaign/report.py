"""The report of a campaign: what an auditor reads. `bondstone.campaign.report` makes and renders it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from bondstone.base.errors import ErrorInfo
from bondstone.base.models import Document
from bondstone.model.campaign.state import CampaignStatus


class PlanEvidence(Document):
    """What one step of a target's operation planned and changed, and who let it."""

    step: str
    part: str = ""
    """Which part of the operation ran it; empty for the main one"""
    digest: str = ""
    """sha256 of the plan that was applied; empty when there was none"""
    status: str = ""
    create: int = 0
    update: int = 0
    replace: int = 0
    delete: int = 0
    forget: int = 0
    """Objects that stay and are managed no more"""
    move: int = 0
    """Objects that get another address"""
    imports: int = 0
    """Objects that are there and are managed from now on"""
    failed_checks: tuple[str, ...] = ()
    """What the tool's own checks find wrong"""
    warnings: tuple[str, ...] = ()
    """What the tool remarks about the step itself, which stops nothing"""
    earlier_attempts: tuple[str, ...] = ()
    """Why attempts to apply it before the last one ended; the counts add up what all of them changed"""
    policy: str = ""
    """What the policies decided: allow, approval or deny"""
    policies_digest: str = ""
    """Of the policies that were asked"""
    findings: tuple[str, ...] = ()
    """What they said, as `deny: message`"""
    approvals: tuple[str, ...] = ()
    """The approvals that it got, as `approved by dana (dba)`"""


class TargetReport(Document):
    """One target, what became of it, and the evidence."""

    target: int
    """Its number, from 0, in the order of the waves"""
    service: str
    """TEAM/NAME"""
    team: str
    wave: str
    pool: str = ""
    """Where its steps ran when the targets were frozen; several are parted by commas"""
    outcome: str
    """succeeded, failed, timed-out, unreachable, refused, skipped, rolled-back, not-attempted; or, while the
    campaign runs, waiting, running or rolling-back"""
    failed: bool = False
    """Whether it counts against the budget"""
    reason: str = ""
    attempts: int = 0
    operation: str | None = None
    """TEAM/NAME/op/N of the last attempt"""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    seconds: float | None = None
    """From start to end"""
    revision_before: str = ""
    """PROMISE@VERSION"""
    revision_after: str = ""
    plans: tuple[PlanEvidence, ...] = ()
    error: ErrorInfo | None = None


class WaveReport(Document):
    """One wave."""

    name: str
    targets: int
    status: str
    """waiting, awaiting-approval, running, soaking, probing, done; or not-attempted, once all is over"""
    counts: dict[str, int]
    """Targets by outcome; no zeros"""
    failures: int
    """How many count against the budget"""
    max_failures: int | None = None
    """Its own budget"""
    max_concurrent: int | None = None
    soak_seconds: int = 0
    started_at: datetime | None = None
    last_success_at: datetime | None = None
    ended_at: datetime | None = None
    gate: str = ""
    """waiting, approved, rejected or expired; empty when it has none"""
    votes: tuple[str, ...] = ()
    """The approvals that it got, as `approved by dana (sre): seen with eve`"""


class EventReport(Document):
    """Something that people or the campaign itself did."""

    at: datetime
    what: str
    """A verb (pause, resume, …) or wave-started, budget-broken, ended, …"""
    wave: str = ""
    by: str = ""
    """Who; empty when the campaign did it by its rules"""
    reason: str = ""


class LeftReport(Document):
    """One service of the fleet that is no target."""

    service: str
    kind: Literal["skipped", "not-selected"]
    reason: str


class ComplianceReport(Document):
    """How much of the fleet was, and is, where the campaign leads."""

    measure: str
    """In words: `services that it selected and that are at postgres 1.4.2`"""
    services: int
    """How many there were when the campaign started"""
    before: int | None
    """null where that was not known"""
    after: int


class CampaignReport(Document):
    """A campaign, from who asked to what became of each target: `bond campaign report -o json`."""

    name: str
    status: CampaignStatus
    operation: str
    promise: str = ""
    to: str = ""
    """As the file says: a version, latest-patch or latest"""
    source: str = ""
    """`from` of the file"""
    owner: str = ""
    reason: str
    """Why it was done"""
    change: str = ""
    """Number of the change"""
    requested_by: str
    started_at: datetime | None = None
    ended_at: datetime | None = None
    as_of: datetime
    """When the report was made"""
    targets_digest: str = ""
    """sha256 of the frozen list of targets: what approvals name"""
    linked_from: str = ""
    """The campaign whose targets it took up again"""
    counts: dict[str, int]
    """Targets by outcome; no zeros"""
    failures: int
    """How many targets count against the budget"""
    max_failures: int | None = None
    """The campaign's budget; null when nothing limits it, or each wave has its own"""
    budget: str = ""
    """How it was broken, in words; empty when it was not"""
    awaits: tuple[str, ...] = ()
    """Whom or what it waits for, in words"""
    ending: str = ""
    """Why it ended before all its targets were tried"""
    rules: dict[str, Any]
    """`spec` of the campaign's file"""
    waves: tuple[WaveReport, ...]
    events: tuple[EventReport, ...] = ()
    """Oldest first"""
    compliance: ComplianceReport | None = None
    """null where the operation leads to no version"""
    targets: tuple[TargetReport, ...]
    left: tuple[LeftReport, ...] = ()
    """The rest of the fleet, and why it was left out"""
