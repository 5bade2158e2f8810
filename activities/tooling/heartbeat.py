"""Be alive to Temporal while a tool is silent, and be stoppable without losing what was made."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar

from bondstone.model.step import Progress

T = TypeVar("T")

BEAT_SECONDS = 4.0
"""How often progress is reported even if nothing moves: so late, at most, an activity hears that it is cancelled.
The heartbeat timeout of activities is 30 s."""

QUIET_SECONDS = 1.0
"""How long an activity works before its first heartbeat. Each is a write of Temporal's database: what is over
within this time needs none."""


class Pulse:
    """Reports progress when it changes, and every few seconds when it does not. An async context manager.

    Args:
        heartbeat: Sends progress.
        beat_seconds: The time between two reports of the same progress; default: `BEAT_SECONDS`.
        quiet_seconds: How long nothing is sent at first; then the newest progress is.
    """

    def __init__(
        self,
        heartbeat: Callable[[Progress], None],
        *,
        beat_seconds: float | None = None,
        quiet_seconds: float = 0.0,
    ) -> None:
        self._heartbeat = heartbeat
        self._beat_seconds = BEAT_SECONDS if beat_seconds is None else beat_seconds
        self._quiet_seconds = min(quiet_seconds, self._beat_seconds)
        self._is_quiet = self._quiet_seconds > 0
        self._progress = Progress()
        self._task: asyncio.Task[None] | None = None

    def report(self, progress: Progress) -> None:
        """Say how far the work is."""
        if progress == self._progress:
            return
        self._progress = progress
        if not self._is_quiet:
            self._heartbeat(progress)

    def note(self, text: str) -> None:
        """Say what is being waited for; empty when it no longer is."""
        self.report(self._progress.changed(note=text))

    async def __aenter__(self) -> Self:
        if not self._is_quiet:
            self._heartbeat(self._progress)
        self._task = asyncio.create_task(self._beat())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _beat(self) -> None:
        if self._is_quiet:
            await asyncio.sleep(self._quiet_seconds)
            self._is_quiet = False
            self._heartbeat(self._progress)
        while True:
            await asyncio.sleep(self._beat_seconds)
            self._heartbeat(self._progress)


class Stop:
    """A request to stop, seen by work that must end in its own way."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def request(self) -> None:
        """Ask the work to stop."""
        self._event.set()

    @property
    def requested(self) -> bool:
        """Whether it was asked to."""
        return self._event.is_set()

    async def unless(self, waiting: Awaitable[T]) -> T:
        """Wait for something that may simply be given up.

        Raises:
            asyncio.CancelledError: when the stop was requested first.
        """
        work = asyncio.ensure_future(waiting)
        stopped = asyncio.ensure_future(self._event.wait())
        try:
            await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                work.cancel()
            return await work
        finally:
            stopped.cancel()
            work.cancel()


async def to_its_end(work: Callable[[Stop], Awaitable[T]]) -> T:
    """Run work that a cancellation asks to stop instead of cutting it off, however often it is cancelled.

    Raises:
        asyncio.CancelledError: after the work has ended, if it was cancelled meanwhile; what the work itself
            returned or raised is then of no interest any more.
    """
    stop = Stop()
    task: asyncio.Task[Any] = asyncio.ensure_future(_run(work, stop))
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = cancelled or error
            stop.request()
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # seen: the loop must not complain that nobody looked
        raise cancelled
    result: T = task.result()
    return result


async def _run(work: Callable[[Stop], Awaitable[T]], stop: Stop) -> T:
    return await work(stop)
