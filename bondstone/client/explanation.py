"""Why something stands where it stands, in one sentence: for the command, the console and whoever asks. Pure.

payments/orders      update op/7 waits for approval of step database by one of dba, since 14:02
payments/orders/op/8 retries terraform.plan, attempt 4, next at 14:07, because the backend answered 503
cve-2026-1234        waits: freeze `audit` until 23:40
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Final

from bondstone.base.names import HEALTH_PROBE
from bondstone.base.printable import shorten

if TYPE_CHECKING:
    from bondstone.base.errors import ErrorInfo
    from bondstone.client.documents.campaign import CampaignDocument, HoldingFreeze
    from bondstone.client.documents.service import (
        OperationDocument,
        ProgressDocument,
        RetryDocument,
        ServiceDocument,
    )
    from bondstone.client.documents.step import ApprovalDocument

MAX_REASON_CHARS: Final = 200
"""Of an error's message: a sentence, not a report."""

_DOES: Final = {"planning": "plans", "checking": "checks the policies on the plan of", "applying": "applies"}
_CHANGES: Final = frozenset(
    {"provisioning", "updating", "patching", "upgrading", "rolling-back", "reconciling", "decommissioning"}
)


@dataclass(frozen=True, slots=True)
class ReadingTime:
    """When a sentence is read, and how it gives times: `14:02` of today, else with its date.

    Args:
        now: The reader's time, with a zone.
        zone: The reader's zone.
    """

    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    zone: tzinfo = UTC

    def words(self, at: datetime) -> str:
        """A time as the reader writes it; `UTC` follows where that is the zone."""
        local, today = at.astimezone(self.zone), self.now.astimezone(self.zone)
        shown = f"{local:%H:%M}" if local.date() == today.date() else f"{local:%Y-%m-%d %H:%M}"
        return f"{shown} UTC" if self.zone is UTC else shown


def explain_operation(operation: OperationDocument, clock: ReadingTime) -> str:
    """Why an operation stands where it stands; it begins with a verb.

    Args:
        operation: As `Operations.get` gives it: with what is tried again while it runs.
        clock: The reader's.
    """
    match operation.status:
        case "queued":
            return f"is queued since {clock.words(operation.requested_at)}"
        case "awaiting-approval":
            gates = [gate for gate in operation.approvals if gate.status == "waiting"]
            return " and ".join(_waits(gate, clock) for gate in gates) or "waits for an approval"
        case "running":
            return _runs(operation, clock)
        case "succeeded":
            at = f" at {clock.words(operation.finished_at)}" if operation.finished_at else ""
            planned = ": a dry run, nothing was changed" if operation.dry_run else ""
            return f"succeeded{at}{planned}"
    word = "was rolled back" if operation.status == "rolled-back" else _ended(operation)
    step = next((each.id for each in operation.steps if each.status == "failed"), "")
    return f"{word}{f' at step {step}' if step else ''}{_because(operation.error)}"


def explain_service(service: ServiceDocument, clock: ReadingTime) -> str:
    """Why a service stands where it stands; it begins with a verb, or with the operation that says why.

    Args:
        service: As `Services.get` gives it.
        clock: The reader's.
    """
    begun = next((each for each in service.operations if each.status in {"running", "awaiting-approval"}), None)
    if begun is not None:
        return f"{begun.kind} op/{begun.id.rpartition('/')[2]} {explain_operation(begun, clock)}"
    last = next((each for each in service.operations if not each.dry_run), None)
    if last is not None and last.status == "queued":
        return f"{last.kind} op/{last.id.rpartition('/')[2]} {explain_operation(last, clock)}"
    parts = []
    if service.phase in {"failed", "degraded"} or service.phase in _CHANGES:
        bad = next((each for each in service.operations if each.error is not None and not each.dry_run), None)
        because = f": {bad.kind} op/{bad.id.rpartition('/')[2]} {explain_operation(bad, clock)}" if bad else ""
        parts.append(f"is {service.phase}{because}")
    else:
        since = f" since {clock.words(last.finished_at)}" if last and last.finished_at else ""
        unhealthy = " and unhealthy" if service.health == "unhealthy" else ""
        parts.append(f"is {service.phase}{unhealthy}{since}")
    if service.paused_by:
        why = f": {service.pause_reason}" if service.pause_reason else ""
        since = f" since {clock.words(service.paused_at)}" if service.paused_at else ""
        parts.append(f"paused by {service.paused_by}{since}{why}")
    if service.drift:
        parts.append(
            f"{service.drift} object{'s differ' if service.drift > 1 else ' differs'} from what was applied"
        )
    return "; ".join(parts)


def explain_campaign(campaign: CampaignDocument, clock: ReadingTime) -> str:
    """Why a campaign stands where it stands; it begins with a verb.

    Args:
        campaign: As `Campaigns.get` gives it.
        clock: The reader's.
    """
    if campaign.status.ended:
        at = f" at {clock.words(campaign.ended_at)}" if campaign.ended_at else ""
        counts = ", ".join(f"{count} {outcome}" for outcome, count in campaign.counts.items() if count)
        why = campaign.ending.partition(": ")[2]  # after the status, which is named already
        return f"ended {campaign.status}{at}: {counts or 'no targets'}{f'; {why}' if why else ''}"
    if not campaign.waves:
        return "chooses its targets"
    if campaign.status == "aborting":
        ending = f": {campaign.ending}" if campaign.ending else ""
        return f"is aborted; {_targets(campaign.running)} still under way{ending}"
    if campaign.status == "rolling-back":
        return f"rolls back {_targets(campaign.running)}"
    stalled = next((flight.stalled for flight in campaign.flights if flight.stalled), "")
    asks = f", {campaign.awaiting} of which wait for approval of their plans" if campaign.awaiting else ""
    runs = f"runs {_targets(campaign.running)} of wave {campaign.wave}{asks}{f'; {stalled}' if stalled else ''}"
    return next(_holds_up(campaign, clock), runs)


