"""When a heartbeat is sent: each is a write of Temporal's database."""

from __future__ import annotations

import asyncio

from bondstone.activities.tooling.heartbeat import Pulse
from bondstone.model.step import Progress

ONE, TWO = Progress(done=1, total=2), Progress(done=2, total=2)


async def test_what_is_over_at_once_sends_no_heartbeat() -> None:
    beats: list[Progress] = []
    async with Pulse(beats.append, beat_seconds=3600, quiet_seconds=3600) as pulse:
        pulse.report(ONE)
        await asyncio.sleep(0)
    assert beats == []


async def test_what_lasts_sends_its_newest_progress_first_and_then_each_change_at_once() -> None:
    beats: list[Progress] = []
    first = asyncio.Event()

    def beat(progress: Progress) -> None:
        beats.append(progress)
        first.set()

    async with Pulse(beat, quiet_seconds=0.01) as pulse:
        pulse.report(ONE)
        await first.wait()
        pulse.report(TWO)
    assert beats[:2] == [ONE, TWO]
