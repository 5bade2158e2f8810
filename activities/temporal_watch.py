"""Does this worker still reach Temporal?

The SDK sends heartbeats in the background and reports nothing when they do not arrive. When none arrives for
the heartbeat timeout, Temporal considers the attempt dead and gives the work to another. Both would then work at
the same time. So a worker checks by itself whether Temporal answers, and stops its tools when it is cut off.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

import structlog
from temporalio.api.workflowservice.v1 import GetSystemInfoRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from bondstone.base.errors import Unreachable

LOOK_SECONDS: Final = 2.0
ANSWER_SECONDS: Final = 5.0
"""How long one look may take."""

_NO_ANSWER: Final = frozenset(
    {RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED, RPCStatusCode.UNKNOWN}
)

_log = structlog.get_logger(__name__)


class TemporalWatch:
    """Looks every few seconds whether Temporal answers, for as long as somebody wants to know.

    Args:
        answers: One look; raises when there was no answer.
        look_seconds: The time between two looks.
        now: A clock that never goes back.
    """

    def __init__(
        self,
        answers: Callable[[], Awaitable[object]],
        *,
        look_seconds: float = LOOK_SECONDS,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._answers = answers
        self._look_seconds = look_seconds
        self._now = now
        self._answered = now()
        self._watchers = 0
        self._looking: asyncio.Task[None] | None = None

    @classmethod
    def of(cls, client: Client) -> TemporalWatch:
        """Of a worker's own connection."""

        async def answers() -> None:
            try:
                await client.workflow_service.get_system_info(
                    GetSystemInfoRequest(), timeout=timedelta(seconds=ANSWER_SECONDS)
                )
            except RPCError as error:
                if error.status in _NO_ANSWER:
                    raise  # a refusal is an answer, too

        return cls(answers)

    @asynccontextmanager
    async def kept(self, within_seconds: float | None) -> AsyncIterator[None]:
        """Cancel what runs inside once Temporal has not answered for that long; None is for ever.

        Raises:
            Unreachable: then, after what ran inside has ended in its own way.
        """
        task = asyncio.current_task()
        if within_seconds is None or task is None:
            yield
            return
        lost = False

        async def watch() -> None:
            nonlocal lost
            while self._now() - self._answered < within_seconds:  # noqa: ASYNC110 - silence sets no event
                await asyncio.sleep(self._look_seconds / 4)
            lost = True
            _log.warning("cut off from Temporal, stopping", seconds=round(self._now() - self._answered, 1))
            task.cancel()

        self._begin()
        watching = asyncio.create_task(watch())
        try:
            yield
        except asyncio.CancelledError:
            if not lost or task.uncancel() > 0:
                raise
            raise Unreachable(
                f"this worker did not reach Temporal for {within_seconds:g} s and stopped; what it made is kept",
                hint="another attempt continues the work",
            ) from None
        finally:
            watching.cancel()
            self._end()

    def _begin(self) -> None:
        if self._watchers == 0:
            self._answered = self._now()  # whoever was given something to do has just heard of Temporal
            self._looking = asyncio.create_task(self._look())
        self._watchers += 1

    def _end(self) -> None:
        self._watchers -= 1
        if self._watchers == 0 and self._looking is not None:
            self._looking.cancel()

    async def _look(self) -> None:
        while True:
            began = self._now()
            try:
                await self._answers()
            except (RPCError, RuntimeError, OSError) as error:
                _log.debug("temporal does not answer", error=str(error)[:200])
            else:
                self._answered = max(self._answered, began)
            await asyncio.sleep(self._look_seconds)
