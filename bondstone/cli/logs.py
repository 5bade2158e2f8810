"""Step logs as people read them: what is there, or as it comes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from bondstone.terminal.output import note, say

if TYPE_CHECKING:
    from bondstone.client import Bondstone, Operation
    from bondstone.store.logs import LogInfo

LOOK_SECONDS: Final = 0.5
"""How often to look for logs that have begun, and whether the operation has ended."""


async def show_logs(bond: Bondstone, operation: Operation, *, step: str = "", follow: bool = False) -> None:
    """Print the logs of an operation, each line with its step and verb where there are several.

    Raises:
        NotFound: there is no such operation, or no such step.
    """
    if step:
        await operation.step(step)  # names the steps there are
    record = await operation.record()
    if follow and not record.status.ended:
        await _follow(bond, operation, step)
        return
    found = await _logs(bond, operation, step)
    for log in found:
        async for line in bond.store.logs.read(log.key):
            say(_labelled(log, line))
    if not found:
        note(f"{operation.id} has no log{f' of step {step}' if step else ''}; it is {record.status}")


async def _follow(bond: Bondstone, operation: Operation, step: str) -> None:
    """Print every log as it grows until the operation has ended and nothing is left to read."""
    ended = False
    readers: dict[str, asyncio.Task[None]] = {}

    async def read(log: LogInfo) -> None:
        async for line in bond.store.logs.follow(log.key, lambda: ended):
            say(_labelled(log, line))

    async with asyncio.TaskGroup() as group:
        while True:
            last_look = ended
            for log in await _logs(bond, operation, step):
                if log.key not in readers:
                    readers[log.key] = group.create_task(read(log))
            if last_look:
                return
            ended = (await operation.record()).status.ended
            if not ended:
                await asyncio.sleep(LOOK_SECONDS)


async def _logs(bond: Bondstone, operation: Operation, step: str) -> list[LogInfo]:
    from bondstone.model.service import ServiceId  # noqa: PLC0415 - see bondstone.cli.session

    service = ServiceId(team=operation.team, name=operation.name)
    return [log for log in await bond.store.logs.list(service, operation.number) if step in {"", log.step}]


def _labelled(log: LogInfo, line: str) -> str:
    return f"{log.step} {log.verb} | {line}"
