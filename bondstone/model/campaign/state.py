"""Campaigns: the rules of one, where it is, and what became of its targets.

What happens to a campaign, and what it asks for, is in `bondstone.model.campaign.events`; how the one leads to the
other is in `bondstone.campaign.decider`. Targets are numbers from 0, in the order of the waves; a wave is a
contiguous range of them.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final, Literal

from pydantic import Field

from bondstone.base.errors import ErrorInfo
from bondstone.base.models import Wire
from bondstone.model.service import Approval, Need

EDITION: Final = 1
"""How campaigns that begin now behave; see `CampaignState.edition`."""

PAGE_SIZE: Final = 1000
"""Targets on a page, of the list in the object store and of the status string, unless the rules say otherwise."""


class CampaignStatus(StrEnum):
    """What a campaign is doing, for people and the search attribute."""

    RUNNING = "running"
    PAUSED = "paused"
    AWAITING_APPROVAL = "awaiting-approval"
    SOAKING = "soaking"
    WAITING_WINDOW = "waiting-window"
    ROLLING_BACK = "rolling-back"
    ABORTING = "aborting"
    COMPLETED = "completed"
    COMPLETED_WITH_FAILURES = "completed-with-failures"
    ABORTED = "aborted"
    SUPERSEDED = "superseded"
    ROLLED_BACK = "rolled-back"

    @property
    def ended(self) -> bool:
        """Whether it will not change any more."""
        return self in {
            self.COMPLETED,
            self.COMPLETED_WITH_FAILURES,
            self.ABORTED,
            self.SUPERSEDED,
            self.ROLLED_BACK,
        }


class TargetOutcome(StrEnum):
    """What became of a target."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed-out"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    SKIPPED = "skipped"
    ROLLED_BACK = "rolled-back"
    NOT_ATTEMPTED = "not-attempted"


class Code(StrEnum):
    """Where a target is, in one character: a campaign carries nothing else of a target that is not in flight."""

    WAITING = "."
    RUNNING = "r"
    RETURNING = "s"
    """Being rolled back after it had succeeded."""
    RETURNING_FAILED = "f"
    """Being rolled back after it had failed; a failure still."""
    SUCCEEDED = "S"
    FAILED = "F"
    TIMED_OUT = "T"
    UNREACHABLE = "U"
    REFUSED = "R"
    SKIPPED = "K"
    ROLLED_BACK = "B"
    ROLLED_BACK_FAILED = "b"
    """Rolled back after it had failed: a failure still, for the budget."""
    NOT_ATTEMPTED = "N"

    @property
    def outcome(self) -> TargetOutcome | None:
        """What people read; None while it is not settled."""
        return _OUTCOMES.get(self)


_OUTCOMES: Final = {
    Code.SUCCEEDED: TargetOutcome.SUCCEEDED,
    Code.FAILED: TargetOutcome.FAILED,
    Code.TIMED_OUT: TargetOutcome.TIMED_OUT,
    Code.UNREACHABLE: TargetOutcome.UNREACHABLE,
    Code.REFUSED: TargetOutcome.REFUSED,
    Code.SKIPPED: TargetOutcome.SKIPPED,
    Code.ROLLED_BACK: TargetOutcome.ROLLED_BACK,
    Code.ROLLED_BACK_FAILED: TargetOutcome.ROLLED_BACK,
    Code.NOT_ATTEMPTED: TargetOutcome.NOT_ATTEMPTED,
}

FAILURES: Final = frozenset(
    {Code.FAILED, Code.TIMED_OUT, Code.UNREACHABLE, Code.ROLLED_BACK_FAILED, Code.RETURNING_FAILED}
)
"""What counts against a budget. (Where unreachable targets are not to count, they are skipped.)"""

IN_FLIGHT: Final = frozenset({Code.RUNNING, Code.RETURNING, Code.RETURNING_FAILED})
"""Targets that hold a slot."""


class WaveRules(Wire):
    """One wave, in numbers."""

    name: str
    size: int = Field(ge=0)
    max_concurrent: int | None = Field(default=None, ge=1)
    """Of this wave; can only lower the campaign's."""
    max_failures: int | None = Field(default=None, ge=0)
    """The wave's own budget, or the campaign's when its scope is the wave; 0 is always strict."""
    soak_seconds: int = Field(default=0, ge=0)
    """From the wave's last success; then the health of those that succeeded is probed. 0: neither."""
    needs: tuple[Need, ...] = ()
    """The approvals that the wave waits for before it starts."""
    expires_seconds: int = Field(default=0, ge=0)
    """How long it waits for that; then the campaign ends. 0 is for ever."""


