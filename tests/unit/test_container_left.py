"""Runs that outlive workers: what an attempt ends, and what it leaves to the next one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bondstone.activities.container.documents import ContainerJob
from bondstone.activities.container.engine import ContainerState
from bondstone.activities.container.section import ContainerSection
from bondstone.activities.container.session import ContainerSession
from bondstone.activities.tooling.heartbeat import Pulse, Stop
from bondstone.base.errors import BondError, StoreUnavailable, ToolFailed
from bondstone.base.settings import Settings
from bondstone.executors.protocol import StepContext
from bondstone.model.service import ServiceId

IMAGE = f"i@sha256:{'a' * 64}"


class Runs:
    """An engine in memory, whose runs do not end."""

    def __init__(self, *, outlives_workers: bool) -> None:
        self.outlives_workers = outlives_workers
        self.started = asyncio.Event()
        self.blocked = False
        self.names_now: set[str] = set()

    async def start(self, name: str, *_: Any) -> None:
        self.started.set()
        if self.blocked:
            await asyncio.Event().wait()
        self.names_now.add(name)

    def can_follow(self, _: Path) -> bool:
        return True

    def last_note(self, _: str) -> str:
        return ""

    async def state(self, name: str) -> ContainerState | None:
        return ContainerState("running", 0, out_of_memory=False) if name in self.names_now else None

    async def wait(self, _: str) -> None:
        await asyncio.Event().wait()

    async def remove(self, name: str) -> None:
        self.names_now.discard(name)

    async def names(self, _: str) -> list[str]:
        return sorted(self.names_now)


def session_of(engine: Any, tmp_path: Path, *, cancelled: bool, stop: Stop) -> ContainerSession:
    state: Any = None
    context = StepContext(
        service=ServiceId(team="shop", name="web"),
        operation=1,
        step="step",
        section=ContainerSection(image=IMAGE),
        bundle=tmp_path,
        revision_digest="",
        state=state,
        settings=Settings(data=tmp_path),
        attempt="attempt-1",
        heartbeat=lambda _: None,
        log=lambda _: None,
        was_cancelled=lambda: cancelled,
    )
    return ContainerSession(context, engine, Pulse(lambda _: None), stop)


async def run(session: ContainerSession, lost: asyncio.Event) -> None:
    async with session.ran(ContainerJob(image=IMAGE), "apply", {}, key="k", lost=lost):
        pass


@pytest.mark.parametrize(
    ("outlives_workers", "cancelled", "stays"),
    [(True, False, True), (True, True, False), (False, False, False), (False, True, False)],
)
async def test_a_cancel_ends_what_runs_and_a_worker_that_stops_leaves_what_outlives_it(
    tmp_path: Path, outlives_workers, cancelled, stays
):
    engine, stop = Runs(outlives_workers=outlives_workers), Stop()
    session = session_of(engine, tmp_path, cancelled=cancelled, stop=stop)
    running = asyncio.create_task(run(session, asyncio.Event()))
    await engine.started.wait()
    stop.request()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert bool(engine.names_now) is stays
    assert not await asyncio.to_thread(lambda: list(tmp_path.rglob("step.json"))), (
        "secrets of the step stay on no disk"
    )


async def test_a_lost_claim_ends_no_run_that_another_attempt_may_follow(tmp_path: Path):
    for outlives_workers in (True, False):
        engine, lost = Runs(outlives_workers=outlives_workers), asyncio.Event()
        session = session_of(engine, tmp_path, cancelled=True, stop=Stop())
        running = asyncio.create_task(run(session, lost))
        await engine.started.wait()
        lost.set()
        with pytest.raises(StoreUnavailable, match="claim on the step's record was lost"):
            await running
        assert bool(engine.names_now) is outlives_workers


async def test_nothing_is_started_for_a_claim_that_was_lost_meanwhile(tmp_path: Path):
    engine, lost = Runs(outlives_workers=True), asyncio.Event()
    engine.blocked = True
    running = asyncio.create_task(run(session_of(engine, tmp_path, cancelled=True, stop=Stop()), lost))
    await engine.started.wait()
    lost.set()
    with pytest.raises(StoreUnavailable):
        await running
    assert not engine.names_now


async def test_a_run_that_failed_is_taken_away(tmp_path: Path):
    engine = Runs(outlives_workers=True)

    async def refuse(*_: Any) -> None:
        raise ToolFailed("no")

    engine.wait = refuse
    engine.state = refuse
    with pytest.raises(BondError, match="no"):
        await run(session_of(engine, tmp_path, cancelled=True, stop=Stop()), asyncio.Event())
    assert not engine.names_now
