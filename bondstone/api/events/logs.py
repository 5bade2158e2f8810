"""The logs of an operation as events: each carries lines of one log, and its id says how far each log was read."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

from fastapi.sse import format_sse_event

from bondstone.api.events.streams import Events, end
from bondstone.api.events.watchers import Read, Seen, Watchers
from bondstone.base.errors import CursorInvalid
from bondstone.base.models import Document
from bondstone.model.service import ServiceId
from bondstone.store.logs import LogInfo, LogStore, Written

LINES_AN_EVENT: Final = 500
CACHED_CHUNKS: Final = 32
"""Parts of logs kept in memory for those who follow the same operation, each at most about 1 MiB."""
MAX_LOGS: Final = 500
_DIGITS: Final = 9


Encode = Callable[[LogInfo, list[str], str], Iterator[bytes]]
"""Events of a part of a log: its lines, and the position after it."""


class LogEvent(Document):
    """Lines that a tool printed."""

    step: str
    verb: str
    attempt: str
    lines: tuple[str, ...]


async def lines(
    watchers: Watchers,
    chunks: LogChunks,
    subject: str,
    read: Read,
    position: list[int],
    *,
    encode: Encode | None = None,
) -> Events:
    """The lines of an operation's logs as they come, until it has ended and nothing is left to read.

    Args:
        watchers: Of the process.
        chunks: Where lines are read.
        subject: What is followed.
        read: Reads what is written of the logs.
        position: How many parts of each log the client has read, see `position_of`.
        encode: Makes events of a part; default: those of the API.
    """
    encode = encode or _events
    done = list(position)
    after = ""
    async with watchers.follow(subject, read) as watcher:
        while True:
            update = await watcher.next(after)
            written: Written = update.detail
            done += [0] * (len(written) - len(done))
            for number, (log, keys) in enumerate(written):
                for key in keys[done[number] :]:
                    done[number] += 1
                    for event in encode(log, await chunks.lines(key), ".".join(map(str, done))):
                        yield event
            if update.final:
                yield end(".".join(map(str, done)))
                return
            after = update.id


def reader(logs: LogStore, service: ServiceId, operation: int, ended: Callable[[], Awaitable[bool]]) -> Read:
    """Reads what is written of an operation's logs.

    Args:
        logs: The store's.
        service: Whose operation.
        operation: Its number.
        ended: Whether it has ended.
    """

    async def read() -> Seen:
        final = await ended()
        written = (await logs.chunks(service, operation))[:MAX_LOGS]
        return Seen(id=".".join(str(len(keys)) for _, keys in written), event="log", final=final, detail=written)

    return read


class LogChunks:
    """Parts of logs, read once for all who follow.

    Args:
        logs: The store's.
    """

    def __init__(self, logs: LogStore) -> None:
        self._logs = logs
        self._chunks: OrderedDict[str, asyncio.Task[list[str]]] = OrderedDict()

    async def lines(self, key: str) -> list[str]:
        """The lines of a part."""
        reading = self._chunks.get(key)
        if reading is None:
            reading = self._chunks[key] = asyncio.create_task(self._logs.chunk(key))
            while len(self._chunks) > CACHED_CHUNKS:
                self._chunks.popitem(last=False)
        try:
            return await asyncio.shield(reading)
        except BaseException:
            if reading.done():
                self._chunks.pop(key, None)
            raise


def _events(log: LogInfo, lines: list[str], position: str) -> Iterator[bytes]:
    """Lines in events of a bounded size; only the last one carries the position, so that none is lost between."""
    for start in range(0, len(lines), LINES_AN_EVENT):
        part = lines[start : start + LINES_AN_EVENT]
        event = LogEvent(step=log.step, verb=log.verb, attempt=log.attempt, lines=tuple(part))
        last = start + LINES_AN_EVENT >= len(lines)
        yield format_sse_event(data_str=event.model_dump_json(), event="log", id=position if last else None)


def position_of(last_event_id: str) -> list[int]:
    """How many parts of each log a client has read.

    Raises:
        CursorInvalid: the id was not sent by such a stream.
    """
    parts = last_event_id.split(".") if last_event_id else []
    digits = all(part.isascii() and part.isdigit() and len(part) < _DIGITS for part in parts)
    if len(parts) > MAX_LOGS or not digits:
        raise CursorInvalid("that is not a position in these logs", where="Last-Event-ID", hint="leave it out")
    return [int(part) for part in parts]
