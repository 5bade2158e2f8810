"""A simulated fleet, its people and its clock, and the driver between them and the decider. Writes a trace.

Messages are lost, doubled, delayed and reordered; the driver's state goes through JSON at random moments. People
do anything at any time, but in the end somebody resumes, retries, approves or aborts, and a window opens for good.
"""

from __future__ import annotations

import heapq
import itertools
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from bondstone.base.errors import ErrorInfo
from bondstone.campaign.decider import decide, new_campaign, refusal, status
from bondstone.model.campaign import events as moves
from bondstone.model.campaign.state import Calendar, CampaignState, Code, Rules, Stage
from bondstone.model.service import OperationStatus as Status

START = datetime(2026, 3, 1, tzinfo=UTC)
FOREVER = 10**9


@dataclass
class Chaos:
    """How bad it is, as chances."""

    lost: float = 0.0
    doubled: float = 0.0
    hang: float = 0.0
    fail: float = 0.1
    odd: float = 0.0
    """Refused, busy, gone, rejected, cancelled by somebody."""
    unhealthy: float = 0.0
    verbs: int = 0
    restart: float = 0.0
    slow: int = 60
    """Longest delay of a message, in seconds."""


@dataclass
class Job:
    """One attempt, as its service sees it."""

    ends_at: float = FOREVER
    status: Status = Status.SUCCEEDED
    ended: bool = False
    number: int = 0


