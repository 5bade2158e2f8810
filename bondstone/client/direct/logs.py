"""Step logs in the object store. `Bondstone.logs`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from bondstone.base.errors import NotFound
from bondstone.base.names import parse_operation
from bondstone.client.direct.operation_watch import WatchedOperation
from bondstone.client.documents.log import LogDocument, LogLine
from bondstone.client.logs import Logs
from bondstone.model.service import ServiceId

if TYPE_CHECKING:
    from bondstone.client.direct.connection import Caller
    from bondstone.store.logs import LogInfo, LogStore

LOOK_SECONDS: Final = 0.5
"""How often to look for logs that have begun, and whether the operation has ended."""

LINES_AHEAD: Final = 1000
"""Lines of all logs together that are read ahead of whoever takes them."""


class DirectLogs(Logs):
    """Logs in the object store.

    Args:
        caller: Who asks, and by which connection.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    @override
    async def read(self, operation: str, *, step: str = "", follow: bool = False) -> AsyncIterator[LogLine]:
        record = await WatchedOperation(self._caller.connection, operation).record()
        await self._require_step(operation, step)
        store = (await self._caller.connection.store()).logs
        if follow and not record.status.ended:
            async for line in self._follow(store, operation, step):
                yield line
            return
        for log in await self._infos(store, operation, step):
            async for text in store.read(log.key):
                yield _line(log, text)

    @override
    async def list(self, operation: str, *, step: str = "") -> list[LogDocument]:
        await self._require_step(operation, step)
        store = (await self._caller.connection.store()).logs
        return [LogDocument.of(log) for log in await self._infos(store, operation, step)]

    async def _require_step(self, operation: str, step: str) -> None:
        steps = [each.id for each in (await WatchedOperation(self._caller.connection, operation).record()).steps]
        if step and step not in steps:
            hint = "its steps are " + (", ".join(steps) or "not known yet")
            raise NotFound(f"{operation} has no step {step!r}", where=operation, hint=hint)

    async def _infos(self, store: LogStore, operation: str, step: str) -> tuple[LogInfo, ...]:
        team, name, number = parse_operation(operation)
        logs = await store.list(ServiceId(team=team, name=name), number)
        return tuple(log for log in logs if step in {"", log.step})

    async def _follow(self, store: LogStore, operation: str, step: str) -> AsyncIterator[LogLine]:
        """Every log as it grows, until the operation has ended and nothing is left to read."""
        lines: asyncio.Queue[LogLine | None] = asyncio.Queue(LINES_AHEAD)

        async def run() -> None:
            try:
                await self._read_all(store, operation, step, lines)
            except Exception:
                await lines.put(None)
                raise
            await lines.put(None)

        watching = asyncio.create_task(run())
        try:
            while (line := await lines.get()) is not None:
                yield line
            await watching  # what it failed with is raised here
        finally:
            watching.cancel()

    async def _read_all(
        self, store: LogStore, operation: str, step: str, lines: asyncio.Queue[LogLine | None]
    ) -> None:
        """Put the lines of every log, also of those that begin meanwhile, until the operation has ended."""
        ended = False
        readers: dict[str, asyncio.Task[None]] = {}

        async def read(log: LogInfo) -> None:
            async for text in store.follow(log.key, lambda: ended):
                await lines.put(_line(log, text))

        async with asyncio.TaskGroup() as group:
            while True:
                last_look = ended
                for log in await self._infos(store, operation, step):
                    if log.key not in readers:
                        readers[log.key] = group.create_task(read(log))
                if last_look:
                    return
                ended = (await WatchedOperation(self._caller.connection, operation).record()).status.ended
                if not ended:
                    await asyncio.sleep(LOOK_SECONDS)


def _line(log: LogInfo, text: str) -> LogLine:
    return LogLine(step=log.step, verb=log.verb, attempt=log.attempt, text=text)