class Rules(Wire):
    """A campaign, in numbers: percents are counted out, defaults filled in."""

    campaign: str
    requested_by: str
    targets_digest: str = ""
    """Digest of the frozen list of targets: what an approval is about."""
    waves: tuple[WaveRules, ...]
    page_size: int = Field(default=PAGE_SIZE, ge=1)
    max_concurrent: int = Field(default=10, ge=1)
    """To begin with; `set_concurrency` changes it."""
    max_concurrent_per_group: int | None = Field(default=None, ge=1)
    start_count: int = Field(default=0, ge=0)
    """At most so many starts in any `start_period_seconds`; 0 is no limit."""
    start_period_seconds: int = Field(default=60, ge=1)
    max_failures: int | None = Field(default=None, ge=0)
    """Of the whole campaign; None when nothing limits it, or each wave has its own."""
    max_consecutive_failures: int | None = Field(default=None, ge=1)
    """So many in a row break the budget, in the order they become known."""
    overshoot: Literal["strict", "allow"] = "allow"
    on_failure: Literal["pause", "continue", "abort", "rollback_target", "rollback_wave"] = "pause"
    retries: int = Field(default=0, ge=0)
    """Further attempts after one that failed. One that timed out, was refused or cancelled is not tried again."""
    backoff_seconds: int = Field(default=0, ge=0)
    """How long the first further attempt waits; each after it waits twice as long as the one before."""
    timeout_seconds: int = Field(default=7200, ge=1)
    """Longest time for one attempt, from its submission."""
    busy: Literal["wait", "skip", "fail"] = "wait"
    unreachable: Literal["fail", "skip"] = "fail"
    has_calendar: bool = False
    """Windows or freezes: nothing starts before a `Calendar` has said that it may."""
    window_end: Literal["finish", "cancel"] = "finish"
    check_seconds: int = Field(default=300, ge=1)
    """How long nothing may be heard of a target, or of a question, before it is asked after."""
    busy_seconds: int = Field(default=60, ge=1)
    """How long to let a busy service be before it is asked again."""
    cancel_grace_seconds: int = Field(default=900, ge=1)
    """How long a cancelled attempt may take to say that it stopped before its slot is given away."""

    @property
    def size(self) -> int:
        """Number of targets."""
        return sum(wave.size for wave in self.waves)


class Stage(StrEnum):
    """Where the machine stands. `decider` draws the ways between them."""

    GATE = "gate"
    """Approvals that the wave needs before it starts."""
    STARTING = "starting"
    """The wave's targets are started, and run."""
    SOAKING = "soaking"
    PROBING = "probing"
    """The health of those that succeeded is asked, batch by batch."""
    DRAINING = "draining"
    """A rollback is ordered: what runs finishes first."""
    ROLLING_BACK = "rolling-back"
    ABORTING = "aborting"
    """Nothing starts any more; the end is when nothing runs."""
    ENDED = "ended"


class WaveState(Wire):
    """How far a wave is."""

    counts: dict[Code, int] = {}
    """How many of its targets are where; no zeros."""
    forgiven: int = 0
    """Failures that a `resume` has accepted."""
    gate: Approval | None = None
    started_at: datetime | None = None
    last_success_at: datetime | None = None
    soaked: bool = False
    """Its successes have soaked and were probed."""
    ended_at: datetime | None = None


class Flight(Wire):
    """A target that holds a slot."""

    attempt: int
    """Unique for the target in this campaign, rising: part of the request id, and of every reply."""
    tries: int = 1
    """Attempts since the target was last waiting: at most 1 + retries."""
    phase: Literal["submitted", "accepted", "between", "cancelling"] = "submitted"
    """`between`: `attempt` is to be submitted as soon as the rules allow a start."""
    before: Code = Code.WAITING
    """What it was; anything but waiting means that it is being rolled back."""
    group: str = ""
    team: str = ""
    operation: int = 0
    """Number of the operation, once the service has accepted."""
    started_at: datetime
    attempt_at: datetime
    check_at: datetime
    """When to ask after it."""
    not_before: datetime | None = None
    busy_since: datetime | None = None
    busy: str = ""
    """Which operation of the service it waits for, while `busy_since` is set; for people only."""
    lost: int = 0
    """Submissions of this attempt that the service knows nothing of."""
    sent: int = 0
    """Submissions of this attempt."""
    stalled: str = ""
    """What it cannot go on for want of, as last seen: `pool prod-eu has no worker`."""
    awaiting: bool = False
    """Its operation waits for an approval."""
    due: Literal["", "timed-out", "unreachable", "window", "aborted", "declined"] = ""
    """Why it is being cancelled. `declined`: it was sent more than once, and one of these was declined."""
    declined: TargetOutcome | None = None
    """What it is booked as if nothing of it is carried out; set with `due: declined`."""
    declined_why: str = ""
    cancel_by: datetime | None = None
    error: ErrorInfo | None = None
    """Of the last attempt that failed."""