def retry_words(retry: RetryDocument, clock: ReadingTime) -> str:
    """What is tried again, when, and why: `retries terraform.plan, attempt 4, next at 14:07, because …`."""
    of = f" of {retry.at_most}" if retry.at_most else ""
    due = retry.next_at is not None and retry.next_at > clock.now
    when = f"next at {clock.words(retry.next_at)}" if due and retry.next_at else "which runs now"
    because = _because(retry.error, word=", because ")
    return f"retries {retry.activity}, attempt {retry.attempt}{of}, {when}{because}"


def progress_words(progress: ProgressDocument) -> str:
    """How far something is, and what it waits for: `3 of 5, http http://127.0.0.1:1/: no answer: refused`."""
    counted = f"{progress.done} of {progress.total}" if progress.total else ""
    about = ": ".join(part for part in (progress.about, progress.waits_for) if part)
    return ", ".join(part for part in (counted, about) if part)


# Helpers ----------------------------------------------------------------------------------------------------


def _waits(gate: ApprovalDocument, clock: ReadingTime) -> str:
    until = f", until {clock.words(gate.expires_at)}" if gate.expires_at else ""
    since = clock.words(gate.asked_at)
    return f"waits for approval of step {gate.step} by {_people(gate.missing)}, since {since}{until}"


def _people(missing: Iterable[str]) -> str:
    """`1 of dba` as people say it: one of dba; and anybody for one of anybody."""
    people = (each.removeprefix("1 of ") if each.startswith("1 of anybody") else each for each in missing)
    return " and ".join(f"one{each[1:]}" if each.startswith("1 of ") else each for each in people) or "nobody"


def _runs(operation: OperationDocument, clock: ReadingTime) -> str:
    if operation.retrying:
        return "; ".join(retry_words(retry, clock) for retry in operation.retrying)
    busy = next((each for each in operation.steps if each.status in _DOES), None)
    if busy is not None:
        since = f" since {clock.words(busy.started_at)}" if busy.started_at else ""
        verbs = {f"{busy.executor}.{verb}" for verb in ("plan", "apply", "plan_destroy", "detect_drift")}
        far = next((progress_words(each) for each in operation.progress if each.activity in verbs), "")
        return f"{_DOES[busy.status]} step {busy.id}{since}{f': {far}' if far else ''}"
    health = next((each for each in operation.progress if each.activity == HEALTH_PROBE), None)
    if health is not None and health.about:
        since = f" since {clock.words(health.since)}" if health.since else ""
        return f"waits for its health{since}: {progress_words(health)}"
    since = f" since {clock.words(operation.started_at)}" if operation.started_at else ""
    if operation.steps and _all_done(step.status for step in operation.steps):
        return f"checks outputs and health{since}"
    return f"runs{since}"


def _all_done(statuses: Iterable[str]) -> bool:
    return all(status in {"succeeded", "unchanged", "skipped", "kept"} for status in statuses)


def _ended(operation: OperationDocument) -> str:
    return f"was {operation.status}" if operation.status in {"rejected", "cancelled"} else str(operation.status)


def _because(error: ErrorInfo | None, *, word: str = ": ") -> str:
    if error is None or not error.message:
        return ""
    return f"{word}{shorten(error.message.splitlines()[0], MAX_REASON_CHARS)}"


def _targets(count: int) -> str:
    return f"{count} target{'' if count == 1 else 's'}"


def _holds_up(campaign: CampaignDocument, clock: ReadingTime) -> Iterator[str]:
    """What keeps a campaign from starting targets; what only people can change comes first."""
    if campaign.paused is not None:
        by = f" by {campaign.paused.by}" if campaign.paused.by else ""
        why = campaign.budget or campaign.paused.reason
        yield f"is paused{by} since {clock.words(campaign.paused.at)}{f': {why}' if why else ''}"
    for wave in campaign.waves:
        if wave.missing:
            yield f"waits for approval of wave {wave.name} by {_people(wave.missing)}"
    if campaign.freezes:
        yield f"waits: {' and '.join(_freeze(freeze, clock) for freeze in campaign.freezes)}"
    if campaign.status == "waiting-window":
        opens = f"its window to open at {clock.words(campaign.opens_at)}" if campaign.opens_at else ""
        yield f"waits for {opens or 'a window; none opens again'}"
    for wave in campaign.waves:
        if wave.status == "soaking" and wave.soak_until is not None:
            yield f"soaks wave {wave.name} until {clock.words(wave.soak_until)}"


def _freeze(freeze: HoldingFreeze, clock: ReadingTime) -> str:
    whose = f" of team {freeze.team}" if freeze.team else ""
    until = f"until {clock.words(freeze.ends_at)}" if freeze.ends_at else "until it is deleted"
    return f"freeze `{freeze.name}`{whose} {until}"
