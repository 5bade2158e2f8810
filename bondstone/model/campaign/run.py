"""What goes into a campaign, out of it, and between it and the services it works on.

The machine is `bondstone.model.campaign.state`; these are the messages around it, and what is kept of it in the
object store.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from bondstone.base.errors import ErrorInfo
from bondstone.base.models import Wire
from bondstone.base.names import REQUEST_ID_PATTERN
from bondstone.model.attestation import Attestable, Attestation
from bondstone.model.campaign.events import (
    AttemptAccepted,
    AttemptDeclined,
    AttemptFinished,
    Event,
    Found,
    Note,
    OverdueTarget,
    RecordOutcome,
)
from bondstone.model.campaign.state import (
    Calendar,
    CampaignState,
    CampaignStatus,
    Paused,
    Rules,
)
from bondstone.model.manifest import KeptPlatformManifest
from bondstone.model.plan import ChangeCounts, Pins
from bondstone.model.service import Approval, OperationKind, Request, RevisionRef

MAX_FLIGHTS_SHOWN: Final = 50

# Into a campaign -----------------------------------------------------------------------------------------


class Linked(Wire):
    """The campaign that has ended and that this one continues: its targets are chosen from that one's."""

    campaign: str
    verb: Literal["retry", "rollback"]
    which: str
    """As the verb says it: `failed`, `not-started`, `wave`, `all`."""
    request_id: str = ""
    """Of the verb: sent again, it starts no other."""


class CampaignInput(Attestable):
    """Argument of `Campaign`. Its name is that of its workflow id, whatever the document says."""

    document: dict[str, Any] = {}
    """The manifest: kind `Campaign`, or `Strategy` for the runs of a schedule."""
    source: str = ""
    """The same as its author wrote it, in YAML: what counts, when it is given, and has lines to point at."""
    file: str = "campaign"
    """Its name, for messages."""
    requested_by: str
    reason: str = ""
    """Why; that of the document when empty."""
    linked: Linked | None = None
    supersedes: str = ""
    """The campaign that this one takes over from."""
    pinned: str = ""
    """Digest of the preview whose plans it must keep to."""
    schedule: str = ""
    """The schedule that started it."""
    trace: str = Field("", max_length=64)
    """Where in a trace it was started, a W3C `traceparent`; its operations link to that."""
    carried: Carried | None = None
    """Only from itself, when it continues as new."""


class TargetEntry(Wire):
    """One target on a page of the frozen list."""

    service: str
    """`TEAM/NAME`."""
    group: str = ""
    """Its value of the label of `per`."""
    version: str = ""
    """What it stood on when the targets were frozen."""
    to: str = ""
    """The version it goes to; empty when the operation moves none."""
    pool: str = ""
    """Where its steps ran when the targets were frozen; several are parted by commas."""
    why: str = ""
    """Why it was selected."""
    parts: tuple[str, ...] = ()
    """Of a tree: the parts that were made for it, and theirs."""
    pins: Pins | None = None
    """The plans of the preview that the campaign is pinned to."""

    @property
    def team(self) -> str:
        """Whose it is."""
        return self.service.partition("/")[0]


class LeftOut(Wire):
    """A service that was looked at and is no target."""

    service: str
    kind: Literal["skipped", "not-selected"]
    reason: str


class TargetPage(Wire):
    """A page of the frozen list, in order."""

    targets: tuple[TargetEntry, ...] = ()


class Job(Wire):
    """What is done to each target: the document, as far as the campaign's workflow needs it."""

    operation: OperationKind
    promise: str = ""
    to: str = ""
    """As written: a version, `latest-patch` or `latest`."""
    unit: Literal["service", "tree"] = "service"
    """What one target is."""
    inputs: dict[str, Any] = {}
    repair: bool = False
    owner: str = ""
    reason: str = ""
    change: str = ""
    undoes: str = ""
    """Of a rollback: the campaign whose changes are taken back."""


