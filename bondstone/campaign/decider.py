"""The campaign as a state machine: `decide` takes a state, an event and the time, and gives a state and commands.

No clock, no I/O, no randomness; it never raises for what comes late, twice, out of order or from nowhere. The
stages, for each wave in turn::

    GATE ──nobody asked, or approved──▶ STARTING ──nothing waits or runs──▶ SOAKING ──time──▶ PROBING
     ▲  │                                  │                                   (only with a soak)   │
     │  └─no, or late─▶ ABORTING           └───────────────── no soak ───────────────┐              │
     └──────────────────────────── the next wave ◀───────────────────────────────────┴──────────────┘
                                                │ none
                                                ▼
                                        ENDED: completed, completed-with-failures

and what turns it off that way, from any of these stages::

    rollback, or a broken budget ──▶ DRAINING ──nothing runs──▶ ROLLING_BACK ──done──▶ paused, at the GATE again
                                                                       └──"all"──▶ ENDED: rolled-back
    abort, supersede, or a broken budget ──▶ ABORTING ──nothing runs──▶ ENDED: aborted, superseded
    retry ──▶ the GATE of the first wave that has a target to take up again

`paused` lies over the stages: while it is set no stage is left but DRAINING and ABORTING, and nothing starts.
Targets in flight are drawn in `flights`; the rules about starts are in `starting`; the budget is in `budget`.

How a workflow drives it::

    state = new_campaign(rules)                          # or the state handed over by continue-as-new
    state, commands = decide(state, Tick(), now)
    until state.result is set:
        carry out the commands; each answer, reply of a service, verb and wake-up is an event:
        wait for the next event, at most until state.wake_at (then the event is Tick())
        state, commands = decide(state, event, now)

- Every event goes through `decide` one after the other, and its commands are carried out before the state is
  handed over by continue-as-new. A question without an answer (`LoadPage`, `Probe`, `AskCalendar`) is asked again
  after `check_seconds`; a `Submit` whose reply is lost is found by `Describe`; what is lost is late, never stuck.
- A verb is an Update: `refusal(state, verb)` in the validator, `decide(state, verb, now)` in the handler.
- The request id of a `Submit` is made of campaign, target and attempt; services must know it again, and
  name target and attempt in every reply.
- A `Calendar` may come unasked at any time (a freeze was made); it binds at once.
- `Record` and `Note` go to the object store in pages. Targets that an abort left waiting get no record: they are
  the `N` of the status string.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from bondstone.campaign import budget, gate, interruptions, running_targets, target_starts, verbs
from bondstone.campaign.transition import Turn
from bondstone.campaign.verbs import chosen, effect, refusal
from bondstone.model.campaign.events import (
    AnyVerb,
    AttemptAccepted,
    AttemptDeclined,
    AttemptFinished,
    Command,
    Described,
    Event,
    PageLoaded,
    Probed,
    Tick,
)
from bondstone.model.campaign.state import (
    EDITION,
    Calendar,
    CampaignState,
    CampaignStatus,
    Code,
    Ending,
    Paused,
    Rules,
    Stage,
    WaveState,
)

__all__ = ["chosen", "decide", "effect", "new_campaign", "refusal", "status"]

PROBE_BATCH: Final = 100

_SHOWN: Final = {
    Stage.GATE: CampaignStatus.AWAITING_APPROVAL,
    Stage.STARTING: CampaignStatus.RUNNING,
    Stage.SOAKING: CampaignStatus.SOAKING,
    Stage.PROBING: CampaignStatus.SOAKING,
    Stage.DRAINING: CampaignStatus.ROLLING_BACK,
    Stage.ROLLING_BACK: CampaignStatus.ROLLING_BACK,
    Stage.ABORTING: CampaignStatus.ABORTING,
}

_PAUSABLE: Final = frozenset({Stage.GATE, Stage.STARTING, Stage.SOAKING, Stage.PROBING, Stage.ROLLING_BACK})


def new_campaign(rules: Rules, edition: int = EDITION) -> CampaignState:
    """A campaign before its first event.

    Args:
        rules: Its rules.
        edition: How it behaves, see `CampaignState.edition`.
    """
    starts, first, size = [], 0, rules.page_size
    for wave in rules.waves:
        starts.append(first)
        first += wave.size
    return CampaignState(
        rules=rules,
        edition=edition,
        starts=tuple(starts),
        pages=tuple(Code.WAITING * min(size, first - begin) for begin in range(0, first, size)),
        counts={Code.WAITING: first} if first else {},
        waves=tuple(WaveState(counts={Code.WAITING: wave.size} if wave.size else {}) for wave in rules.waves),
        max_concurrent=rules.max_concurrent,
        calendar=Calendar(open=not rules.has_calendar),
    )


def status(state: CampaignState) -> CampaignStatus:
    """What the campaign is doing, for people."""
    if state.result is not None:
        return state.result
    if state.paused is not None:
        return CampaignStatus.PAUSED
    working = [flight for flight in state.flights.values() if flight.phase != "between" and not flight.awaiting]
    if state.stage is not Stage.STARTING or working:
        return _SHOWN[state.stage]
    if any(flight.awaiting for flight in state.flights.values()) and _starts_nothing(state):
        return CampaignStatus.AWAITING_APPROVAL
    return CampaignStatus.RUNNING if state.calendar.open else CampaignStatus.WAITING_WINDOW


def _starts_nothing(state: CampaignState) -> bool:
    """Whether only an approval lets the wave go on: what could start besides has started."""
    if state.again:
        return False
    if not state.waves[state.wave].counts.get(Code.WAITING) or budget.limits(state):
        return True
    if not state.calendar.open or "page" in state.questions:
        return False
    return bool(state.rate_left) or not state.rules.start_count


def decide(state: CampaignState, event: Event, now: datetime) -> tuple[CampaignState, tuple[Command, ...]]:
    """Take one event.

    Args:
        state: Where the campaign is.
        event: What happened, or what somebody asks.
        now: When; never before the time of an earlier event.

    Returns:
        The state after it, and what to do now, in this order.
    """
    turn = Turn(state, now)
    if state.result is not None:
        if isinstance(event, AnyVerb):
            verbs.apply(turn, event)
        return turn.done()
    if state.started_at is None:
        turn.state.started_at = now
        if state.rules.has_calendar:
            turn.ask("calendar", 0)
    _end_window(turn)
    _expire_gate(turn)
    _take(turn, event)
    running_targets.check_overdue(turn)
    _end_window(turn)
    _ask_again(turn)
    if turn.just_broken:
        interruptions.react_to_broken_budget(turn)
    while _may_move(turn) and _STAGES[turn.state.stage](turn):
        pass
    if gate.expired(turn.state, turn.now):
        _ask_at_gate(turn)  # its time went by while the campaign was elsewhere: it has only now come back
    turn.state.wake_at = _wake_at(turn)
    return turn.done()


def _may_move(turn: Turn) -> bool:
    stage = turn.state.stage
    return stage is not Stage.ENDED and (turn.state.paused is None or stage not in _PAUSABLE)


def _take(turn: Turn, event: Event) -> None:
    match event:
        case Tick():
            pass
        case PageLoaded():
            target_starts.page_loaded(turn, event)
        case AttemptAccepted():
            running_targets.accepted(turn, event)
        case AttemptDeclined():
            running_targets.declined(turn, event)
        case AttemptFinished():
            running_targets.finished(turn, event)
        case Described():
            running_targets.described(turn, event)
        case Probed():
            _probed(turn, event)
        case Calendar():
            _calendar(turn, event)
        case _:
            verbs.apply(turn, event)


# Stages --------------------------------------------------------------------------------------------------


def _gate(turn: Turn) -> bool:
    state = turn.state
    if turn.waiting():
        if turn.wave_rules.needs and turn.wave.gate is None:
            _ask_at_gate(turn)
        if turn.wave.gate is not None and turn.wave.gate.status != "approved":
            return False
        if turn.wave.started_at is None:
            turn.set_wave(state.wave, started_at=turn.now)
            turn.note("wave-started")
    state.stage = Stage.STARTING
    target_starts.begin_walk(turn, state.starts[state.wave])
    return True


def _ask_at_gate(turn: Turn) -> None:
    turn.set_wave(turn.state.wave, gate=gate.opened(turn.state.rules, turn.wave_rules, turn.now))
    turn.note("gate-asked")


def _starting(turn: Turn) -> bool:
    state = turn.state
    if turn.waiting() or turn.running(state.wave):
        target_starts.start(turn)
        return False
    last, soak_seconds = turn.wave.last_success_at, turn.wave_rules.soak_seconds
    if soak_seconds and last is not None and not turn.wave.soaked and turn.wave.counts.get(Code.SUCCEEDED):
        state.soak_until = turn.after(soak_seconds - (turn.now - last).total_seconds())
        state.stage = Stage.SOAKING
        turn.note("soaking")
        return True
    return _next_wave(turn)


def _soaking(turn: Turn) -> bool:
    state = turn.state
    if state.soak_until is not None and turn.now < state.soak_until:
        return False
    state.soak_until = None
    state.probe_cursor = state.starts[state.wave]
    state.stage = Stage.PROBING
    return True


def _probing(turn: Turn) -> bool:
    state = turn.state
    if "probe" in state.questions:
        return False
    batch: list[int] = []
    while len(batch) < PROBE_BATCH:
        target = turn.next_with((Code.SUCCEEDED,), state.probe_cursor, turn.wave_last)
        if target is None:
            break
        batch.append(target)
        state.probe_cursor = target + 1
    if batch:
        state.probes += 1
        turn.ask("probe", state.probes, tuple(batch))
        return False
    turn.set_wave(state.wave, soaked=True)
    return _next_wave(turn)


def _probed(turn: Turn, answer: Probed) -> None:
    question = turn.state.questions.get("probe")
    if question is None or not turn.answered("probe", answer.batch):
        return
    for target in question.targets:
        if target in answer.unhealthy:
            turn.settle(target, Code.FAILED, reason=f"unhealthy after the soak: {answer.unhealthy[target]}")


def _next_wave(turn: Turn) -> bool:
    state = turn.state
    if turn.wave.started_at is not None and turn.wave.ended_at is None:
        turn.set_wave(state.wave, ended_at=turn.now)
        turn.note("wave-ended")
    if state.wave + 1 < len(state.waves):
        state.wave += 1
        state.stage = Stage.GATE
        return True
    failed = state.failures > 0
    interruptions.end(turn, CampaignStatus.COMPLETED_WITH_FAILURES if failed else CampaignStatus.COMPLETED)
    return True


def _draining(turn: Turn) -> bool:
    state = turn.state
    if state.flights or state.rollback is None:
        return False
    state.stage = Stage.ROLLING_BACK
    target_starts.begin_walk(turn, state.rollback.first)
    turn.note("rolling-back", by=state.rollback.by, reason=state.rollback.reason)
    return True


def _rolling_back(turn: Turn) -> bool:
    state, order = turn.state, turn.state.rollback
    target_starts.start(turn)
    if state.flights or order is None or not target_starts.walked(turn):
        return False
    state.rollback = None
    if order.then == "end":
        interruptions.end(turn, CampaignStatus.ROLLED_BACK)
        return True
    cause = "budget" if order.cause == "budget" else "rollback"
    state.paused = Paused(cause=cause, by=order.by, reason=order.reason, at=turn.now)
    state.stage = Stage.GATE
    turn.note("rolled-back", by=order.by, reason=order.reason)
    return True


def _aborting(turn: Turn) -> bool:
    if turn.state.flights or turn.state.ending is None:
        return False
    interruptions.end(turn, turn.state.ending.status)
    return True


_STAGES: Final[dict[Stage, Callable[[Turn], bool]]] = {
    Stage.GATE: _gate,
    Stage.STARTING: _starting,
    Stage.SOAKING: _soaking,
    Stage.PROBING: _probing,
    Stage.DRAINING: _draining,
    Stage.ROLLING_BACK: _rolling_back,
    Stage.ABORTING: _aborting,
}
"""Each does what its stage allows, and says whether the stage was left for another."""

# Time ----------------------------------------------------------------------------------------------------


def _calendar(turn: Turn, calendar: Calendar) -> None:
    turn.state.calendar = calendar
    if calendar.until is None or calendar.until > turn.now:
        turn.state.questions.pop("calendar", None)


def _end_window(turn: Turn) -> None:
    """Cancel what runs past the end of its window, where the rules say so."""
    calendar = turn.state.calendar
    if calendar.window_ends_at is None or turn.now < calendar.window_ends_at:
        return
    turn.state.calendar = calendar.changed(window_ends_at=None)
    if turn.state.rules.window_end == "cancel":
        for target, flight in list(turn.state.flights.items()):
            if flight.phase in {"submitted", "accepted"} and flight.before is Code.WAITING:
                running_targets.cancel(turn, target, flight, "window")


def _expire_gate(turn: Turn) -> None:
    """A gate whose time is over ends the campaign, paused or not."""
    if gate.expired(turn.state, turn.now) and turn.wave.gate is not None:
        turn.set_wave(turn.state.wave, gate=turn.wave.gate.changed(status="expired"))
        turn.note("gate-expired")
        reason = f"nobody decided the gate of wave {turn.wave_rules.name} in time"
        interruptions.abort(turn, Ending(status=CampaignStatus.ABORTED, reason=reason))


def _ask_again(turn: Turn) -> None:
    """Ask what was not answered once more, and the calendar when it has run out."""
    state = turn.state
    for kind, question in list(state.questions.items()):
        if turn.now >= question.again_at:
            turn.ask(kind, question.number, question.targets)
    until = state.calendar.until
    if until is not None and turn.now >= until and "calendar" not in state.questions:
        turn.ask("calendar", 0)


def _wake_at(turn: Turn) -> datetime | None:
    state, calendar = turn.state, turn.state.calendar
    if state.result is not None:
        return None
    times = [
        state.check_at if state.flights else None,
        *(question.again_at for question in state.questions.values()),
    ]
    if state.stage is Stage.GATE and turn.wave.gate is not None and turn.wave.gate.status == "waiting":
        times.append(turn.wave.gate.expires_at)
    if "calendar" not in state.questions:
        times.append(calendar.until)
    if state.rules.window_end == "cancel":
        times.append(calendar.window_ends_at)
    if state.paused is None:
        times.append(state.soak_until)
        if state.stage is Stage.STARTING and not state.rate_left and (turn.waiting() or state.again):
            times.append(state.rate_at)
    return min((at for at in times if at is not None and at > turn.now), default=None)
