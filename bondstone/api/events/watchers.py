"""What is followed, read once for all who follow it.

A watcher reads its subject again and again for as long as anybody follows it, and keeps only the latest state:
whoever is slow misses what was in between, never the end. Reads are paced over all watchers, so that many subjects
are each looked at less often instead of asking the workers more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import structlog

from bondstone.base.errors import BondError, TooManyRequests

LOOK_SECONDS: Final = 1.0
"""How often a subject is read, where there are few."""
FIRST_LOOK_SECONDS: Final = 0.1
"""How soon a subject is read again that has just changed: what has begun to move often ends soon."""
READS_PER_SECOND: Final = 25.0
"""Of all watchers together: each may wake a workflow, which costs a worker some 10 ms."""
MAX_STREAMS: Final = 1000
"""Streams that are open at once in one process."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a read of a subject gave."""

    id: str
    """Tells it from every other state of the subject."""
    event: str
    """Kind of the event, as in `operation`."""
    data: str = ""
    """JSON."""
    final: bool = False
    """Nothing will change any more."""
    detail: Any = None
    """What streams of this kind make their events from."""


Read = Callable[[], Awaitable[Seen]]


class WatchBroken(Exception):
    """The watcher has met an error that nobody foresaw: its streams end, and their clients connect anew."""


class Watcher:
    """The latest state of one subject, and who waits for the next.

    Args:
        read: Reads the subject.
        pause: How long to wait until the next read, by how long nothing has changed; both in seconds.
    """

    def __init__(self, read: Read, pause: Callable[[float], float]) -> None:
        self._read = read
        self._pause = pause
        self._latest: Seen | None = None
        self._failure: BondError | WatchBroken | None = None
        self._news = asyncio.Event()
        self.followers = 0

    @property
    def is_broken(self) -> bool:
        """Whether it reads no more, without having seen the end."""
        return isinstance(self._failure, WatchBroken)

    async def next(self, after: str) -> Seen:
        """The latest state, once it is another than `after`.

        Raises:
            BondError: the subject cannot be read, as it does not exist.
            WatchBroken: nothing reads the subject any more; whoever follows it anew begins another watcher.
        """
        while True:
            if self._failure is not None:
                raise self._failure
            if self._latest is not None and (self._latest.id != after or self._latest.final):
                return self._latest
            await self._news.wait()

    async def keep(self) -> None:
        """Read until nothing will change any more, or cancelled."""
        changed = time.monotonic()
        while True:
            began = time.monotonic()
            try:
                update = await self._read()
            except BondError as error:
                if not error.transient:
                    self._failure = error
                    self._wake()
                    return
                log.warning(
                    "a subject of event streams cannot be read now", code=error.code, message=error.message
                )
            except Exception:
                log.exception("a subject of event streams cannot be read; its streams end")
                self._failure = WatchBroken()
                self._wake()
                return
            else:
                latest = self._latest
                if latest is None or update.id != latest.id or update.final != latest.final:
                    self._latest = update
                    changed = began
                    self._wake()
                if update.final:
                    return
            now = time.monotonic()
            await asyncio.sleep(max(self._pause(now - changed), now - began))

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


class Watchers:
    """Every watcher of a process, by subject."""

    def __init__(self) -> None:
        self._watchers: dict[str, tuple[Watcher, asyncio.Task[None]]] = {}
        self._streams = 0
        self.closing = asyncio.Event()
        """Set when the process is to stop: streams end, so that their clients go to another."""

    @property
    def subjects(self) -> int:
        """How many subjects are followed now."""
        return len(self._watchers)

    @property
    def streams(self) -> int:
        """How many streams are open now."""
        return self._streams

    @asynccontextmanager
    async def follow(self, subject: str, read: Read) -> AsyncIterator[Watcher]:
        """The watcher of a subject, for as long as it is followed.

        Args:
            subject: What is followed, as in `operation/payments/orders/op/7`.
            read: Reads it; that of the first who follows counts for all.
        """
        watcher, task = self._watchers.get(subject) or self._begin(subject, read)
        if watcher.is_broken:  # some who followed it have not left yet
            watcher, task = self._begin(subject, read)
        watcher.followers += 1
        try:
            yield watcher
        finally:
            watcher.followers -= 1
            if not watcher.followers:
                if self._watchers.get(subject) == (watcher, task):  # a broken one may have been replaced
                    del self._watchers[subject]
                task.cancel()

    @asynccontextmanager
    async def stream(self) -> AsyncIterator[None]:
        """Count a stream that is open.

        Raises:
            TooManyRequests: as many are open as a process takes.
        """
        self.admit()
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1

    def admit(self) -> None:
        """Refuse another stream where there are too many.

        Raises:
            TooManyRequests: as many are open as a process takes.
        """
        if self._streams >= MAX_STREAMS:
            raise TooManyRequests(f"{MAX_STREAMS} event streams are open here", hint="try again in a moment")

    def pause(self, quiet_seconds: float) -> float:
        """How long a watcher waits between two reads, in seconds.

        Args:
            quiet_seconds: How long its subject has not changed.
        """
        soon = min(max(FIRST_LOOK_SECONDS, quiet_seconds / 2), LOOK_SECONDS)
        return max(soon, len(self._watchers) / READS_PER_SECOND)

    def _begin(self, subject: str, read: Read) -> tuple[Watcher, asyncio.Task[None]]:
        watcher = Watcher(read, self.pause)
        task = asyncio.create_task(watcher.keep(), name=f"watch {subject}")
        self._watchers[subject] = (watcher, task)
        return watcher, task
