"""Streams of server-sent events: resumed by `Last-Event-ID`, pinged while nothing happens, ended in words.

Each event carries the whole state of its subject and an id made from it. A client that comes back with the id of
the current state hears nothing until it changes. When nothing will change any more an event `end` follows; whoever
comes back after that is told 204, upon which browsers stop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Final

from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from starlette.responses import Response

from bondstone.api.events.watchers import Read, Seen, WatchBroken, Watchers
from bondstone.api.problems import ProblemDocument
from bondstone.base.errors import BondError

PING_SECONDS: Final = 15.0
STREAM_SECONDS: Final = 900.0
"""Then the client connects anew: its credential is looked at again."""
RETRY_MILLISECONDS: Final = 1000
END: Final = "end"
MAX_ID_CHARS: Final = 2000

Events = AsyncGenerator[bytes, None]


def answer(watchers: Watchers, events: AsyncIterator[bytes], last_event_id: str) -> Response:
    """The response that streams events; 204 to a client that has heard the end.

    Raises:
        TooManyRequests: too many streams are open.
    """
    if last_event_id.rpartition(":")[2] == END:
        return Response(status_code=204)
    watchers.admit()
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return EventSourceResponse(_framed(watchers, events), headers=headers)


async def states(watchers: Watchers, subject: str, read: Read, last_event_id: str) -> Events:
    """The states of a subject, each once, until the last."""
    async with watchers.follow(subject, read) as watcher:
        after = last_event_id
        while True:
            update = await watcher.next(after)
            if update.id != after:
                yield encoded(update)
            after = update.id
            if update.final:
                yield end(update.id)
                return


def encoded(update: Seen) -> bytes:
    """An event."""
    return format_sse_event(data_str=update.data, event=update.event, id=update.id)


def end(last_id: str = "") -> bytes:
    """The event that says that nothing will follow."""
    return format_sse_event(data_str="{}", event=END, id=f"{last_id}:{END}" if last_id else END)


async def _framed(watchers: Watchers, events: AsyncIterator[bytes]) -> Events:
    """Events with what the protocol needs around them: pings, problems in words, an end when the process stops."""
    async with watchers.stream():
        yield format_sse_event(retry=RETRY_MILLISECONDS)
        until = time.monotonic() + STREAM_SECONDS
        closing: asyncio.Future[Any] = asyncio.ensure_future(watchers.closing.wait())
        pending: asyncio.Future[Any] | None = None
        try:
            while (left := until - time.monotonic()) > 0 and not closing.done():
                pending = pending or asyncio.ensure_future(anext(events))
                await asyncio.wait(
                    {pending, closing}, timeout=min(left, PING_SECONDS), return_when=asyncio.FIRST_COMPLETED
                )
                if not pending.done():
                    if not closing.done() and time.monotonic() < until:
                        yield KEEPALIVE_COMMENT
                    continue
                done, pending = pending, None
                yield done.result()
        except (StopAsyncIteration, WatchBroken):
            return  # without `end`, so that the client of a broken watcher comes back
        except BondError as error:
            yield format_sse_event(data_str=ProblemDocument.of(error).model_dump_json(), event="problem")
            yield end()
        finally:
            closing.cancel()
            if pending is not None:
                pending.cancel()
                await asyncio.wait({pending})
            if isinstance(events, AsyncGenerator):
                async with aclosing(events):
                    pass
