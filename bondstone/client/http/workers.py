"""Builds and queues over the HTTP API. `Bondstone.workers`."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import override

from bondstone.client.documents.worker import BuildDocument, EvictedDocument, QueueDocument
from bondstone.client.http.transport import Transport, segments
from bondstone.client.workers import Workers


class HttpWorkers(Workers):
    """Builds and queues over the HTTP API.

    Args:
        transport: Connections to the API.
    """

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    @override
    async def promote(self, build: str, *, percent: float | None = None) -> list[BuildDocument]:
        builds = await self._http.post(segments("workers", build, "promote"), {"percent": percent})
        return [BuildDocument.model_validate(each) for each in builds]

    @override
    async def evict(self, build: str) -> EvictedDocument:
        return EvictedDocument.model_validate(await self._http.post(segments("workers", build, "evict")))

    @override
    async def queues(self, pools: Sequence[str]) -> list[QueueDocument]:
        queues = await self._http.get("/workers/queues", {"pool": list(pools)})
        return [QueueDocument.model_validate(queue) for queue in queues]

    @override
    async def list(self) -> list[BuildDocument]:
        return [BuildDocument.model_validate(each) for each in await self._http.get("/workers")]
