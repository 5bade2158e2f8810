"""Announcing plans that wait for people: seen in the index, whichever way they came to wait.

What waits while no API process runs is announced by the next one; several processes announce the same thing under
the same id, so it is told once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import structlog
from fastapi import FastAPI

from bondstone.api.index.services import Entry
from bondstone.api.state import ApiState
from bondstone.base.errors import BondError
from bondstone.client.direct.client import DirectClient
from bondstone.client.direct.connection import Connection
from bondstone.client.documents.service import ServiceDocument
from bondstone.model.notification import EventSource
from bondstone.model.service import Phase
from bondstone.temporal.announcing import Announcer

_DIGEST_CHARS = 12

log = structlog.get_logger(__name__)


def announce_beside(app: FastAPI, state: ApiState) -> None:
    """Announce what waits for as long as the application serves."""
    before = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(of: FastAPI) -> AsyncIterator[object]:
        async with before(of) as inner:
            announcing = asyncio.create_task(_announce(state))
            try:
                yield inner
            finally:
                announcing.cancel()
                await asyncio.gather(announcing, return_exceptions=True)

    app.router.lifespan_context = lifespan  # type: ignore[assignment] # Starlette types it for stateless ones


async def _announce(state: ApiState) -> None:
    announcer = Announcer(state.store, state.temporal)
    bond = DirectClient(Connection(state.settings, temporal=state.temporal, store=state.store), "bondstone")
    position, entries = -1, list(state.services.entries())
    while True:
        for name in _waiting(entries):
            try:
                for source in waiting_sources(await bond.services.get(name)):
                    await announcer.announce(source, name.partition("/")[0])
            except BondError as error:
                log.warning("a plan that waits was not announced", service=name, message=error.message)
        position, entries = await state.services.changes(position)


def waiting_sources(service: ServiceDocument) -> list[EventSource]:
    """The events of a service's plans that wait."""
    return [
        EventSource(
            kind="approval",
            id=f"{operation.id}/approval/{gate.digest.removeprefix('sha256:')[:_DIGEST_CHARS]}",
            operation=operation.id,
            digest=gate.digest,
            at=gate.asked_at,
        )
        for operation in service.operations
        for gate in operation.approvals
        if gate.status == "waiting"
    ]


def _waiting(entries: Iterable[Entry]) -> list[str]:
    waiting = {entry.row.id for entry in entries if entry.alive and entry.row.phase == Phase.AWAITING_APPROVAL}
    return sorted(waiting)
