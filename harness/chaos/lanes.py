"""Work through a list of kills: each lane has a platform of its own and takes the next kill when it is free."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from bondstone.activities.terraform.binary import find_tool
from bondstone.base.settings import Settings
from harness.chaos import things
from harness.chaos.kills import Kill, Side
from harness.chaos.locking_backend import Backend, serving
from harness.chaos.outcome import Outcome
from harness.chaos.plain_side import PlainRun
from harness.chaos.platform_side import Run
from harness.local_platform import LocalPlatform, publish


async def carry_out(
    kills: Iterable[Kill],
    directory: Path,
    on_outcome: Callable[[Outcome], None],
    *,
    things_each: int,
    lanes: int = 1,
) -> None:
    """Do every kill of a list.

    Args:
        kills: In this order.
        directory: Where platforms and states go.
        on_outcome: Called with each outcome as soon as it is known.
        things_each: How many things each run makes.
        lanes: How many kills at once, each lane on a platform of its own.
    """
    waiting = iter(kills)
    with serving() as backend:
        async with asyncio.TaskGroup() as group:
            for number in range(lanes):
                lane = _Lane(directory / f"lane{number}", backend, things_each)
                group.create_task(lane.work(waiting, on_outcome))


class _Lane:
    def __init__(self, directory: Path, backend: Backend, count: int) -> None:
        self._directory = directory
        self._backend = backend
        self._count = count
        made = directory / things.DIRECTORY
        made.mkdir(parents=True, exist_ok=True)
        # The things are files outside the platform, which its sandbox must allow.
        writable = {"BOND_TOOL_WRITABLE_PATHS": json.dumps([str(made)])}
        self._platform = LocalPlatform(directory / "data", writable)
        self._up = False

    async def work(self, kills: Iterator[Kill], on_outcome: Callable[[Outcome], None]) -> None:
        try:
            for kill in kills:
                on_outcome(await self._one(kill))
        finally:
            if self._up:
                with suppress(AssertionError):  # whatever became of it, there is nothing more to find out
                    await asyncio.to_thread(self._platform.down)

    async def _one(self, kill: Kill) -> Outcome:
        if kill.side not in {Side.BONDSTONE, Side.COMPOUND}:
            tool = find_tool(Settings())
            return await PlainRun(
                self._directory / "plain", tool, self._backend, kill, count=self._count
            ).outcome()
        try:
            await self._be_up()
        except AssertionError as error:
            if not self._up:
                raise
            return Outcome(kill, error=f"the platform does not start any more: {error}"[:500])
        async with self._platform.client() as bond:
            return await Run(self._platform, bond, kill, count=self._count).outcome()

    async def _be_up(self) -> None:
        """Start the platform, also when the last kill has left it without its supervisor."""
        if self._up and self._platform.state().alive:
            return
        self._directory.mkdir(parents=True, exist_ok=True)
        await asyncio.to_thread(self._platform.up)
        if not self._up:
            self._up = True
            async with self._platform.client() as bond:
                await publish(bond, things.promise(self._directory, self._count))
                await publish(bond, things.tree(self._directory, self._count))