class Frozen(Wire):
    """What `campaign.freeze` returns: the campaign in numbers."""

    rules: Rules
    job: Job
    left_out: dict[str, int] = {}
    """Number of services by why they are no target, for `skipped` ones."""
    policy_set: str = ""
    """Of a reconcile: version of the organisation's policies that were in force."""
    allowed: int | None = None
    """Of a reconcile: how many targets had last plans that those policies allow; None where there are none."""
    continue_after: int = 400
    """How many targets the workflow settles before it continues as new."""


class Carried(Wire):
    """All that a campaign hands to itself."""

    frozen: Frozen
    state: CampaignState
    batches: int = 0
    """Batches of its ledger written so far."""
    ledger_digest: str = ""
    events: tuple[Annotated[Event, Field(discriminator="kind")], ...] = ()
    """What came in and was not decided yet."""
    at: datetime
    """The time of the last event."""


# Between a campaign and a service ------------------------------------------------------------------------


class SubmitCall(Wire):
    """Argument of the signal `submit` of a service; it answers with the signal `reply`, any number of times."""

    campaign: str
    target: int
    attempt: int
    request: Request
    """Its id is `campaign/<name>/<target>/<attempt>`; the same again is answered with what is known of it."""
    reply_to: str
    """Workflow id of the campaign."""
    undoes: str = ""
    """Of a rollback: start of the request ids whose change it takes back. It is refused after any other."""


class WithdrawCall(Attestable):
    """Argument of the signal `withdraw` of a service: stop what was submitted, also when it comes first."""

    request_id: str = Field(pattern=REQUEST_ID_PATTERN)
    target: int
    attempt: int
    reply_to: str
    by: str = "unknown"
    reason: str = ""


class Reply(Wire):
    """Argument of the signal `reply` of a campaign."""

    said: AttemptAccepted | AttemptDeclined | AttemptFinished = Field(discriminator="kind")


# Out of a campaign ---------------------------------------------------------------------------------------


class WaveProgress(Wire):
    """One wave, as people see it."""

    name: str
    size: int
    status: Literal["waiting", "gate", "running", "soaking", "done", "not-attempted"] = "waiting"
    counts: dict[str, int] = {}
    """Targets by outcome, and `waiting` and `running`; no zeros."""
    failures: int = 0
    max_failures: int | None = None
    max_concurrent: int | None = None
    gate: Approval | None = None
    started_at: datetime | None = None
    last_success_at: datetime | None = None
    soak_seconds: int = 0
    soak_until: datetime | None = None
    ended_at: datetime | None = None


class FlightView(Wire):
    """A target that runs, as people see it."""

    target: int
    service: str = ""
    attempt: int
    tries: int = 1
    phase: str
    stalled: str = ""
    """What it cannot go on for want of, as last seen."""
    awaiting: bool = False
    """Its operation waits for an approval."""
    queued: bool = False
    """Its next attempt has not begun; `stalled` says what it waits for."""
    operation: str = ""
    """`TEAM/NAME/op/N`, once the service has accepted."""
    started_at: datetime
    error: ErrorInfo | None = None
    """Of the attempt before this one."""


class TargetRecord(RecordOutcome):
    """What became of a target, with what an auditor asks for; a later one of the same target replaces it."""

    service: str = ""
    wave: str = ""
    version_before: str = ""
    """When the targets were frozen."""
    to: str = ""
    revision_before: RevisionRef | None = None
    """Of the operation; None when there was none."""
    revision_after: RevisionRef | None = None
    operation_id: str = ""
    """`TEAM/NAME/op/N`."""
    plans: dict[str, str] = {}
    """Step to the digest of the plan that was applied."""
    changes: ChangeCounts = ChangeCounts()
    decisions: dict[str, str] = {}
    """Step to what the policies said: allow, warn, approval, deny."""