class Lane(Wire):
    """Targets of one group and team that are next in order: what lets one group wait and others go on."""

    group: str = ""
    team: str = ""
    targets: tuple[int, ...] = ()


class FreezeOn(Wire):
    """A freeze that holds something up now."""

    name: str
    team: str = ""
    """Empty: the whole platform."""
    ends_at: datetime | None = None
    """None until somebody ends it."""


class Calendar(Wire):
    """What windows and freezes say from now until `until`; an event, and kept until the next."""

    kind: Literal["calendar"] = "calendar"
    open: bool = True
    until: datetime | None = None
    """When it must be asked again: if `open`, nothing starts from then on; None means for good."""
    window_ends_at: datetime | None = None
    """When those still running are cancelled, where the rules say so: the window's end, after its cutoff."""
    frozen_teams: tuple[str, ...] = ()
    """Nothing of these starts, though it is open for others."""
    why: str = ""
    """Why it is closed, for people."""
    opens_at: datetime | None = None
    """When it opens, if it is closed and that is known; `until` may be earlier, to look again."""
    freezes: tuple[FreezeOn, ...] = ()
    """The freezes that are on."""


class Paused(Wire):
    """Why nothing starts."""

    cause: Literal["verb", "budget", "rollback"]
    by: str = ""
    reason: str = ""
    at: datetime


class RollbackOrder(Wire):
    """Which targets go back, and what comes then."""

    codes: tuple[Code, ...]
    first: int
    last: int
    """One past the last target."""
    then: Literal["pause", "end"] = "pause"
    cause: Literal["verb", "budget"] = "verb"
    by: str = ""
    reason: str = ""


class Ending(Wire):
    """Why a campaign stops before all its targets were tried."""

    status: CampaignStatus
    cancel: bool = False
    by: str = ""
    reason: str = ""


class OpenQuestion(Wire):
    """A question that is open: a page, a batch of probes, the calendar. Asked again when no answer comes."""

    number: int
    """The page, or the number of the batch."""
    targets: tuple[int, ...] = ()
    again_at: datetime


class CampaignState(Wire):
    """All a campaign carries over continue-as-new: argument of `Campaign`, answer of its query `describe`."""

    rules: Rules
    edition: int = 0
    """How it behaves, from its beginning to its end: a recorded campaign must replay as it ran.

    1: a submission that was sent twice is withdrawn before a refusal of it counts, and `rollback --all` takes back
    what failed and timed out too.
    """
    starts: tuple[int, ...]
    """First target of each wave."""
    pages: tuple[str, ...]
    """The status string, one character (`Code`) for each target, cut into pages."""
    counts: dict[Code, int] = {}
    """How often each code is in it; no zeros."""
    waves: tuple[WaveState, ...] = ()
    wave: int = 0
    """The current one."""
    stage: Stage = Stage.GATE
    max_concurrent: int = 1
    paused: Paused | None = None
    ending: Ending | None = None
    rollback: RollbackOrder | None = None
    broken: str = ""
    """How the budget was broken, in words."""
    forgiven: int = 0
    """Failures of the campaign that a `resume` has accepted."""
    consecutive: int = 0
    """Failures in a row."""
    cursor: int = 0
    """Targets before it are in a lane, or need none."""
    lanes: dict[str, Lane] = {}
    flights: dict[int, Flight] = {}
    again: tuple[int, ...] = ()
    """Those of the flights that are `between`."""
    group_flights: dict[str, int] = {}
    round: int = 0
    """How often targets were taken up again by `retry` or `rollback`: keeps attempts unique."""
    calendar: Calendar = Calendar()
    rate_left: int = 0
    """Starts left in this batch of the start rate."""
    rate_at: datetime | None = None
    """When the next batch begins."""
    soak_until: datetime | None = None
    probe_cursor: int = 0
    probes: int = 0
    """Batches of probes asked so far."""
    questions: dict[Literal["page", "probe", "calendar"], OpenQuestion] = {}
    check_at: datetime | None = None
    """No flight needs attention before."""
    wake_at: datetime | None = None
    """When the driver sends a `Tick`, unless something else happens before."""
    seen_requests: dict[str, str] = {}
    """Request id to kind of verb, bounded, oldest first."""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    result: CampaignStatus | None = None
    """How it ended."""

    @property
    def failures(self) -> int:
        """How many targets count as failed."""
        return sum(self.counts.get(code, 0) for code in FAILURES)

    def code(self, index: int) -> Code:
        """Where a target is."""
        number, offset = divmod(index, self.rules.page_size)
        return Code(self.pages[number][offset])
