"""The list of all services, without reading all of it again from Temporal's visibility.

For 10,000 services visibility takes two CPU-seconds of the server: four seconds where it has little else to do,
twenty on a busy machine. So the last whole list is kept as a sealed object, and a reader asks visibility only for
what has changed since, and for a count: a thirtieth of that. Where the count differs, it reads the whole list.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import structlog
from pydantic import ValidationError

from bondstone.base.errors import ObjectMissing, StoreError, Unreachable
from bondstone.model.rows import FleetList, ListedService
from bondstone.model.service_row import ServiceRow
from bondstone.store import Store

FLEET_TRIES: Final = 5
"""How often the whole fleet is listed until a count agrees."""

MARGIN: Final = timedelta(minutes=2)
"""What is kept counts as current to this long before its list began: for changes that visibility shows late, and
for clocks that differ."""

KEEP_AGAIN: Final = timedelta(minutes=10)
"""A list that is older than this is kept anew by whoever reads it next."""

MAX_KEPT: Final = 200_000
"""More services than this are not kept."""

FLEET_KEY: Final = "fleet/services"

_log = structlog.get_logger(__name__)


class Visibility(Protocol):
    """What Temporal's visibility says of all services; see `ServiceVisibility`."""

    def listed(
        self, *, since: datetime | None = None, pause_seconds: float = 0.0
    ) -> AsyncIterator[list[ListedService]]:
        """Every service, or those that changed since a moment, a page at a time."""

    async def count_alive(self) -> int:
        """How many are alive."""


class KeptFleet:
    """The last whole list of the services, as an object.

    Args:
        store: Where it is kept, sealed.
    """

    def __init__(self, store: Store) -> None:
        self._sealed = store.sealed

    async def get(self) -> FleetList | None:
        """The list; None when there is none that can be read, which costs time and nothing else."""
        try:
            data = await self._sealed.get(FLEET_KEY)
            return await asyncio.to_thread(_parse, data)
        except ObjectMissing:
            return None
        except (StoreError, ValidationError, OSError, EOFError) as error:
            _log.warning("the kept list of services cannot be read", error=str(error)[:200])
            return None

    async def put(self, fleet: FleetList) -> None:
        """Keep a list in place of the last one; when the store fails, the next reader reads the whole list."""
        if len(fleet.services) > MAX_KEPT:
            return
        try:
            await self._sealed.put(FLEET_KEY, await asyncio.to_thread(_packed, fleet))
        except StoreError as error:
            _log.warning("the list of services cannot be kept", error=str(error)[:200])


async def alive_services(visibility: Visibility, kept: KeptFleet) -> list[ServiceRow]:
    """Every service that is alive, sorted by id, once a count says that none is missing.

    Args:
        visibility: What Temporal says.
        kept: The last whole list.

    Raises:
        Unreachable: Temporal does not answer, or list and count would not agree.
    """
    known = await kept.get()
    if known is not None:
        current = await _with_changes(known, visibility)
        if len(alive := _alive(current)) == await visibility.count_alive():
            if current.current_to - known.current_to > KEEP_AGAIN:
                await kept.put(_without_ended(current))
            return alive
    for attempt in range(1, FLEET_TRIES + 1):
        current = await whole_list(visibility)
        alive, count = _alive(current), await visibility.count_alive()
        if len(alive) == count:
            await kept.put(_without_ended(current))
            return alive
        await asyncio.sleep(attempt)
    raise Unreachable(
        f"{len(alive)} services are listed and {count} counted, {FLEET_TRIES} times over",
        hint="visibility lags behind; try again when fewer services come and go",
    )


async def whole_list(visibility: Visibility, *, pause_seconds: float = 0.0) -> FleetList:
    """Read the whole list from visibility.

    Args:
        visibility: What Temporal says.
        pause_seconds: Between two pages.

    Raises:
        Unreachable: Temporal does not answer.
    """
    current_to = datetime.now(UTC) - MARGIN
    fleet = FleetList(current_to=current_to, services=())
    services = [service async for page in visibility.listed(pause_seconds=pause_seconds) for service in page]
    return fleet.updated(services, current_to)


async def _with_changes(known: FleetList, visibility: Visibility) -> FleetList:
    current_to = datetime.now(UTC) - MARGIN
    changes = [service async for page in visibility.listed(since=known.current_to) for service in page]
    return known.updated(changes, current_to)


def _without_ended(fleet: FleetList) -> FleetList:
    """Temporal forgets ended services after its retention, and so must what is kept."""
    return FleetList(
        current_to=fleet.current_to, services=tuple(service for service in fleet.services if service.alive)
    )


def _alive(fleet: FleetList) -> list[ServiceRow]:
    return sorted((service.row for service in fleet.services if service.alive), key=lambda row: row.id)


def _packed(fleet: FleetList) -> bytes:
    return gzip.compress(fleet.model_dump_json().encode(), compresslevel=1, mtime=0)


def _parse(data: bytes) -> FleetList:
    return FleetList.model_validate_json(gzip.decompress(data))
