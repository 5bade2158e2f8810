"""The state log under any interleaving: many writers, crashes, freezes, lost answers, late puts, cancellations.

The real `StateLog` and `Claim` run on a store whose every call waits until the machine serves it, and on a clock
that only the machine moves.
"""

import asyncio
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from statelog_world import World

from bondstone.base.errors import Fenced, StoreUnavailable
from bondstone.base.process_identity import Holder
from bondstone.store.state import claim as claim_module
from bondstone.store.state.claim import Claim
from bondstone.store.state.fence import Kind
from bondstone.store.state.log import StateLog

WRITERS = 3
EXAMPLES = int(os.environ.get("BOND_PROTOCOL_EXAMPLES", "25"))
"""A few seconds' worth; a long search asks for thousands."""


@dataclass(repr=False)
class Writer:
    number: int
    log: StateLog
    claim: Claim | None = None
    task: asyncio.Task | None = None
    doing: str = ""
    payload: bytes | None = None
    going: bool = False
    """It has tried to give the state back: its tool is stopped, and the release may arrive at any time."""

    @property
    def idle(self) -> bool:
        return self.task is None


class Protocol(RuleBasedStateMachine):
    @initialize(dead_are_seen=st.booleans())
    def begin(self, dead_are_seen: bool) -> None:  # noqa: FBT001 - drawn by Hypothesis
        self.world = World()
        self.dead_are_seen = dead_are_seen
        self.killed_attempts: set[str] = set()
        self.names = itertools.count(1)
        self.payloads = itertools.count(1)
        self.writers = {number: self.new_writer(number) for number in range(WRITERS)}
        self.acknowledged = 0
        self.direct = self.world.log(-1)

    def new_writer(self, number: int) -> Writer:
        log = self.world.log(
            number, dead=lambda holder: self.dead_are_seen and holder.attempt in self.killed_attempts, keep=2
        )
        return Writer(number, log)

    # What a writer does -------------------------------------------------------------------------------

    def start(self, writer: Writer, doing: str, work, payload: bytes | None = None) -> None:
        writer.doing, writer.payload = doing, payload
        writer.task = self.world.loop.create_task(work)
        self.world.settle()
        self.collect()

    def free(self, *, holding: bool) -> list[Writer]:
        return [
            writer
            for writer in self.writers.values()
            if writer.idle
            and (writer.claim is not None) is holding
            and writer.number not in self.world.frozen | self.world.killed
        ]

    @precondition(lambda self: self.free(holding=False))
    @rule(data=st.data())
    def claims(self, data: st.DataObject) -> None:
        writer = data.draw(st.sampled_from(self.free(holding=False)))
        attempt = f"attempt-{next(self.names)}"

        async def work() -> Claim:
            return await (await writer.log.claim(Holder(attempt=attempt))).__aenter__()

        self.start(writer, "claim", work())

    @precondition(lambda self: self.free(holding=True))
    @rule(data=st.data())
    def appends(self, data: st.DataObject) -> None:
        writer = data.draw(st.sampled_from(self.free(holding=True)))
        payload = f"state {next(self.payloads)}".encode()
        self.start(writer, "append", writer.claim.append(payload), payload)

    @precondition(lambda self: self.free(holding=True))
    @rule(data=st.data(), with_state=st.booleans())
    def releases(self, data: st.DataObject, with_state: bool) -> None:  # noqa: FBT001 - drawn by Hypothesis
        writer = data.draw(st.sampled_from(self.free(holding=True)))
        payload = f"state {next(self.payloads)}".encode() if with_state else None
        writer.going = True
        self.start(writer, "release", writer.claim.release(payload), payload)

    @precondition(lambda self: self.free(holding=True))
    @rule(data=st.data())
    def leaves(self, data: st.DataObject) -> None:
        writer = data.draw(st.sampled_from(self.free(holding=True)))
        writer.going = True
        self.start(writer, "leave", writer.claim.__aexit__(None, None, None))

    # What befalls it ----------------------------------------------------------------------------------

    @precondition(lambda self: self.world.calls)
    @rule(data=st.data(), fate=st.sampled_from(["served"] * 6 + ["lost", "failed"]))
    def a_call_is(self, data: st.DataObject, fate: str) -> None:
        call = data.draw(st.sampled_from(self.world.calls))
        self.world.serve(call, lose_answer=fate == "lost", fail=fate == "failed")
        self.collect()

    @precondition(lambda self: self.world.calls)
    @rule(data=st.data())
    def one_gets_on(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted({call.writer for call in self.world.calls})))
        for _ in range(60):
            calls = [call for call in self.world.calls if call.writer == number]
            if not calls:
                break
            self.world.serve(calls[0])
            self.collect()

    @rule(seconds=st.sampled_from([0.5, 1, 5, 6, 14, 16, 31]))
    def time_passes(self, seconds: float) -> None:
        self.world.tick(seconds)
        self.collect()

    @rule(seconds=st.integers(1, 40))
    def all_get_on_for(self, seconds: int) -> None:
        for _ in range(seconds):
            self.serve_everybody()
            self.world.tick(1)
            self.collect()
        self.serve_everybody()

    def serve_everybody(self) -> None:
        for _ in range(25):
            served = [
                call for call in self.world.calls if call.writer not in self.world.frozen | self.world.killed
            ]
            if not served:
                return
            for call in served:
                if call in self.world.calls:
                    self.world.serve(call)
                    self.collect()

    @precondition(lambda self: any(not writer.idle for writer in self.writers.values()))
    @rule(data=st.data())
    def is_cancelled(self, data: st.DataObject) -> None:
        busy = [
            w
            for w in self.writers.values()
            if not w.idle and w.number not in self.world.frozen | self.world.killed
        ]
        if busy:
            data.draw(st.sampled_from(busy)).task.cancel()
            self.world.settle()
            self.collect()

    @rule(data=st.data())
    def freezes(self, data: st.DataObject) -> None:
        self.world.frozen.add(data.draw(st.sampled_from(sorted(self.writers))))

    @precondition(lambda self: self.world.frozen)
    @rule(data=st.data())
    def thaws(self, data: st.DataObject) -> None:
        self.world.thaw(data.draw(st.sampled_from(sorted(self.world.frozen))))
        self.collect()

    @rule(data=st.data())
    def is_killed(self, data: st.DataObject) -> None:
        """Its calls stay under way, and may arrive any time later; a new process takes its place."""
        writer = self.writers.pop(data.draw(st.sampled_from(sorted(self.writers))))
        self.world.killed.add(writer.number)
        self.world.frozen.discard(writer.number)
        if writer.claim is not None:
            self.killed_attempts.add(writer.claim.holder.attempt)
        number = max([*self.writers, *self.world.killed]) + 1
        self.writers[number] = self.new_writer(number)

    # What must hold -----------------------------------------------------------------------------------

    def collect(self) -> None:
        for writer in self.writers.values():
            task = writer.task
            if task is None or not task.done() or writer.number in self.world.frozen:
                continue
            writer.task = None
            error = None if task.cancelled() else task.exception()
            if task.cancelled() or isinstance(error, StoreUnavailable):
                continue
            if isinstance(error, Fenced):
                assert writer.claim.lost.is_set() or writer.claim._released
                writer.claim = None
                continue
            assert error is None, repr(error)
            self.acknowledge(writer, task.result())

    def acknowledge(self, writer: Writer, result: object) -> None:
        if writer.doing == "claim":
            self.has_claimed(writer, result)
        elif writer.doing == "leave":
            writer.claim = None
        elif writer.payload is not None:
            written = [put for put in self.world.puts if put.entry.position == result]
            assert any(
                put.at_end and put.payload == writer.payload and put.newest_claim == put.entry.token
                for put in written
            ), "a state was acknowledged that is not in the log, or was written behind another's claim"
            self.acknowledged = max(self.acknowledged, result)
        if writer.doing == "release":
            writer.claim = None

    def has_claimed(self, writer: Writer, claim: Claim) -> None:
        for other in self.writers.values():
            if other.claim is not None and not other.going and other.number not in self.world.frozen:
                assert other.claim.lost.is_set(), "two live holders"
        newest = self.world.newest_claim()
        assert newest is not None
        assert newest.holder == claim.holder, "a claim was acknowledged although a newer one stands"
        states = [put for put in self.world.puts if put.at_end and put.entry.carries_state]
        before = [put for put in states if put.entry.position < newest.position]
        assert claim.snapshot.payload == (before[-1].payload if before else None)
        writer.claim, writer.going = claim, False

    @invariant()
    def the_newest_state_is_read(self) -> None:
        snapshot = self.world.loop.run_until_complete(self.direct.read())
        states = [put for put in self.world.puts if put.at_end and put.entry.carries_state]
        assert snapshot.position == (states[-1].entry.position if states else 0)
        assert snapshot.payload == (states[-1].payload if states else None)
        assert snapshot.position >= self.acknowledged

    @invariant()
    def nobody_writes_behind_anothers_claim(self) -> None:
        for put in self.world.puts[-3:]:
            assert not put.at_end or put.newest_claim == put.entry.token

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        try:
            self.somebody_gets_in()
        finally:
            self.world.close()

    def somebody_gets_in(self) -> None:
        """Whatever happened: when those who can give it back do, the next one gets the state, and keeps it."""
        late = self.new_writer(10_000)
        self.writers[late.number] = late

        async def work() -> int:
            claim = await late.log.claim(Holder(attempt="late"))
            async with claim:
                await claim.append(b"late")
                return await claim.release()

        task = self.world.loop.create_task(work())
        self.world.settle()
        for _ in range(300):
            if task.done():
                break
            self.everybody_lets_go(but=late)
            self.serve_everybody()
            self.world.tick(1)
            self.collect()
        assert task.done(), "the waiter never got in"
        assert task.result() == self.world.loop.run_until_complete(self.direct.read()).position
        entries = [key for key in self.world.objects if key.startswith("state/")]
        takeovers = sum(1 for put in self.world.puts if put.entry.kind is Kind.CLAIM)
        assert len(entries) <= 4 + 2 * takeovers, "the log was not pruned"

    def everybody_lets_go(self, *, but: Writer) -> None:
        for writer in self.writers.values():
            if writer is but or writer.number in self.world.frozen:
                continue
            if writer.idle and writer.claim is not None:
                writer.going = True
                self.start(writer, "leave", writer.claim.__aexit__(None, None, None))
            elif writer.doing == "claim" and writer.task is not None:
                writer.task.cancel()
                self.world.settle()
                self.collect()


@pytest.fixture
def _few_own_states(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(claim_module, "KEEP_OWN_STATES", 1)
    return


@pytest.mark.usefixtures("_few_own_states")
def test_the_state_log_under_any_interleaving() -> None:
    run_state_machine_as_test(
        Protocol,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=60,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
        ),
    )