class CampaignDescription(Wire):
    """Answer of the query `describe`, and result of the workflow: all that a page about a campaign shows."""

    name: str
    status: CampaignStatus = CampaignStatus.RUNNING
    frozen: bool = False
    """Its targets are chosen; before that there are no rules, waves and numbers."""
    job: Job | None = None
    requested_by: str = ""
    reason: str = ""
    linked: Linked | None = None
    supersedes: str = ""
    pinned: str = ""
    schedule: str = ""
    targets: int = 0
    targets_digest: str = ""
    """What an approval names."""
    counts: dict[str, int] = {}
    """Targets by outcome, and `waiting` and `running`; no zeros."""
    failures: int = 0
    left_out: dict[str, int] = {}
    waves: tuple[WaveProgress, ...] = ()
    wave: str = ""
    """The current one."""
    max_concurrent: int = 0
    """As it is now."""
    paused: Paused | None = None
    broken: str = ""
    """How the budget was broken, in words."""
    ending: str = ""
    """Why it ends before all its targets were tried."""
    waiting_for: Approval | None = None
    """The gate it stands at."""
    running: int = 0
    awaiting: int = 0
    """How many of those that run wait for an approval of their plan."""
    queued: int = 0
    """How many of those that run wait for their next attempt: for another operation to end, or for a retry."""
    flights: tuple[FlightView, ...] = ()
    """The first of those that run, at most `MAX_FLIGHTS_SHOWN`."""
    calendar: Calendar | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    rules: Rules | None = None
    batches: int = 0
    """Batches of its ledger that are in the object store."""
    recent: tuple[TargetRecord, ...] = ()
    """What is not yet there."""
    effect: tuple[str, ...] = ()
    """In the answer to a verb: what it did and did not touch, a sentence each."""


# Activities ----------------------------------------------------------------------------------------------


class FreezeCall(Wire):
    """Input of `campaign.freeze`."""

    name: str
    run_id: str
    """Of the first run: a second campaign of the same name is refused."""
    start: CampaignInput
    at: datetime


class PageCall(Wire):
    """Input of `campaign.page`."""

    campaign: str
    page: int


class CalendarCall(Wire):
    """Input of `campaign.calendar`."""

    campaign: str
    change: str = ""


class AskedService(OverdueTarget):
    """One target to ask after, and where it is."""

    service: str
    version: str = ""
    to: str = ""
    pool: str = ""


class SightingsCall(Wire):
    """Input of `campaign.describe` and `campaign.probe`."""

    campaign: str
    targets: tuple[AskedService, ...]


class Sightings(Wire):
    """What `campaign.describe` returns."""

    found: tuple[Found, ...] = ()
    left: tuple[int, ...] = ()
    """Targets whose service was decommissioned or abandoned by others."""


class UnhealthyTargets(Wire):
    """What `campaign.probe` returns: target to what is wrong with it."""

    unhealthy: dict[int, str] = {}


class LedgerBatch(Wire):
    """Input of `campaign.record`, and one object of a campaign's ledger."""

    campaign: str
    number: int
    """From 1, without gaps."""
    notes: tuple[Note, ...] = ()
    records: tuple[TargetRecord, ...] = ()
    final: CampaignDescription | None = None
    """In the last batch: how it ended."""
    state: CampaignState | None = None
    """In the last batch: each target's character, for linked campaigns. Kept beside the ledger."""
    previous: str = ""
    """Digest of the batch before: a chain that shows a gap or a change."""
    attestation: Attestation | None = None
    """In the first batch: who started the campaign, signed by the API."""
    key_id: str = ""
    signature: str = ""
    """As of `LedgerRecord`."""


# Kept ----------------------------------------------------------------------------------------------------


class CampaignHeader(Wire):
    """What is kept of a campaign from its start on."""

    name: str
    run_id: str
    start: CampaignInput
    frozen: Frozen | None = None
    at: datetime


class FreezeRecord(Wire):
    """Nothing starts by a campaign, on the whole platform or in a team."""

    name: str
    team: str = ""
    """Empty: the whole platform."""
    exempt: tuple[str, ...] = ()
    """Classes of changes that it does not hold up: `EMG` exempts a campaign whose change is `EMG-17`."""
    by: str
    reason: str = ""
    begins_at: datetime
    ends_at: datetime | None = None
    """None until somebody ends it."""
    applied: KeptPlatformManifest | None = None
    """The manifest that it was applied from; None when it never was."""
    changes: int = 0
    """How often it was changed: a change is of the freeze with one less."""

    def binds(self, change: str) -> bool:
        """Whether it holds up a campaign with that change number."""
        return not any(change == each or change.startswith(f"{each}-") for each in self.exempt)
