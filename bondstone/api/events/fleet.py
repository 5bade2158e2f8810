"""The fleet as events: each service that changes, and how many there are."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from fastapi.sse import format_sse_event

from bondstone.api.events.streams import Events
from bondstone.api.index.services import OVERLAP, Entry, ServiceIndex
from bondstone.base.errors import CursorInvalid
from bondstone.base.models import Document
from bondstone.model.identity import Target
from bondstone.model.service_row import ServiceRow

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DIGITS = 18


class FleetDocument(Document):
    """How many services there are, of those that the caller may see."""

    total: int
    phases: dict[str, int]
    teams: dict[str, int]
    promises: dict[str, int]
    health: dict[str, int]
    drifted: int = 0
    """Those whose last drift check found something"""


class FleetEvent(Document):
    """A service that appeared, changed or ended."""

    service: ServiceRow
    ended: bool
    """It was decommissioned or abandoned"""


def counted(index: ServiceIndex, permitted: Callable[[Target], bool] | None) -> FleetDocument:
    """How many services there are.

    Args:
        index: Of the process.
        permitted: Which of them count; None for all.
    """
    counts = index.counts(permitted)
    return FleetDocument(
        total=counts.total,
        phases=counts.phases,
        teams=counts.teams,
        promises=counts.promises,
        health=counts.health,
        drifted=counts.drifted,
    )


async def changes(
    index: ServiceIndex, permitted: Callable[[Target], bool], *, everywhere: bool, since: datetime | None
) -> Events:
    """Events `fleet` with the counts and `service` for each change, the earliest first.

    Args:
        index: Of the process.
        permitted: Which services the caller may see.
        everywhere: Those are all.
        since: The last change that the client has heard of; None for a client that is new.
    """
    position = index.position
    if since is not None:
        # A change may reach the index after one that was made later: some are told twice, none is lost.
        for entry in index.changes_since(since - OVERLAP):
            if permitted(entry.target):
                yield _event(entry)
    counts: FleetDocument | None = None
    while True:
        now = counted(index, None if everywhere else permitted)
        if now != counts:
            yield format_sse_event(data_str=now.model_dump_json(), event="fleet")
            counts = now
        position, entries = await index.changes(position)
        for entry in entries:
            if permitted(entry.target):
                yield _event(entry)


def moment_of(last_event_id: str) -> datetime | None:
    """The last change that a client has heard of.

    Raises:
        CursorInvalid: the id was not sent by such a stream.
    """
    if not last_event_id:
        return None
    if not (last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) < _DIGITS):
        raise CursorInvalid("that is not a position in these events", where="Last-Event-ID", hint="leave it out")
    return _EPOCH + timedelta(microseconds=int(last_event_id))


def _event(entry: Entry) -> bytes:
    event = FleetEvent(service=entry.row, ended=not entry.alive)
    microseconds = (entry.stamp - _EPOCH) // timedelta(microseconds=1)
    return format_sse_event(data_str=event.model_dump_json(), event="service", id=str(microseconds))
