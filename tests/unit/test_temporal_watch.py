"""A worker that is cut off from Temporal stops what it does, and one that is not goes on."""

from __future__ import annotations

import asyncio

import pytest

from bondstone.activities.temporal_watch import TemporalWatch
from bondstone.base.errors import Unreachable
from harness.waiting import until


class Temporal:
    """Answers, until its connection is cut. A look takes a tenth of a second, by the clock of the watch."""

    def __init__(self) -> None:
        self.cut = False
        self.looks = 0
        self.looked = asyncio.Event()

    async def answers(self) -> None:
        self.looks += 1
        self.looked.set()
        # so that the watch sees each of these times
        await asyncio.sleep(0.01)
        if self.cut:
            raise OSError("cut")

    async def looks_on(self, times: int) -> None:
        """Return once the watch has looked so many times more."""
        last = self.looks + times
        await until(lambda: self.looks >= last)

    @property
    def watch(self) -> TemporalWatch:
        return TemporalWatch(self.answers, look_seconds=0.01, now=lambda: self.looks / 10)


async def test_what_runs_is_cancelled_once_temporal_was_silent_for_too_long() -> None:
    temporal = Temporal()
    saved = False

    async def work() -> None:
        nonlocal saved
        async with temporal.watch.kept(0.2):
            temporal.cut = True
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await asyncio.sleep(0.05)  # the tool stops, and saves
                saved = True
                raise

    with pytest.raises(Unreachable, match=r"0\.2 s") as caught:
        await work()
    assert saved
    assert caught.value.transient, "another attempt continues"
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


async def test_while_temporal_answers_nothing_is_stopped() -> None:
    temporal = Temporal()
    async with temporal.watch.kept(0.3):
        await temporal.looks_on(10)


async def test_a_short_silence_is_forgiven() -> None:
    temporal = Temporal()
    async with temporal.watch.kept(0.5):
        temporal.cut = True
        await temporal.looks_on(2)
        temporal.cut = False
        await temporal.looks_on(10)


async def test_a_cancel_from_elsewhere_stays_a_cancel() -> None:
    async def work() -> None:
        async with Temporal().watch.kept(30):
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancel_that_comes_while_the_cut_off_tool_stops_stays_a_cancel() -> None:
    temporal = Temporal()
    stopping = asyncio.Event()

    async def work() -> None:
        async with temporal.watch.kept(0.1):
            temporal.cut = True
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                stopping.set()
                await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await stopping.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_nobody_looks_when_nothing_runs() -> None:
    temporal = Temporal()
    watch = temporal.watch

    async def looks_only_while_it_is_kept() -> None:
        async with watch.kept(30), watch.kept(30):
            temporal.looked.clear()
            await temporal.looked.wait()
        before = temporal.looks
        await asyncio.sleep(0.1)
        assert temporal.looks == before

    await looks_only_while_it_is_kept()
    await looks_only_while_it_is_kept()


async def test_without_a_heartbeat_timeout_nobody_is_missed() -> None:
    temporal = Temporal()
    async with temporal.watch.kept(None):
        pass
    assert not temporal.looks
