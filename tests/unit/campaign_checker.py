"""The rules of campaigns, checked from a trace alone: who started and ended when, what was said, what was known.

It keeps its own books and shares no code with the decider; it reads the decider's states only for `recount` and to
compare the end with the records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from campaign_world import START

from bondstone.model.campaign import events as moves
from bondstone.model.campaign.state import CampaignState, Rules, Stage

FAILED = {"failed", "timed-out", "unreachable"}
ROLLED_BACK = {
    "failed": {"failed", "timed-out"},
    "all": {"failed", "timed-out", "succeeded"},
    "wave": {"failed", "timed-out", "succeeded"},
}


class Checker:
    """Reads a trace in order; raises AssertionError where a rule is broken."""

    def __init__(
        self,
        rules: Rules,
        keys: list[moves.TargetKey],
        may_start: Callable[[str, float], bool],
        *,
        window_ends: tuple[float, ...] = (),
        unhealthy_possible: bool = False,
    ) -> None:
        self.rules, self.keys, self.may_start = rules, keys, may_start
        self.window_ends = list(window_ends) if rules.window_end == "cancel" else []
        self.unhealthy_possible = unhealthy_possible
        self.size = sum(wave.size for wave in rules.waves)
        self.wave_of = [number for number, wave in enumerate(rules.waves) for _ in range(wave.size)]
        self.time = 0.0
        self.outcome: dict[int, str] = {}
        self.failing: set[int] = set()
        self.holding: dict[int, bool] = {}  # target: is a rollback
        self.attempt: dict[int, int] = {}
        self.tries: dict[int, int] = {}
        self.over: dict[tuple[int, int], float] = {}
        """Attempts that are known to be over, and since when."""
        self.finished: set[tuple[int, int]] = set()
        self.unhealthy: set[int] = set()
        self.starts: list[float] = []
        self.limit = self.most = rules.max_concurrent
        self.human_pause = self.other_pause = False
        self.broken = self.aborted = self.rolling = False
        self.rolling_which: set[str] = set()
        self.rolling_end = False
        self.consecutive = 0
        self.forgiven = 0
        self.wave_forgiven = [0] * len(rules.waves)
        self.last_success: dict[int, float] = {}
        self.asked_probe: dict[int, float] = {}
        self.batches: dict[int, tuple[float, tuple[int, ...]]] = {}
        self.probed: dict[int, float] = {}
        self.early: list[float] = []
        self.votes: dict[str, set[str]] = {}
        self.requests: set[str] = set()
        self.meddled = False
        self.ended = False
        self.running: set[tuple[int, int]] = set()
        self.succeeded_jobs: set[tuple[int, int]] = set()
        self.cancelled: set[tuple[int, int]] = set()
        self.declined: set[tuple[int, int]] = set()
        self.began: dict[int, float] = {}
        self.asked_gate: dict[int, float] = {}
        self.must_cancel = False

    @property
    def checks(self) -> dict[str, Callable[[Any], None]]:
        """What is checked of each kind of command."""
        return {
            "submit": self.command_submit, "record": self.command_record, "cancel": self.command_cancel,
            "probe": self.command_probe, "note": self.command_note,
        }  # fmt: skip

    def read(self, trace: list[tuple[float, str, Any]]) -> None:
        for self.time, what, data in trace:
            if what == "command":
                check = self.checks.get(data.kind)
                if check is not None:
                    check(data)
            elif what == "event":
                self.event(data)
            elif what == "verb":
                self.verb(data)
            elif what == "effect":
                self.effect(data)
            elif what == "effect-ended":
                self.running.discard(data[0])
                if data[1] == "succeeded":
                    self.succeeded_jobs.add(data[0])
            elif what == "state":
                self.after_turn(data)
        assert self.ended, "every campaign ends"

    # Starts ------------------------------------------------------------------------------------------------

    def command_submit(self, submit: moves.Submit) -> None:
        target = submit.target
        assert not self.ended, "nothing starts after the end"
        assert not self.aborted, "nothing starts after an abort"
        assert not self.human_pause, "nothing starts while somebody has paused it"
        assert not self.other_pause, "nothing starts while the budget or a rollback has paused it"
        fresh = target not in self.holding
        self.check_attempt(submit, fresh=fresh)
        if fresh:
            self.check_slots(target, forward=not submit.rollback)
        if submit.rollback:
            assert self.rolling, "a rollback was asked for"
            if fresh:
                assert self.outcome[target] in self.rolling_which
            assert not any(not back for back in self.holding.values()), "what ran has finished"
        else:
            assert not self.rolling, "nothing starts while targets are rolled back"
            assert self.may_start(self.keys[target].team, self.time), "nothing starts outside windows"
            assert not self.broken or self.rules.on_failure == "continue", "nothing starts on a broken budget"
            self.check_rate()
            if fresh:
                assert target not in self.outcome, "what is settled does not start"
                self.check_order(self.wave_of[target])
                self.check_budget(self.wave_of[target])
        self.holding[target] = submit.rollback
        self.began[target] = self.time

    def check_attempt(self, submit: moves.Submit, *, fresh: bool) -> None:
        target, last = submit.target, self.attempt.get(submit.target, 0)
        if fresh:
            assert submit.attempt > last or not self.tries.get(target), "attempts rise"
            self.tries[target] = 1
        elif submit.attempt != last:
            assert submit.attempt > last, "attempts rise"
            assert (target, last) in self.over, "an attempt follows the end of the one before"
            if (target, last) not in self.cancelled:
                pause = min(self.rules.backoff_seconds * 2 ** (self.tries[target] - 1), 3600)
                assert self.time >= self.over[target, last] + pause - 0.001, "attempts are apart"
            self.tries[target] += 1
        assert (target, submit.attempt) not in self.finished, "what has finished is not submitted again"
        assert self.tries[target] <= 1 + self.rules.retries, "no more attempts than allowed"
        self.attempt[target] = submit.attempt

    def check_slots(self, target: int, *, forward: bool) -> None:
        assert len(self.holding) < self.limit, "the campaign's concurrency"
        wave = self.wave_of[target]
        most = self.rules.waves[wave].max_concurrent
        if forward and most is not None:
            assert sum(self.wave_of[other] == wave for other in self.holding) < most, "the wave's concurrency"
        most = self.rules.max_concurrent_per_group
        if most is not None:
            group = self.keys[target].group
            assert sum(self.keys[other].group == group for other in self.holding) < most, "the group's concurrency"

    def check_rate(self) -> None:
        self.starts.append(self.time)
        count = self.rules.start_count
        if count and len(self.starts) > count:
            apart = self.starts[-1] - self.starts[-1 - count]
            assert apart >= self.rules.start_period_seconds - 0.001, "the start rate"

    def check_order(self, wave: int) -> None:
        for target in range(self.size):
            before = self.wave_of[target]
            if before >= wave:
                break
            assert target in self.outcome, "waves are in order"
            soak = self.rules.waves[before].soak_seconds
            if soak and self.outcome[target] == "succeeded":
                success = self.last_success[before]
                assert self.probed.get(target, -1) >= success, "every success is probed after the soak"
                soaked = self.asked_probe[target] >= success + soak - 0.001
                assert soaked or any(success <= early for early in self.early), "the soak is kept"
        for need in self.rules.waves[wave].needs:
            votes = self.votes.get(self.rules.waves[wave].name, set()) - {self.rules.requested_by}
            assert len(votes) >= need.count, "the gate is passed"

    def check_budget(self, wave: int) -> None:
        if self.broken:
            return
        strict = self.rules.overshoot == "strict"
        allowed = self.rules.max_failures
        if allowed is not None:
            failed = len(self.failing) - self.forgiven + (len(self.holding) if strict else 0)
            assert failed <= allowed, "the campaign's budget"
        allowed = self.rules.waves[wave].max_failures
        if allowed is not None:
            failed = self.in_wave(self.failing, wave) - self.wave_forgiven[wave]
            if strict or allowed == 0:
                failed += self.in_wave(self.holding, wave)
            assert failed <= allowed, "the wave's budget"

    def in_wave(self, targets: Any, wave: int) -> int:
        return sum(self.wave_of[target] == wave for target in targets)

    # Ends --------------------------------------------------------------------------------------------------

    def command_record(self, record: moves.RecordOutcome) -> None:
        target, outcome = record.target, record.outcome
        rollback = self.holding.pop(target, None)
        forward_success = outcome == "succeeded" and rollback is False
        if forward_success:
            assert (target, record.attempt) in self.succeeded_jobs, "a success is one"
            self.last_success[self.wave_of[target]] = self.time
            self.consecutive = 0
        if rollback:
            failed = target in self.failing if outcome == "rolled-back" else outcome in FAILED
            if outcome == "rolled-back":
                assert (target, record.attempt) in self.over
        else:
            failed = outcome in FAILED or outcome == "rolled-back"
        new = failed and target not in self.failing
        if outcome in {"refused", "skipped"} and record.attempt and not record.reason.startswith("unreachable"):
            self.declined.add((target, record.attempt))
        self.outcome[target] = outcome
        (self.failing.add if failed else self.failing.discard)(target)
        if new:
            self.consecutive += not rollback
            if not self.broken and self.is_broken():
                self.broken = True
                self.react()

    def is_broken(self) -> bool:
        rules = self.rules
        if rules.max_failures is not None and len(self.failing) - self.forgiven > rules.max_failures:
            return True
        for number, wave in enumerate(rules.waves):
            failed = self.in_wave(self.failing, number) - self.wave_forgiven[number]
            if wave.max_failures is not None and failed > wave.max_failures:
                return True
        return rules.max_consecutive_failures is not None and self.consecutive >= rules.max_consecutive_failures

    def react(self) -> None:
        if self.rolling or self.aborted:
            return
        match self.rules.on_failure:
            case "pause":
                self.other_pause = self.other_pause or not self.human_pause
            case "abort":
                self.aborted = True
                self.batches.clear()
            case "rollback_target":
                self.roll_back({"failed", "timed-out"})
            case "rollback_wave":
                self.roll_back(ROLLED_BACK["wave"])

    def roll_back(self, which: set[str], *, end: bool = False) -> None:
        self.batches.clear()
        self.rolling, self.rolling_which, self.rolling_end = True, which, end
        self.human_pause = self.other_pause = False
        self.meddled = True

    # What was said and known ---------------------------------------------------------------------------------

    def event(self, event: Any) -> None:
        match event:
            case moves.AttemptFinished() if event.status.ended:
                self.over.setdefault((event.target, event.attempt), self.time)
                self.finished.add((event.target, event.attempt))
            case moves.AttemptDeclined():
                self.over.setdefault((event.target, event.attempt), self.time)
            case moves.Described():
                for entry in event.found:
                    if entry.what in {"ended", "gone", "unknown"}:
                        self.over.setdefault((entry.target, entry.attempt), self.time)
                self.finished |= {(f.target, f.attempt) for f in event.found if f.what == "ended"}
            case moves.Probed() if event.batch in self.batches:
                request, targets = self.batches.pop(event.batch)
                self.unhealthy = set(targets) & set(event.unhealthy)
                for target in targets:
                    self.asked_probe[target] = request
                    self.probed[target] = self.time

    def command_cancel(self, cancel: moves.Cancel) -> None:
        self.cancelled.add((cancel.target, cancel.attempt))

    def command_probe(self, probe: moves.ProbeTargets) -> None:
        first, _ = self.batches.get(probe.batch, (self.time, ()))
        self.batches[probe.batch] = (first, probe.targets)

    def release(self, rule: str) -> None:
        """What was submitted and never came waits again, without a record, when nothing starts any more."""
        for target in [target for target, back in self.holding.items() if not back]:
            assert self.tries[target] == 1, rule
            assert (target, self.attempt[target]) in self.over, rule
            assert (target, self.attempt[target]) not in self.finished, rule
            del self.holding[target]

    def command_note(self, note: moves.Note) -> None:
        if note.what == "rolling-back":
            self.release("what runs finishes before a rollback")
        elif note.what == "rolled-back":
            assert not self.holding
            self.rolling, self.other_pause = False, True
            self.human_pause = False
        elif note.what == "gate-asked":
            self.asked_gate[note.wave] = self.time
        elif note.what == "gate-expired":
            rules = self.rules.waves[note.wave]
            assert rules.expires_seconds, "only a gate with a time expires"
            assert self.time >= self.asked_gate[note.wave] + rules.expires_seconds - 0.001
            self.aborted, self.rolling = True, False
            self.batches.clear()
        elif note.what == "ended":
            self.release("nothing runs at the end")  # an abort may have come while a rollback was waited for
            assert not self.holding
            self.ended = True

    def verb(self, verb: Any) -> None:  # noqa: C901 - one case for each verb
        if verb.request_id in self.requests:
            return
        self.requests.add(verb.request_id)
        if self.ended:
            return
        match verb:
            case moves.Pause():
                self.human_pause, self.other_pause = True, False
            case moves.Resume():
                self.human_pause = self.other_pause = False
                if self.broken:
                    self.meddled = True
                    self.broken, self.consecutive = False, 0
                    self.forgiven = len(self.failing)
                    waves = range(len(self.rules.waves))
                    self.wave_forgiven = [self.in_wave(self.failing, wave) for wave in waves]
            case moves.Abort() | moves.Supersede() | moves.Reject():
                self.aborted, self.rolling = True, False
                self.batches.clear()
                self.human_pause = self.other_pause = False
                if isinstance(verb, moves.Abort) and verb.running == "cancel":
                    self.must_cancel = True
            case moves.SetConcurrency():
                self.limit = verb.max_concurrent
                self.most = max(self.most, self.limit)
            case moves.NextWave():
                self.early.append(self.time)
            case moves.RollbackTargets():
                self.roll_back(ROLLED_BACK[verb.which], end=verb.which == "all")
            case moves.Approve():
                self.votes.setdefault(verb.wave, set()).add(verb.by)
            case moves.Retry():
                self.retry(verb.which)

    def retry(self, which: str) -> None:
        self.batches.clear()
        self.meddled = True
        for target, outcome in list(self.outcome.items()):
            failed = target in self.failing
            unstarted = outcome in {"refused", "skipped", "not-attempted"}
            chosen = {
                "failed": failed,
                "not-started": unstarted,
                "all": failed or unstarted or outcome == "rolled-back",
            }[which]
            if chosen and target not in self.holding:
                del self.outcome[target]
                self.failing.discard(target)
        self.consecutive = 0
        self.forgiven = min(self.forgiven, len(self.failing))
        for wave, forgiven in enumerate(self.wave_forgiven):
            self.wave_forgiven[wave] = min(forgiven, self.in_wave(self.failing, wave))
        self.broken = self.is_broken()
        if not self.broken or self.rules.on_failure == "continue":
            self.other_pause = False

    # The fleet ---------------------------------------------------------------------------------------------

    def effect(self, key: tuple[int, int]) -> None:
        assert key not in self.running
        assert key not in self.declined, "what is booked as refused or skipped is not carried out"
        assert key not in self.succeeded_jobs
        self.running.add(key)
        ours = [one for one in self.running if one[0] in self.holding and self.attempt[one[0]] == one[1]]
        assert len(ours) <= self.most, "what really runs"

    def after_turn(self, state: CampaignState) -> None:
        gate = state.waves[state.wave].gate
        if state.stage is Stage.GATE and gate is not None and gate.status == "waiting":
            late = gate.expires_at is not None and gate.expires_at <= START + timedelta(seconds=self.time)
            assert not late, "a gate whose time is over does not wait"
        for target in self.unhealthy:
            assert self.outcome[target] == "failed" or self.rolling, "an unhealthy target is a failure"
        self.unhealthy = set()
        if self.must_cancel:
            self.must_cancel = False
            self.check_cancelled(self.holding, "abort(cancel) cancels what runs")
        while self.window_ends and self.time >= self.window_ends[0]:
            end = self.window_ends.pop(0)
            late = [target for target, back in self.holding.items() if not back and self.began[target] < end]
            self.check_cancelled(late, "what runs past the end of its window is cancelled")
        if self.meddled or self.rules.on_failure == "continue":
            return
        strict = self.rules.overshoot == "strict"
        self.bound(len(self.failing), self.rules.max_failures, 1 if strict else self.most)
        for number, wave in enumerate(self.rules.waves):
            most = min(self.most, wave.max_concurrent or self.most)
            over = 1 if strict or wave.max_failures == 0 else most
            self.bound(self.in_wave(self.failing, number), wave.max_failures, over)

    def check_cancelled(self, targets: Iterable[int], rule: str) -> None:
        for target in targets:
            key = (target, self.attempt[target])
            assert key in self.cancelled or key in self.over, rule

    def bound(self, failed: int, allowed: int | None, over: int) -> None:
        if allowed is None or self.unhealthy_possible:
            return
        assert failed <= allowed + over, "failures stay within the budget and its overshoot"
