"""Places for Terraform processes on one worker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from bondstone.activities.terraform.slots import Slots
from bondstone.activities.tooling.heartbeat import Pulse, Stop
from bondstone.base.settings import Settings


@pytest.fixture
def notes() -> list[str]:
    return []


async def held(place: Callable, pulse: Pulse, free: asyncio.Event, running: list[int]) -> None:
    async with place(pulse, Stop()):
        running.append(1)
        await free.wait()


@pytest.mark.parametrize("kind", ["changing", "reading"])
async def test_no_more_processes_of_a_kind_run_than_there_are_places_and_who_waits_says_so(kind, notes):
    slots = Slots(Settings(terraform_slots=1))
    free, running = asyncio.Event(), []
    async with Pulse(lambda progress: notes.append(progress.note)) as pulse, asyncio.TaskGroup() as tasks:
        for _ in range(2):
            tasks.create_task(held(getattr(slots, kind), pulse, free, running))
        while not running:  # noqa: ASYNC110 - no event to await
            await asyncio.sleep(0)
        while "waiting for a free Terraform slot on this worker" not in notes:  # noqa: ASYNC110 - no event to await
            await asyncio.sleep(0)
        assert len(running) == 1
        free.set()
    assert len(running) == 2


async def test_a_plan_does_not_wait_for_an_apply():
    slots = Slots(Settings(terraform_slots=1))
    async with (
        Pulse(lambda _: None) as pulse,
        slots.changing(pulse, Stop()),
        asyncio.timeout(60),
        slots.reading(pulse, Stop()),
    ):
        pass
