"""Which target starts next, if any: every rule about starts is asked here and nowhere else."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Final

from bondstone.campaign import budget, running_targets
from bondstone.campaign.transition import Turn
from bondstone.model.campaign.events import PageLoaded
from bondstone.model.campaign.state import CampaignState, Code, Flight, Lane, Rules, Stage

LOOK_AHEAD_PAGES: Final = 3
"""How many pages of targets may wait in lanes, where those in front cannot start, so that others can."""
PREFETCH_PART: Final = 10
"""With less than this part of a page in the lanes the next page is asked for."""


def start(turn: Turn) -> None:
    """Start targets until a rule says stop."""
    forward = turn.state.stage is Stage.STARTING
    if forward and (not is_open(turn.state, turn) or budget.limits(turn.state)):
        return
    while not (forward and _rate_spent(turn)):
        target = _again(turn, forward=forward)
        if target is not None:
            running_targets.submit(turn, target, turn.state.flights[target])
        else:
            obstacle = _room(turn, forward=forward)
            lane = _lane(turn, forward=forward) if obstacle else None
            if lane is None:
                _load(turn, blocked=obstacle)
                return
            _start_first(turn, lane)
        if forward:
            _count_start(turn)


def is_open(state: CampaignState, turn: Turn) -> bool:
    """Whether windows and freezes let anything start now."""
    calendar = state.calendar
    return calendar.open and (calendar.until is None or turn.now < calendar.until)


def begin_walk(turn: Turn, first: int) -> None:
    """Take targets from here on, and forget which were next."""
    turn.state.cursor = first
    turn.state.lanes = {}
    turn.state.questions.pop("page", None)


def walked(turn: Turn) -> bool:
    """Whether no target of the walk is left to start."""
    return not turn.state.lanes and "page" not in turn.state.questions and _next_page(turn) is None


def page_loaded(turn: Turn, loaded: PageLoaded) -> None:
    """Put the targets of a page into their lanes."""
    if not turn.answered("page", loaded.page):
        return
    codes, last = _wanted(turn)
    begin = loaded.page * turn.state.rules.page_size
    end = min(begin + len(loaded.targets), last)
    added: dict[tuple[str, str], list[int]] = {}
    for target in range(max(turn.state.cursor, begin), end):
        if turn.state.code(target) not in codes:
            continue
        key = loaded.targets[target - begin]
        if key.skip and turn.state.stage is not Stage.ROLLING_BACK:
            turn.settle(target, Code.SKIPPED, reason=key.skip)
            continue
        added.setdefault((key.team, key.group), []).append(target)
    for (team, group), targets in added.items():
        name = f"{team}/{group}"
        lane = turn.state.lanes.get(name, Lane(group=group, team=team))
        turn.state.lanes[name] = lane.changed(targets=(*lane.targets, *targets))
    turn.state.cursor = max(turn.state.cursor, end)


# The order -----------------------------------------------------------------------------------------------


def _again(turn: Turn, *, forward: bool) -> int | None:
    """A flight between two attempts that may have its next; it holds its slot already."""
    for target in turn.state.again:
        flight = turn.state.flights[target]
        due = flight.not_before is None or turn.now >= flight.not_before
        if due and not (forward and flight.team in turn.state.calendar.frozen_teams):
            return target
    return None


def _lane(turn: Turn, *, forward: bool) -> str | None:
    """The lane whose first target is the next in order, of those that may go."""
    state = turn.state
    frozen = state.calendar.frozen_teams if forward else ()
    most = state.rules.max_concurrent_per_group
    codes, _ = _wanted(turn)
    while True:
        best: str | None = None
        first = state.rules.size
        for name, lane in state.lanes.items():
            head = lane.targets[0]
            if (
                head < first
                and lane.team not in frozen
                and (most is None or state.group_flights.get(lane.group, 0) < most)
            ):
                best, first = name, head
        if best is None or state.code(first) in codes:
            return best
        _drop_first(turn, best)  # skipped since it came into the lane


def _drop_first(turn: Turn, name: str) -> None:
    lane = turn.state.lanes[name]
    if len(lane.targets) > 1:
        turn.state.lanes[name] = lane.changed(targets=lane.targets[1:])
    else:
        del turn.state.lanes[name]


def _start_first(turn: Turn, name: str) -> None:
    state = turn.state
    lane = state.lanes[name]
    target = lane.targets[0]
    _drop_first(turn, name)
    before = state.code(target)
    in_flight = {Code.WAITING: Code.RUNNING, Code.SUCCEEDED: Code.RETURNING}.get(before, Code.RETURNING_FAILED)
    turn.put(target, in_flight)
    flight = Flight(
        attempt=1 + state.round * (state.rules.retries + 1),
        before=before,
        group=lane.group,
        team=lane.team,
        started_at=turn.now,
        attempt_at=turn.now,
        check_at=turn.now,
    )
    running_targets.submit(turn, target, flight)


# The limits ----------------------------------------------------------------------------------------------


def _room(turn: Turn, *, forward: bool) -> bool:
    if turn.running() >= turn.state.max_concurrent:
        return False
    if not forward:
        return True
    most = turn.wave_rules.max_concurrent
    if most is not None and turn.running(turn.state.wave) >= most:
        return False
    return budget.may_start_more(turn.state)


def _rate_spent(turn: Turn) -> bool:
    """Whether the start rate is used up.

    Starts come in batches; a batch begins a whole batch's time after the last start of the one before, so that no
    period of any offset sees more starts than the rate allows.
    """
    state = turn.state
    if not state.rules.start_count:
        return False
    if not state.rate_left:
        if state.rate_at is not None and turn.now < state.rate_at:
            return True
        state.rate_left = _batch(state.rules)
    return False


def _count_start(turn: Turn) -> None:
    rules = turn.state.rules
    if rules.start_count:
        turn.state.rate_left -= 1
        milliseconds = math.ceil(1000 * _batch(rules) * rules.start_period_seconds / rules.start_count)
        turn.state.rate_at = turn.now + timedelta(milliseconds=milliseconds)


def _batch(rules: Rules) -> int:
    """About a second's worth of starts, and a divisor of the whole."""
    most = max(1, rules.start_count // rules.start_period_seconds)
    return next(number for number in range(most, 0, -1) if rules.start_count % number == 0)


# Pages ---------------------------------------------------------------------------------------------------


def _wanted(turn: Turn) -> tuple[tuple[Code, ...], int]:
    """Which targets the walk takes, and where it ends."""
    order = turn.state.rollback
    if turn.state.stage is Stage.ROLLING_BACK and order is not None:
        return order.codes, order.last
    return (Code.WAITING,), turn.wave_last


def _next_page(turn: Turn) -> int | None:
    codes, last = _wanted(turn)
    target = turn.next_with(codes, turn.state.cursor, last)
    if target is None:
        turn.state.cursor = max(turn.state.cursor, last)
        return None
    turn.state.cursor = target
    return target // turn.state.rules.page_size


def _load(turn: Turn, *, blocked: bool) -> None:
    """Ask for the next page, when few are left or those that are left cannot start."""
    if "page" in turn.state.questions or turn.state.cursor >= _wanted(turn)[1]:
        return
    waiting = sum(len(lane.targets) for lane in turn.state.lanes.values())
    page_size = turn.state.rules.page_size
    if waiting * PREFETCH_PART < page_size or (blocked and waiting < LOOK_AHEAD_PAGES * page_size):
        page = _next_page(turn)
        if page is not None:
            turn.ask("page", page)
