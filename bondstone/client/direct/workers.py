"""Builds and pollers, by Temporal's own records. `Bondstone.workers`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from typing_extensions import override

from bondstone.base import names
from bondstone.client.direct.builds import Builds
from bondstone.client.documents.worker import BuildDocument, EvictedDocument, PollerDocument, QueueDocument
from bondstone.client.workers import Workers
from bondstone.temporal.connection import POLLER_FRESH_SECONDS, pollers

if TYPE_CHECKING:
    from bondstone.client.direct.connection import Caller


class DirectWorkers(Workers):
    """Builds and pollers over Temporal.

    Args:
        caller: Who asks, and by which connection.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    @override
    async def promote(self, build: str, *, percent: float | None = None) -> list[BuildDocument]:
        builds = await self._builds()
        await builds.promote(build, percent=percent)
        return await builds.list()

    @override
    async def evict(self, build: str) -> EvictedDocument:
        return await (await self._builds()).evict(build)

    @override
    async def queues(self, pools: Sequence[str]) -> list[QueueDocument]:
        queues = [(names.CONTROL_QUEUE, None), *((names.pool_queue(pool), pool) for pool in pools)]
        return list(await asyncio.gather(*(self._queue(queue, pool) for queue, pool in queues)))

    @override
    async def list(self) -> list[BuildDocument]:
        return await (await self._builds()).list()

    async def _builds(self) -> Builds:
        temporal = await self._caller.connection.temporal()
        return Builds(temporal, self._caller.settings.deployment, by=self._caller.by)

    async def _queue(self, queue: str, pool: str | None) -> QueueDocument:
        fresh = datetime.now(UTC) - timedelta(seconds=POLLER_FRESH_SECONDS)
        polled = await pollers(await self._caller.connection.temporal(), queue, workflows=pool is None)
        current = {
            poller.identity: PollerDocument(
                identity=poller.identity, last_seen=poller.last_seen, build=poller.build
            )
            for poller in polled
            if poller.last_seen > fresh
        }
        return QueueDocument(queue=queue, pool=pool, pollers=tuple(current[each] for each in sorted(current)))
