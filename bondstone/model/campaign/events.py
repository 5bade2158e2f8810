"""What moves a campaign: events and people's verbs; and what it asks for in turn: commands.

Every event and verb may come late, twice or out of order; what does not fit is without effect.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from bondstone.base.errors import ErrorInfo
from bondstone.base.models import Wire
from bondstone.base.names import REQUEST_ID_PATTERN
from bondstone.model.attestation import Attestable
from bondstone.model.campaign.state import Calendar, TargetOutcome
from bondstone.model.service import OperationStatus

# Events ------------------------------------------------------------------------------------------------


class Tick(Wire):
    """Time has passed: the first event of all, and whatever follows when `wake_at` has come."""

    kind: Literal["tick"] = "tick"


class TargetKey(Wire):
    """What the decider has to know of a target."""

    group: str = ""
    """Value of the label of `per`."""
    team: str = ""
    skip: str = ""
    """Why it need not be done, when that is known beforehand: `compliant`."""


class PageLoaded(Wire):
    """Answer to `LoadPage`: the targets of the page, in order."""

    kind: Literal["page-loaded"] = "page-loaded"
    page: int
    targets: tuple[TargetKey, ...]


class AttemptAccepted(Wire):
    """A service has taken the attempt on; it runs or waits its turn."""

    kind: Literal["accepted"] = "accepted"
    target: int
    attempt: int
    operation: int = 0
    awaiting: bool = False
    """The operation waits for an approval; said again, without, when it continues."""


class AttemptDeclined(Wire):
    """A service did not take the attempt on, or could not be asked: nothing was done and nothing will be."""

    kind: Literal["declined"] = "declined"
    target: int
    attempt: int
    why: Literal["refused", "skipped", "busy", "unreachable"] = "refused"
    """`skipped`: there is nothing to do (compliant, decommissioned)."""
    reason: str = ""
    error: ErrorInfo | None = None
    gone: bool = False
    """There is no such service any more, so that nothing that it had accepted continues."""


class AttemptFinished(Wire):
    """The operation of an attempt has ended."""

    kind: Literal["finished"] = "finished"
    target: int
    attempt: int
    operation: int = 0
    status: OperationStatus
    error: ErrorInfo | None = None
    evidence: dict[str, Any] = {}
    """Handed on to `RecordOutcome`: revisions before and after, plans, decisions."""


class Found(Wire):
    """What was seen of one overdue target.

    `unknown`: the service is there and never heard of this attempt. `gone`: there is no such service any more.
    `silent`: nobody could say.
    """

    target: int
    attempt: int
    what: Literal["unknown", "alive", "ended", "gone", "silent"]
    operation: int = 0
    status: OperationStatus | None = None
    """When it has ended."""
    stalled: str = ""
    """When it is alive: what it cannot go on for want of."""
    awaiting: bool = False
    """When it is alive: its operation waits for an approval."""
    error: ErrorInfo | None = None
    evidence: dict[str, Any] = {}


class Described(Wire):
    """Answer to `Describe`."""

    kind: Literal["described"] = "described"
    found: tuple[Found, ...]


class Probed(Wire):
    """Answer to `ProbeTargets`."""

    kind: Literal["probed"] = "probed"
    batch: int
    unhealthy: dict[int, str] = {}
    """Target to what is wrong with it."""


# Verbs -------------------------------------------------------------------------------------------------


class CampaignVerb(Attestable):
    """What a person asks of a campaign; the same request id again has no further effect."""

    request_id: str = Field(pattern=REQUEST_ID_PATTERN)
    by: str = Field(min_length=1)
    reason: str = ""


class Pause(CampaignVerb):
    """Start nothing more; what runs continues."""

    kind: Literal["pause"] = "pause"


class Resume(CampaignVerb):
    """Go on. After a broken budget: accept the failures so far."""

    kind: Literal["resume"] = "resume"


class Abort(CampaignVerb):
    """Start nothing more, ever, and end."""

    kind: Literal["abort"] = "abort"
    running: Literal["drain", "cancel"] = "drain"


class Supersede(CampaignVerb):
    """Another campaign takes over: as `abort`, draining."""

    kind: Literal["supersede"] = "supersede"
    campaign: str


class Skip(CampaignVerb):
    """Leave out a target that has not started."""

    kind: Literal["skip"] = "skip"
    target: int


class SetConcurrency(CampaignVerb):
    """How many targets may run at once, from now on."""

    kind: Literal["set-concurrency"] = "set-concurrency"
    max_concurrent: int


class NextWave(CampaignVerb):
    """End the soak now; the probes still run."""

    kind: Literal["next-wave"] = "next-wave"


Which = Literal["failed", "not-started", "all"]


class Retry(CampaignVerb):
    """Take targets up again, each in its wave; after the end, in a linked campaign."""

    kind: Literal["retry"] = "retry"
    which: Which = "failed"


class RollbackTargets(CampaignVerb):
    """Take targets back: those that failed, the current wave, or all that were tried, and end."""

    kind: Literal["rollback"] = "rollback"
    which: Literal["failed", "wave", "all"]


class Approve(CampaignVerb):
    """An approval of a wave that waits at its gate."""

    kind: Literal["approve"] = "approve"
    wave: str
    digest: str
    roles: tuple[str, ...] = ()


class Reject(CampaignVerb):
    """A rejection of it: the campaign ends."""

    kind: Literal["reject"] = "reject"
    wave: str
    digest: str
    roles: tuple[str, ...] = ()


AnyVerb = (
    Pause
    | Resume
    | Abort
    | Supersede
    | Skip
    | SetConcurrency
    | NextWave
    | Retry
    | RollbackTargets
    | Approve
    | Reject
)
Event = (
    Tick
    | PageLoaded
    | AttemptAccepted
    | AttemptDeclined
    | AttemptFinished
    | Described
    | Probed
    | Calendar
    | AnyVerb
)

# Commands ----------------------------------------------------------------------------------------------


class LoadPage(Wire):
    """Answer with `PageLoaded`."""

    kind: Literal["load-page"] = "load-page"
    page: int


class Submit(Wire):
    """Ask the target's service for the operation, under a request id made of target and attempt.

    May be repeated for the same attempt: the service must know the request id again.
    """

    kind: Literal["submit"] = "submit"
    target: int
    attempt: int
    rollback: bool = False


class Cancel(Wire):
    """Ask the target's service to stop the attempt; no answer but the attempt's own."""

    kind: Literal["cancel"] = "cancel"
    target: int
    attempt: int
    operation: int = 0
    reason: str = ""


class OverdueTarget(Wire):
    """One target to ask after."""

    target: int
    attempt: int
    operation: int = 0


class Describe(Wire):
    """See what these are doing; answer with `Described`."""

    kind: Literal["describe"] = "describe"
    targets: tuple[OverdueTarget, ...]


class ProbeTargets(Wire):
    """Probe the health of these targets at their new revision; answer with `Probed`, once for the batch."""

    kind: Literal["probe"] = "probe"
    batch: int
    targets: tuple[int, ...]


class AskCalendar(Wire):
    """Answer with a `Calendar` of this moment."""

    kind: Literal["ask-calendar"] = "ask-calendar"


class RecordOutcome(Wire):
    """What became of a target, for the report; a later one of the same target replaces it."""

    kind: Literal["record"] = "record"
    target: int
    outcome: TargetOutcome
    reason: str = ""
    attempts: int = 0
    attempt: int = 0
    operation: int = 0
    started_at: datetime | None = None
    ended_at: datetime
    error: ErrorInfo | None = None
    evidence: dict[str, Any] = {}


class Note(Wire):
    """Something happened to the campaign, for its ledger."""

    kind: Literal["note"] = "note"
    what: str
    """`wave-started`, `budget-broken`, `ended`, …; of a verb, its kind."""
    wave: int
    at: datetime
    by: str = ""
    reason: str = ""
    request_id: str = ""


class StartLinked(Wire):
    """The campaign has ended: do it in a new one. `bondstone.campaign.decider.chosen` gives the targets."""

    kind: Literal["start-linked"] = "start-linked"
    verb: Retry | RollbackTargets


Command = LoadPage | Submit | Cancel | Describe | ProbeTargets | AskCalendar | RecordOutcome | Note | StartLinked
