"""Targets in flight: what replies, timeouts and overdue checks make of them.

A flight holds its slot from its first submission until it is settled::

    submitted ──accepted──▶ accepted ──finished──▶ settled
        │  ▲                   │  │
        │  └── start ─ between ◀──┘ failed, with retries left; lost; busy; cancelled at the window's end
        └───────────┬──────────┘
                 too long, window's end, abort(cancel), declined though sent twice
                    ▼
                cancelling ──finished, declined, or no word in time──▶ settled (or between)

Between two attempts it keeps its slot, and starts again under the same rules as any other target.

A submission of which nothing is heard is sent again, and then the service may decline the one and accept the
other. So a decline counts at once only where it was sent once; else it is withdrawn first, and what the service
says of that counts. A decline of what the service has accepted since is late, and means nothing.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final, Literal

from bondstone.base.errors import ErrorInfo, OperationCancelled
from bondstone.campaign import words
from bondstone.campaign.transition import Turn
from bondstone.model.campaign.events import (
    AttemptAccepted,
    AttemptDeclined,
    AttemptFinished,
    Cancel,
    Describe,
    Described,
    Found,
    OverdueTarget,
    Submit,
)
from bondstone.model.campaign.state import Code, Flight, Stage, TargetOutcome
from bondstone.model.service import OperationStatus

DESCRIBE_BATCH: Final = 100
MAX_BACKOFF_SECONDS: Final = 3600
_DECLINED: Final = {
    TargetOutcome.REFUSED: Code.REFUSED,
    TargetOutcome.SKIPPED: Code.SKIPPED,
    TargetOutcome.UNREACHABLE: Code.UNREACHABLE,
    TargetOutcome.FAILED: Code.FAILED,
}

MAX_LOST: Final = 5
"""A service that so often knows nothing of a submission cannot be reached."""


def submit(turn: Turn, target: int, flight: Flight) -> None:
    """Send an attempt on its way."""
    rules = turn.state.rules
    flight = flight.changed(
        phase="submitted",
        attempt_at=turn.now,
        check_at=turn.after(rules.check_seconds),
        not_before=None,
        operation=0,
        sent=flight.sent + 1,
    )
    turn.set_flight(target, flight)
    _watch(turn, flight)
    turn.commands.append(Submit(target=target, attempt=flight.attempt, rollback=flight.before is not Code.WAITING))


def accepted(turn: Turn, reply: AttemptAccepted) -> None:
    """The service has it."""
    flight = _current(turn, reply.target, reply.attempt)
    if flight is None:
        return
    changes: dict[str, Any] = {
        "operation": reply.operation or flight.operation,
        "check_at": turn.after(turn.state.rules.check_seconds),
        "busy_since": None,
        "lost": 0,
        "awaiting": reply.awaiting,
    }
    if flight.phase in {"submitted", "between"}:
        changes["phase"] = "accepted"
    _change(turn, reply.target, flight, **changes)


def declined(turn: Turn, reply: AttemptDeclined) -> None:
    """The service did not take it, or is not there."""
    flight = _current(turn, reply.target, reply.attempt)
    if flight is None:
        return
    why, error = reply.why, reply.error
    reason = reply.reason or (error.message if error else "") or why
    if turn.state.edition >= 1 and not reply.gone:
        if flight.operation:
            return  # the other of two submissions was accepted
        if flight.sent > 1 and not _waits_for_turn(turn, flight, reply):
            _withdraw(turn, reply, flight, reason, error)
            return
    if flight.before is not Code.WAITING and why != "busy":
        _not_rolled_back(turn, reply.target, flight, code=Code.FAILED, reason=reason, error=error)
    elif why == "busy":
        _busy(turn, reply.target, flight, reason, error)
    elif why == "unreachable":
        _unreachable(turn, reply.target, flight, reason, error)
    else:
        code = Code.REFUSED if why == "refused" else Code.SKIPPED
        turn.settle(reply.target, code, reason=reason, error=error)


def finished(turn: Turn, reply: AttemptFinished) -> None:
    """The operation has ended, one way or the other."""
    flight = _current(turn, reply.target, reply.attempt)
    if flight is None or not reply.status.ended:
        return
    if reply.operation:
        flight = flight.changed(operation=reply.operation)
        turn.set_flight(reply.target, flight)
    target, status, error = reply.target, reply.status, reply.error
    reason = error.message if error else ""
    if flight.before is not Code.WAITING:
        if status in {OperationStatus.SUCCEEDED, OperationStatus.ROLLED_BACK}:
            back = Code.ROLLED_BACK if flight.before is Code.SUCCEEDED else Code.ROLLED_BACK_FAILED
            turn.settle(target, back, evidence=reply.evidence)
        else:
            _not_rolled_back(turn, target, flight, code=Code.FAILED, reason=reason or status, error=error)
    elif status is OperationStatus.SUCCEEDED:
        turn.settle(target, Code.SUCCEEDED, evidence=reply.evidence)
    elif status is OperationStatus.REJECTED:
        turn.settle(target, Code.REFUSED, reason=reason or "rejected", error=error, evidence=reply.evidence)
    elif status is OperationStatus.CANCELLED:
        _cancelled(turn, target, flight, reason or "cancelled", error)
    elif flight.due in {"", "window"} and _may_retry(turn, flight):
        _next_attempt(turn, target, flight, error)
    else:
        code = Code.TIMED_OUT if flight.due == "timed-out" else Code.FAILED
        code = Code.ROLLED_BACK_FAILED if status is OperationStatus.ROLLED_BACK else code
        turn.settle(target, code, reason=reason or status, error=error, evidence=reply.evidence)


def described(turn: Turn, answer: Described) -> None:
    """What an overdue check saw."""
    for sighting in answer.found:
        _look(turn, sighting)


def check_overdue(turn: Turn) -> None:
    """Cancel what takes too long, give away slots of what does not stop, ask after what is silent."""
    state = turn.state
    if state.check_at is None or turn.now < state.check_at:
        return
    state.check_at = None
    questions: list[OverdueTarget] = []
    for target, flight in list(state.flights.items()):
        current = flight
        if flight.phase == "cancelling" and flight.cancel_by is not None and turn.now >= flight.cancel_by:
            _not_stopped(turn, target, flight)
        elif flight.phase in {"submitted", "accepted"} and turn.now >= _deadline(turn, flight):
            lost = flight.phase == "submitted" or flight.stalled
            cancel(turn, target, flight, "unreachable" if lost else "timed-out")
        elif flight.phase != "between" and turn.now >= flight.check_at:
            questions.append(OverdueTarget(target=target, attempt=flight.attempt, operation=flight.operation))
            current = flight.changed(check_at=turn.after(state.rules.check_seconds))
            state.flights[target] = current
        if target in state.flights:
            _watch(turn, state.flights[target])
    for begin in range(0, len(questions), DESCRIBE_BATCH):
        turn.commands.append(Describe(targets=tuple(questions[begin : begin + DESCRIBE_BATCH])))


def cancel(
    turn: Turn,
    target: int,
    flight: Flight,
    due: Literal["timed-out", "unreachable", "window", "aborted", "declined"],
) -> None:
    """Ask for an attempt to stop; it keeps its slot until it has, or until the grace is over."""
    rules = turn.state.rules
    flight = flight.changed(
        phase="cancelling",
        due=due,
        cancel_by=turn.after(rules.cancel_grace_seconds),
        check_at=turn.after(rules.check_seconds),
    )
    turn.set_flight(target, flight)
    _watch(turn, flight)
    why = _due_words(turn, due)
    turn.commands.append(Cancel(target=target, attempt=flight.attempt, operation=flight.operation, reason=why))


def give_up(turn: Turn, target: int, flight: Flight) -> None:
    """Settle a flight between two attempts, because there will be no other."""
    if flight.before is not Code.WAITING:
        turn.settle(target, flight.before, reason="not rolled back", error=flight.error)
    elif flight.tries > 1 or flight.error is not None:
        turn.settle(target, Code.FAILED, reason="not tried again", error=flight.error)
    else:
        aborting = turn.state.stage is Stage.ABORTING
        turn.settle(target, Code.NOT_ATTEMPTED if aborting else Code.WAITING, reason="not started")


# What a flight comes to ----------------------------------------------------------------------------------


def _look(turn: Turn, sighting: Found) -> None:
    target, attempt = sighting.target, sighting.attempt
    flight = _current(turn, target, attempt)
    if flight is None:
        return
    if sighting.what == "alive":
        alive = {"operation": sighting.operation, "awaiting": sighting.awaiting}
        accepted(turn, AttemptAccepted(target=target, attempt=attempt, **alive))
        _change(turn, target, turn.state.flights[target], stalled=sighting.stalled)
    elif sighting.what == "ended" and sighting.status is not None:
        finished(
            turn,
            AttemptFinished(
                target=target,
                attempt=attempt,
                operation=sighting.operation,
                status=sighting.status,
                error=sighting.error,
                evidence=sighting.evidence,
            ),
        )
    elif sighting.what == "gone":
        gone = {"why": "unreachable", "reason": "there is no such service", "gone": True}
        declined(turn, AttemptDeclined.model_validate({"target": target, "attempt": attempt, **gone}))
    elif sighting.what == "unknown" and flight.phase != "between":
        _lost(turn, target, flight)


def _current(turn: Turn, target: int, attempt: int) -> Flight | None:
    flight = turn.state.flights.get(target)
    return flight if flight is not None and flight.attempt == attempt else None


def _cancelled(turn: Turn, target: int, flight: Flight, reason: str, error: ErrorInfo | None) -> None:
    if flight.due == "declined" and flight.declined is not None:
        _book_declined(turn, target, flight)
    elif flight.before is not Code.WAITING:
        _not_rolled_back(turn, target, flight, code=_due_code(turn, flight), reason=reason, error=error)
    elif flight.due == "window" and _may_retry(turn, flight):
        _next_attempt(turn, target, flight, error)
    elif flight.due == "window":
        turn.settle(target, Code.FAILED, reason="cancelled at the end of the window", error=error)
    else:
        by_campaign = error is not None and error.code == OperationCancelled.code and bool(flight.due)
        turn.settle(
            target, _due_code(turn, flight), reason=_why(turn, flight, "" if by_campaign else reason), error=error
        )


def _not_stopped(turn: Turn, target: int, flight: Flight) -> None:
    """It may be running still, so there is no other attempt."""
    grace = words.lasting(turn.state.rules.cancel_grace_seconds)
    reason = f"{_why(turn, flight, '')}, and it did not stop within {grace} of being told to"
    if flight.due == "declined":
        _book_declined(turn, target, flight)
    elif flight.before is not Code.WAITING:
        _not_rolled_back(turn, target, flight, code=_due_code(turn, flight), reason=reason, error=flight.error)
    else:
        turn.settle(target, _due_code(turn, flight), reason=reason, error=flight.error)


def _why(turn: Turn, flight: Flight, reason: str) -> str:
    """Why it was cancelled, and what came of that."""
    state = "it was waiting for an approval" if flight.awaiting else flight.stalled
    return ": ".join(part for part in (_due_words(turn, flight.due), state, reason) if part)


def _due_words(turn: Turn, due: str) -> str:
    limit = f"target.timeout of {words.lasting(turn.state.rules.timeout_seconds)}"
    limits = {"timed-out": f"not finished within the {limit}", "unreachable": f"not begun within the {limit}"}
    return limits.get(due, due)


def _waits_for_turn(turn: Turn, flight: Flight, reply: AttemptDeclined) -> bool:
    """Whether a busy service is waited for, so that the same attempt is sent once more in any case."""
    waits = turn.state.rules.busy == "wait" or flight.before is not Code.WAITING
    return reply.why == "busy" and waits and flight.phase != "cancelling"


def _withdraw(turn: Turn, reply: AttemptDeclined, flight: Flight, reason: str, error: ErrorInfo | None) -> None:
    """Have the service not begin what it declined once, and keep what the decline comes to if it does not."""
    outcomes = {
        "refused": TargetOutcome.REFUSED,
        "skipped": TargetOutcome.SKIPPED,
        "unreachable": TargetOutcome.UNREACHABLE,
    }
    outcome = outcomes.get(
        reply.why, TargetOutcome.SKIPPED if turn.state.rules.busy == "skip" else TargetOutcome.FAILED
    )
    if reply.why == "unreachable" and turn.state.rules.unreachable == "skip":
        outcome = TargetOutcome.SKIPPED
    why = f"{reply.why}: {reason}" if reply.why in {"busy", "unreachable"} else reason
    verdict: dict[str, Any] = {"declined": flight.declined or outcome, "declined_why": flight.declined_why or why}
    verdict["error"] = error or flight.error
    if flight.phase == "cancelling":
        _change(turn, reply.target, flight, **verdict, due="declined")
    else:
        cancel(turn, reply.target, flight.changed(**verdict), "declined")


def _book_declined(turn: Turn, target: int, flight: Flight) -> None:
    code = _DECLINED.get(flight.declined or TargetOutcome.REFUSED, Code.REFUSED)
    if flight.before is not Code.WAITING:
        failed = Code.FAILED if code in {Code.REFUSED, Code.SKIPPED} else code
        _not_rolled_back(turn, target, flight, code=failed, reason=flight.declined_why, error=flight.error)
    else:
        turn.settle(target, code, reason=flight.declined_why, error=flight.error)


def _due_code(turn: Turn, flight: Flight) -> Code:
    if flight.due == "timed-out":
        return Code.TIMED_OUT
    if flight.due == "unreachable":
        skip = turn.state.rules.unreachable == "skip" and flight.before is Code.WAITING
        return Code.SKIPPED if skip else Code.UNREACHABLE
    return Code.FAILED


def _not_rolled_back(
    turn: Turn, target: int, flight: Flight, *, code: Code, reason: str, error: ErrorInfo | None
) -> None:
    """A rollback did not work: what had failed stays what it was, what had succeeded has failed now."""
    turn.settle(
        target,
        code if flight.before is Code.SUCCEEDED else flight.before,
        reason=f"the rollback did not succeed: {reason}",
        error=error,
    )


def _unreachable(turn: Turn, target: int, flight: Flight, reason: str, error: ErrorInfo | None) -> None:
    if turn.state.rules.unreachable == "skip":
        turn.settle(target, Code.SKIPPED, reason=f"unreachable: {reason}", error=error)
    elif flight.due in {"", "window"} and _may_retry(turn, flight):
        _next_attempt(turn, target, flight, error)
    else:
        turn.settle(target, Code.UNREACHABLE, reason=reason, error=error)


def _busy(turn: Turn, target: int, flight: Flight, reason: str, error: ErrorInfo | None) -> None:
    rules = turn.state.rules
    if flight.phase == "cancelling":
        _cancelled(turn, target, flight, reason, error)
        return
    since = flight.busy_since or turn.now
    if rules.busy == "wait" or flight.before is not Code.WAITING:
        if turn.now - since < timedelta(seconds=rules.timeout_seconds):
            not_before = turn.after(rules.busy_seconds)
            _wait(turn, target, flight, busy_since=since, busy=reason, not_before=not_before)
        elif flight.before is not Code.WAITING:
            _not_rolled_back(turn, target, flight, code=Code.TIMED_OUT, reason=reason, error=error)
        else:
            limit = words.lasting(rules.timeout_seconds)
            why = f"busy for longer than the target.timeout of {limit}: {reason}"
            turn.settle(target, Code.TIMED_OUT, reason=why, error=error)
    else:
        code = Code.SKIPPED if rules.busy == "skip" else Code.FAILED
        turn.settle(target, code, reason=f"busy: {reason}", error=error)


def _lost(turn: Turn, target: int, flight: Flight) -> None:
    """The service knows nothing of it: submit the same attempt again, when starts are allowed."""
    if flight.phase == "cancelling":
        _cancelled(turn, target, flight, "the service does not know it", None)
    elif flight.lost + 1 >= MAX_LOST:
        declined(
            turn,
            AttemptDeclined(
                target=target,
                attempt=flight.attempt,
                why="unreachable",
                reason=f"submitted {MAX_LOST} times, and the service does not know it",
            ),
        )
    else:
        _wait(turn, target, flight, lost=flight.lost + 1)


def _may_retry(turn: Turn, flight: Flight) -> bool:
    going_on = turn.state.stage not in {Stage.DRAINING, Stage.ABORTING}
    return going_on and flight.tries <= turn.state.rules.retries


def _next_attempt(turn: Turn, target: int, flight: Flight, error: ErrorInfo | None) -> None:
    _wait(
        turn,
        target,
        flight,
        attempt=flight.attempt + 1,
        tries=flight.tries + 1,
        error=error,
        busy_since=None,
        lost=0,
        sent=0,
        operation=0,
        stalled="",
        awaiting=False,
        declined=None,
        declined_why="",
        not_before=None if flight.due == "window" else turn.after(_backoff(turn, flight)),
    )


def _backoff(turn: Turn, flight: Flight) -> int:
    """Seconds until the next attempt."""
    return min(turn.state.rules.backoff_seconds << (flight.tries - 1), MAX_BACKOFF_SECONDS)


def _change(turn: Turn, target: int, flight: Flight, **changes: Any) -> None:
    flight = flight.changed(**changes)
    turn.set_flight(target, flight)
    _watch(turn, flight)


def _wait(turn: Turn, target: int, flight: Flight, **changes: Any) -> None:
    flight = flight.changed(phase="between", due="", cancel_by=None, **changes)
    turn.set_flight(target, flight)
    if turn.state.stage in {Stage.DRAINING, Stage.ABORTING}:
        give_up(turn, target, flight)
    else:
        _watch(turn, flight)


def _deadline(turn: Turn, flight: Flight) -> datetime:
    return flight.attempt_at + timedelta(seconds=turn.state.rules.timeout_seconds)


def _watch(turn: Turn, flight: Flight) -> None:
    """Have the state looked at again when the flight needs it."""
    if flight.phase == "between":
        at = flight.not_before if flight.not_before and flight.not_before > turn.now else None
    elif flight.phase == "cancelling" and flight.cancel_by is not None:
        at = min(flight.check_at, flight.cancel_by)
    else:
        at = min(flight.check_at, _deadline(turn, flight))
    if at is not None:
        turn.state.check_at = min(turn.state.check_at or at, at)
