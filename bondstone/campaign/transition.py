"""One turn of the decider: a working copy of the state, and the commands it leads to.

Every count that a rule needs is kept up here, in the one place that changes a target's character, so that no event
costs a walk over all targets.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from bondstone.base.errors import ErrorInfo
from bondstone.campaign import budget
from bondstone.model.campaign.events import AskCalendar, Command, LoadPage, Note, ProbeTargets, RecordOutcome
from bondstone.model.campaign.state import (
    FAILURES,
    IN_FLIGHT,
    CampaignState,
    Code,
    Flight,
    OpenQuestion,
    WaveRules,
    WaveState,
)


class _Draft(CampaignState):
    """The state while a turn changes it."""

    model_config = ConfigDict(frozen=False)


class Turn:
    """What one event does.

    Args:
        state: Where the campaign is; left alone.
        now: The time of the event.
    """

    def __init__(self, state: CampaignState, now: datetime) -> None:
        self._before = state
        self.state = _Draft.model_construct(**state.__dict__)
        self.state.counts = dict(state.counts)
        self.state.lanes = dict(state.lanes)
        self.state.flights = dict(state.flights)
        self.state.group_flights = dict(state.group_flights)
        self.state.questions = dict(state.questions)
        self.now = now
        self.commands: list[Command] = []
        self.just_broken = False
        """The budget was broken in this turn, and nothing was done about it yet."""

    def done(self) -> tuple[CampaignState, tuple[Command, ...]]:
        """The state after the turn, and what it asks for."""
        # These are all fields, dictionaries and all, at every event: checking them again would take a third of the
        # turn. The draft refuses unknown names when they are set, and mypy checks the values.
        return BaseModel.model_copy(self._before, update=dict(self.state.__dict__)), tuple(self.commands)

    def after(self, seconds: float) -> datetime:
        """The time so many seconds from now."""
        return self.now + timedelta(seconds=seconds)

    # Targets and waves -----------------------------------------------------------------------------------

    @property
    def wave_rules(self) -> WaveRules:
        """Rules of the current wave."""
        return self.state.rules.waves[self.state.wave]

    @property
    def wave(self) -> WaveState:
        """The current wave."""
        return self.state.waves[self.state.wave]

    @property
    def wave_last(self) -> int:
        """One past the current wave's last target."""
        return self.state.starts[self.state.wave] + self.wave_rules.size

    def wave_of(self, target: int) -> int:
        """The wave a target belongs to."""
        return bisect_right(self.state.starts, target) - 1

    def set_wave(self, number: int, **changes: Any) -> None:
        """Change fields of a wave."""
        waves = self.state.waves
        self.state.waves = (*waves[:number], waves[number].changed(**changes), *waves[number + 1 :])

    def running(self, wave: int | None = None) -> int:
        """How many targets hold a slot, of a wave or of all."""
        if wave is None:
            return len(self.state.flights)
        counts = self.state.waves[wave].counts
        return sum(counts.get(code, 0) for code in IN_FLIGHT)

    def waiting(self) -> int:
        """How many targets of the current wave have not started."""
        return self.wave.counts.get(Code.WAITING, 0)

    def put(self, target: int, code: Code) -> None:
        """Set a target's character, and every count that depends on it."""
        number, offset = divmod(target, self.state.rules.page_size)
        pages = self.state.pages
        page = pages[number]
        old = Code(page[offset])
        self.state.pages = (*pages[:number], page[:offset] + code + page[offset + 1 :], *pages[number + 1 :])
        wave = self.wave_of(target)
        counts = dict(self.state.waves[wave].counts)
        for tally in (self.state.counts, counts):
            _move(tally, old, code, 1)
        self.set_wave(wave, counts=counts)

    def put_all(self, codes: Iterable[Code], code: Code) -> dict[int, int]:
        """Set every target that has one of `codes`; the one walk over all targets, for verbs.

        Returns:
            How many changed, by wave; no zeros.
        """
        table = {ord(old): str(code) for old in codes}
        self.state.pages = tuple(page.translate(table) for page in self.state.pages)
        changed: dict[int, int] = {}
        for number, wave in enumerate(self.state.waves):
            counts = dict(wave.counts)
            for old in codes:
                moved = counts.get(old, 0)
                if moved:
                    _move(counts, old, code, moved)
                    _move(self.state.counts, old, code, moved)
                    changed[number] = changed.get(number, 0) + moved
            if number in changed:
                self.set_wave(number, counts=counts)
        return changed

    def next_with(self, codes: Iterable[Code], first: int, last: int) -> int | None:
        """The first target in a range that has one of `codes`."""
        page_size = self.state.rules.page_size
        while first < last:
            number, offset = divmod(first, page_size)
            begin = number * page_size
            text = self.state.pages[number]
            places = [text.find(code, offset, last - begin) for code in codes]
            positions = [place for place in places if place >= 0]
            if positions:
                return begin + min(positions)
            first = begin + page_size
        return None

    # Flights ---------------------------------------------------------------------------------------------

    def set_flight(self, target: int, flight: Flight) -> None:
        """Put a flight in, new or changed; it is `again` exactly while it is `between`."""
        state = self.state
        if target not in state.flights:
            state.group_flights[flight.group] = state.group_flights.get(flight.group, 0) + 1
        state.flights[target] = flight
        if (flight.phase == "between") != (target in state.again):
            others = tuple(other for other in state.again if other != target)
            state.again = (*others, target) if flight.phase == "between" else others

    def settle(
        self,
        target: int,
        code: Code,
        *,
        reason: str = "",
        error: ErrorInfo | None = None,
        evidence: dict[str, Any] | None = None,
    ) -> None:
        """A target is done: free its slot, count, record."""
        flight = self._drop_flight(target)
        was = flight.before if flight else self.state.code(target)
        self.put(target, code)
        if code.outcome is not None:
            self.commands.append(
                RecordOutcome(
                    target=target,
                    outcome=code.outcome,
                    reason=reason,
                    attempts=flight.tries if flight else 0,
                    attempt=flight.attempt if flight else 0,
                    operation=flight.operation if flight else 0,
                    started_at=flight.started_at if flight else None,
                    ended_at=self.now,
                    error=error,
                    evidence=evidence or {},
                )
            )
        if code is Code.SUCCEEDED and was is Code.WAITING:
            self.state.consecutive = 0
            self.set_wave(self.wave_of(target), last_success_at=self.now, soaked=False)
        elif code in FAILURES and was not in FAILURES:
            self.state.consecutive += flight is None or was is Code.WAITING  # not what failed to be rolled back
            self._check_budget(self.wave_of(target))

    def _drop_flight(self, target: int) -> Flight | None:
        state = self.state
        flight = state.flights.pop(target, None)
        if flight is not None:
            state.again = tuple(other for other in state.again if other != target)
            left = state.group_flights.pop(flight.group) - 1
            if left:
                state.group_flights[flight.group] = left
        return flight

    def _check_budget(self, wave: int) -> None:
        if not self.state.broken:
            self.state.broken = budget.broken(self.state, wave)
            if self.state.broken:
                self.just_broken = True
                self.note("budget-broken", reason=self.state.broken)

    # Commands --------------------------------------------------------------------------------------------

    def note(self, what: str, *, by: str = "", reason: str = "", request_id: str = "") -> None:
        """Write something into the campaign's ledger."""
        self.commands.append(
            Note(what=what, wave=self.state.wave, at=self.now, by=by, reason=reason, request_id=request_id)
        )

    def ask(self, kind: Literal["page", "probe", "calendar"], number: int, targets: tuple[int, ...] = ()) -> None:
        """Ask a question, and again whenever the answer is late."""
        again_at = self.after(self.state.rules.check_seconds)
        self.state.questions[kind] = OpenQuestion(number=number, targets=targets, again_at=again_at)
        if kind == "page":
            self.commands.append(LoadPage(page=number))
        elif kind == "probe":
            self.commands.append(ProbeTargets(batch=number, targets=targets))
        else:
            self.commands.append(AskCalendar())

    def answered(self, kind: Literal["page", "probe", "calendar"], number: int) -> bool:
        """Whether an answer is to the question that is open; it is closed then."""
        question = self.state.questions.get(kind)
        if question is None or question.number != number:
            return False
        del self.state.questions[kind]
        return True


def _move(tally: dict[Code, int], old: Code, new: Code, number: int) -> None:
    left = tally[old] - number
    if left:
        tally[old] = left
    else:
        del tally[old]
    tally[new] = tally.get(new, 0) + number
