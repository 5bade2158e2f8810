"""Runs that outlive workers: what an attempt ends, and what it leaves to the next one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bondstone.activities.container.applying import apply
from bondstone.activities.container.contract import KILLED, LATER, STALE
from bondstone.activities.container.documents import ContainerJob, ContainerPlan
from bondstone.activities.container.engine import ContainerState
from bondstone.activities.container.planning import plan, plan_destroy
from bondstone.activities.container.section import ContainerSection
from bondstone.activities.container.session import ContainerSession
from bondstone.activities.tooling.heartbeat import Pulse, Stop
from bondstone.base.errors import BondError, PlanStale, StoreUnavailable, ToolFailed, ToolUnavailable
from bondstone.base.settings import Settings
from bondstone.executors.protocol import StepContext
from bondstone.model.service import ServiceId
from bondstone.store import Store

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


def session_of(engine: Any, tmp_path: Path, *, cancelled: bool, stop: Stop, state: Any = None) -> ContainerSession:
    context = StepContext(
        service=ServiceId(team="shop", name="web"),
        operation=1,
        step="step",
        section=ContainerSection(image=IMAGE, actions=("apply", "destroy")),
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
    async def failed(_: BondError) -> None:
        pass

    async with session.ran(ContainerJob(image=IMAGE), "apply", {}, key="k", lost=lost, on_failure=failed):
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


class Failing(Runs):
    """An engine whose runs end at once with an exit code; a worker dies of removing one, if asked."""

    def __init__(self, code: int, *, outlives_workers: bool) -> None:
        super().__init__(outlives_workers=outlives_workers)
        self.code = code
        self.begun = 0
        self.dies = True

    async def start(self, name: str, *_: Any) -> None:
        self.begun += 1
        self.names_now.add(name)

    async def state(self, name: str) -> ContainerState | None:
        return ContainerState("exited", self.code, out_of_memory=False) if name in self.names_now else None

    async def wait(self, _: str) -> None:
        pass

    async def output_of(self, _: str) -> str:
        return "zone is locked"

    async def collect(self, *_: Any) -> None:
        pass

    async def remove(self, name: str) -> None:
        self.names_now.discard(name)
        if self.dies:
            raise KeyboardInterrupt


@pytest.mark.parametrize("outlives_workers", [True, False])
@pytest.mark.parametrize(("code", "runs"), [(1, 1), (137, 1), (3, 1), (75, 2)])
async def test_a_failure_that_nobody_heard_of_is_reported_again_and_runs_nothing(
    tmp_path: Path, *, outlives_workers: bool, code: int, runs: int
):
    engine = Failing(code, outlives_workers=outlives_workers)
    store = await Store.open(Settings(data=tmp_path), create_keys=True)
    state = store.state(ServiceId(team="shop", name="web"), "step")
    plan = ContainerPlan(action="apply", job=ContainerJob(image=IMAGE)).pack()

    async def attempt() -> None:
        await apply(session_of(engine, tmp_path, cancelled=True, stop=Stop(), state=state), plan, 0)

    with pytest.raises(KeyboardInterrupt):
        await attempt()
    engine.dies = False
    words = "killed during apply" if code == KILLED else "zone is locked"
    with pytest.raises(BondError, match=words) as caught:
        await attempt()
    assert engine.begun == runs
    assert type(caught.value) is {STALE: PlanStale, LATER: ToolUnavailable}.get(code, ToolFailed)
    assert not engine.names_now
    replanned = (await state.read()).position
    with pytest.raises(BondError, match=words):
        await apply(session_of(engine, tmp_path, cancelled=True, stop=Stop(), state=state), plan, replanned)
    assert engine.begun == runs + 1, "a new plan runs"


async def test_a_failure_that_cannot_be_written_down_leaves_what_the_next_attempt_finds(tmp_path: Path):
    engine = Failing(1, outlives_workers=False)
    engine.dies = False

    async def unwritten(_: BondError) -> None:
        raise StoreUnavailable("away")

    session = session_of(engine, tmp_path, cancelled=True, stop=Stop())
    with pytest.raises(StoreUnavailable, match="away"):
        async with session.ran(
            ContainerJob(image=IMAGE), "apply", {}, key="k", lost=asyncio.Event(), on_failure=unwritten
        ):
            pass
    assert engine.names_now


@pytest.mark.parametrize("planned", [plan, plan_destroy])
async def test_a_plan_ends_a_run_that_was_cancelled_while_no_attempt_followed_it(tmp_path: Path, planned):
    settings = Settings(data=tmp_path)
    store = await Store.open(settings, create_keys=True)
    engine, stop = Runs(outlives_workers=True), Stop()
    state = store.state(ServiceId(team="shop", name="web"), "step")
    session = session_of(engine, tmp_path, cancelled=False, stop=stop, state=state)
    first = await plan(session, "")
    applying = asyncio.create_task(apply(session, first.artefact, first.position))
    await engine.started.wait()
    stop.request()  # the worker stops: the run continues, for the next attempt
    with pytest.raises(asyncio.CancelledError):
        await applying
    assert engine.names_now
    await planned(session_of(engine, tmp_path, cancelled=False, stop=Stop(), state=state), "")
    assert not engine.names_now