@dataclass
class World:
    """One campaign, from start to end.

    `windows` are (open from, until, cutoff) in seconds from the start; the last never closes. `freezes` are
    (team, from, until, known from).
    """

    rules: Rules
    keys: list[moves.TargetKey]
    chaos: Chaos
    seed: int
    windows: list[tuple[float, float, float]] = field(default_factory=list)
    freezes: list[tuple[str, float, float]] = field(default_factory=list)
    limit: int = 20_000

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)  # noqa: S311 - a simulation
        self.heap: list[tuple[float, int, str, Any]] = []
        self.order = itertools.count()
        self.time = 0.0
        self.state: CampaignState = new_campaign(self.rules)
        self.jobs: dict[tuple[int, int], Job] = {}
        self.gone: set[int] = set()
        self.numbers = itertools.count(1)
        self.requests = itertools.count(1)
        self.trace: list[tuple[float, str, Any]] = []
        self.running: set[tuple[int, int]] = set()
        self.helped = 0

    # Time --------------------------------------------------------------------------------------------------

    def at(self, seconds: float) -> datetime:
        return START + timedelta(seconds=seconds)

    def push(self, delay: float, what: str, data: Any = None) -> None:
        heapq.heappush(self.heap, (round(self.time + delay, 3), next(self.order), what, data))

    def chance(self, probability: float) -> bool:
        return probability > 0 and self.random.random() < probability

    def delay(self) -> float:
        return round(self.random.random() * self.random.randint(0, self.chaos.slow), 3)

    def send(self, event: moves.Event, delay: float | None = None, *, sure: bool = False) -> None:
        """A message to the campaign, over a bad line."""
        if not sure and self.chance(self.chaos.lost):
            return
        for _ in range(2 if self.chance(self.chaos.doubled) else 1):
            self.push(self.delay() if delay is None else delay, "event", event)

    # The driver --------------------------------------------------------------------------------------------

    def run(self) -> list[tuple[float, str, Any]]:
        self.push(0, "event", moves.Tick())
        for _ in range(self.chaos.verbs):
            self.push(self.random.random() * self.random.choice([100, 1000, 10_000]), "person")
        for _team, begin, end in self.freezes:
            for moment in (begin, end):
                self.push(moment, "event", None)
        for count in itertools.count():
            assert count < self.limit, f"no end: {self.state!r}"
            if not self.heap:
                self.help()
            assert self.heap, f"stuck: {status(self.state)} {self.state!r}"
            time, _, what, data = heapq.heappop(self.heap)
            self.time = max(self.time, time)
            getattr(self, f"on_{what}")(data)
            if self.state.result is not None and not any(entry[2] == "arrive" for entry in self.heap):
                break
        return self.trace

    def on_wake(self, at: datetime) -> None:
        if self.state.wake_at == at:
            self.step(moves.Tick())

    def on_event(self, event: moves.Event | None) -> None:
        self.step(self.calendar() if event is None else event)

    def step(self, event: moves.Event) -> None:
        if self.chance(self.chaos.restart):
            again = CampaignState.model_validate_json(self.state.model_dump_json())
            assert again == self.state
            self.state = again
        before = self.state
        if isinstance(event, moves.AnyVerb):
            refused = refusal(self.state, event)
            self.trace.append((self.time, "refused" if refused else "verb", event))
        else:
            self.trace.append((self.time, "event", event))
        self.state, commands = decide(self.state, event, self.at(self.time))
        assert before is not self.state
        for command in commands:
            self.trace.append((self.time, "command", command))
            self.carry_out(command)
        self.trace.append((self.time, "state", self.state))
        wake = self.state.wake_at
        if wake is not None and wake != before.wake_at:
            late = self.random.choice([0, 0, 0.5])
            self.push((wake - self.at(self.time)).total_seconds() + late, "wake", wake)
        elif wake is not None and isinstance(event, moves.Tick):
            self.push(1, "wake", wake)

    def carry_out(self, command: moves.Command) -> None:
        match command:
            case moves.LoadPage():
                size = self.rules.page_size
                targets = tuple(self.keys[command.page * size : (command.page + 1) * size])
                self.send(moves.PageLoaded(page=command.page, targets=targets))
            case moves.Submit():
                if not self.chance(self.chaos.lost):  # Temporal delivers a signal once to a workflow's run
                    self.push(self.delay(), "arrive", command)
            case moves.Cancel():
                if not self.chance(self.chaos.lost):
                    self.push(self.delay(), "cancel", command)
            case moves.Describe():
                self.push(self.delay(), "describe", command)
            case moves.ProbeTargets():
                bad = {target: "no" for target in command.targets if self.chance(self.chaos.unhealthy)}
                self.send(moves.Probed(batch=command.batch, unhealthy=bad))
            case moves.AskCalendar():
                if not self.chance(self.chaos.lost):
                    self.push(0 if self.chance(0.3) else self.delay(), "event", None)
            case _:
                pass

    # Windows -----------------------------------------------------------------------------------------------

    def may_start(self, team: str, time: float) -> bool:
        """The truth about windows and freezes, for the checker."""
        if any(team == other and begin < time < end for other, begin, end in self.freezes):
            return False
        return not self.rules.has_calendar or any(a <= time < b - c for a, b, c in self.windows)

    def calendar(self) -> Calendar:
        """What the driver would find out now."""
        frozen = tuple(sorted({team for team, begin, end in self.freezes if begin <= self.time < end}))
        if not self.rules.has_calendar:
            return Calendar(frozen_teams=frozen)
        for begin, end, cutoff in self.windows:
            if self.time < begin:
                return Calendar(open=False, until=self.at(begin), frozen_teams=frozen)
            ends_at = None if end == FOREVER else self.at(end)
            if self.time < end - cutoff:
                until = None if end == FOREVER else self.at(end - cutoff)
                return Calendar(until=until, window_ends_at=ends_at, frozen_teams=frozen)
            if self.time < end:
                following = min(a for a, _, _ in self.windows if a > self.time)
                return Calendar(open=False, until=self.at(following), window_ends_at=ends_at, frozen_teams=frozen)
        raise AssertionError("the last window never ends")

    # The fleet ---------------------------------------------------------------------------------------------

    def on_arrive(self, submit: moves.Submit) -> None:
        key = (submit.target, submit.attempt)
        reply = {"target": submit.target, "attempt": submit.attempt}
        if submit.target in self.gone:
            self.send(moves.AttemptDeclined(**reply, why="unreachable"))
            return
        job = self.jobs.get(key)
        if job is not None:
            if job.number:
                self.send(moves.AttemptAccepted(**reply, operation=job.number))
                if job.ended:
                    self.send(self.finish(key, job))
            return
        if self.chance(self.chaos.odd):
            odd = self.random.choice(["refused", "skipped", "busy", "busy", "gone"])
            if odd == "gone":
                self.gone.add(submit.target)
                self.send(moves.AttemptDeclined(**reply, why="unreachable"))
                return
            # Nothing is remembered of what was declined: sent again, it may be accepted.
            self.send(moves.AttemptDeclined(**reply, why=odd, reason=odd))
            return
        hang = self.chance(self.chaos.hang)
        duration = FOREVER if hang else self.random.choice([1, 10, 100, 1000]) * (0.5 + self.random.random())
        result = Status.FAILED if self.chance(self.chaos.fail) else Status.SUCCEEDED
        if self.chance(self.chaos.odd):
            result = self.random.choice([Status.REJECTED, Status.CANCELLED, Status.ROLLED_BACK])
        job = self.jobs[key] = Job(ends_at=self.time + duration, status=result, number=next(self.numbers))
        self.running.add(key)
        self.trace.append((self.time, "effect", key))
        if self.chance(self.chaos.doubled):
            self.push(self.delay(), "arrive", submit)
        self.send(moves.AttemptAccepted(**reply, operation=job.number))
        if not hang:
            self.push(duration, "end", key)

    def on_end(self, key: tuple[int, int]) -> None:
        job = self.jobs[key]
        if not job.ended:
            job.ended = True
            self.running.discard(key)
            self.trace.append((self.time, "effect-ended", (key, job.status)))
            self.send(self.finish(key, job))

    def finish(self, key: tuple[int, int], job: Job) -> moves.AttemptFinished:
        error = None
        if job.status is not Status.SUCCEEDED:
            error = ErrorInfo(code="TOOL_FAILED", message="it broke")
        return moves.AttemptFinished(
            target=key[0], attempt=key[1], operation=job.number, status=job.status, error=error
        )

    def on_cancel(self, cancel: moves.Cancel) -> None:
        key = (cancel.target, cancel.attempt)
        job = self.jobs.get(key)
        if job is None:
            self.jobs[key] = Job(ended=True, status=Status.CANCELLED)  # it will never run
        elif not job.ended and not self.chance(self.chaos.hang):
            job.status = Status.CANCELLED
            self.push(self.random.random() * 5, "end", key)

    def on_describe(self, describe: moves.Describe) -> None:
        collected = []
        for target in describe.targets:
            key = (target.target, target.attempt)
            job = self.jobs.get(key)
            text: dict[str, Any] = {"target": target.target, "attempt": target.attempt}
            if self.chance(self.chaos.lost):
                text["what"] = "silent"
            elif job is None:
                text["what"] = "gone" if target.target in self.gone else "unknown"
            elif job.ended:
                text |= {"what": "ended", "status": job.status, "operation": job.number}
            else:
                text |= {"what": "alive", "operation": job.number}
            collected.append(moves.Found(**text))
        self.send(moves.Described(found=tuple(collected)))

    # People ------------------------------------------------------------------------------------------------

    def on_person(self, _: object) -> None:
        target = self.random.randrange(max(1, self.rules.size))
        verb = self.random.choice(
            [
                lambda w: moves.Pause(**w),
                lambda w: moves.Resume(**w),
                lambda w: moves.Resume(**w),
                lambda w: moves.Skip(**w, target=target),
                lambda w: moves.SetConcurrency(**w, max_concurrent=self.random.randint(1, 6)),
                lambda w: moves.NextWave(**w),
                lambda w: moves.Retry(**w, which=self.random.choice(["failed", "not-started", "all"])),
                lambda w: moves.RollbackTargets(**w, which=self.random.choice(["failed", "wave", "wave", "all"])),
                lambda w: moves.Abort(**w, running=self.random.choice(["drain", "cancel"])),
                lambda w: moves.Supersede(**w, campaign="other"),
                self.vote,
            ]
        )(self.who())
        self.say(verb)

    def who(self) -> dict[str, str]:
        return {"request_id": f"r{next(self.requests)}", "by": self.random.choice(["ada", "bob"]), "reason": "why"}

    def vote(self, who: dict[str, str]) -> moves.AnyVerb:
        wave = self.random.choice(self.rules.waves).name
        kind = moves.Reject if self.chance(0.1) else moves.Approve
        by = self.random.choice(["ada", "bob", "cyd"])
        return kind(**{**who, "by": by}, wave=wave, digest=self.rules.targets_digest, roles=("sre",))

    def say(self, verb: moves.AnyVerb) -> None:
        for _ in range(self.random.choice([1, 1, 2])):
            self.push(self.delay() / 10, "event", verb)

    def help(self) -> None:
        """Nothing is under way: the campaign must be waiting for a person."""
        self.helped += 1
        state, who = self.state, self.who()
        if state.paused is not None:
            settled = self.helped > 4 or not self.chaos.verbs
            options = [moves.Resume(**who)]
            if not settled:
                options += [moves.Retry(**who), moves.RollbackTargets(**who, which="wave"), moves.Abort(**who)]
            choice = self.random.choice(options)
            self.say(moves.Resume(**who) if refusal(state, choice) else choice)
            return
        assert state.stage is Stage.GATE, f"nobody is waited for: {status(state)} {state!r}"
        wave = self.rules.waves[state.wave].name
        for by in ("bob", "cyd"):
            vote = moves.Approve(
                **{**self.who(), "by": by}, wave=wave, digest=self.rules.targets_digest, roles=("sre",)
            )
            self.say(vote)


def recount(state: CampaignState) -> None:
    """Every count that is kept up equals a new count of the status string."""
    text = "".join(state.pages)
    assert len(text) == state.rules.size
    assert state.counts == {Code(code): text.count(code) for code in set(text)}
    for begin, rules, wave in zip(state.starts, state.rules.waves, state.waves, strict=True):
        part = text[begin : begin + rules.size]
        assert wave.counts == {Code(code): part.count(code) for code in set(part)}
    assert {target for target, code in enumerate(text) if code in "rsf"} == set(state.flights)
    groups: dict[str, int] = {}
    for flight in state.flights.values():
        groups[flight.group] = groups.get(flight.group, 0) + 1
    assert groups == state.group_flights
    assert set(state.again) == {target for target, flight in state.flights.items() if flight.phase == "between"}
    assert len(state.again) == len(set(state.again))
