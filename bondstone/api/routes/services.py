"""`/api/v1/services`: instances of promises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query

from bondstone.api.events.fleet import FleetDocument, counted
from bondstone.api.index.services import SORTS, Entry, Place
from bondstone.api.pages import DEFAULT_LIMIT, Cursors, CursorText, Limit, cut
from bondstone.api.state import Allowed, Bond, State
from bondstone.base.errors import CursorInvalid, InvalidInput
from bondstone.base.models import Document
from bondstone.base.names import NAME_PATTERN
from bondstone.client.documents.service import ServiceDocument
from bondstone.client.row_filter import values_filter
from bondstone.model.identity import Target
from bondstone.model.rows import ServiceRow
from bondstone.model.service import Phase

router = APIRouter(tags=["services"])

Team = Annotated[str, Path(pattern=NAME_PATTERN, description="Team that owns the service")]
Name = Annotated[str, Path(pattern=NAME_PATTERN, description="Name of the service in its team")]
Sort = Literal["id", "-id", "phase", "-phase", "promise", "-promise", "changed_at", "-changed_at"]
MAX_WHERE_CHARS = 2000


class ServicePage(Document):
    """A page of services."""

    items: tuple[ServiceRow, ...]
    next: str | None = None
    """Cursor of the next page; null on the last"""


@router.get("/services")
async def list_services(
    state: State,
    allowed: Allowed,
    *,
    team: Annotated[str, Query(max_length=48)] = "",
    promise: Annotated[str, Query(max_length=48)] = "",
    phase: Phase | None = None,
    label: Annotated[Sequence[str], Query(max_length=20, description="KEY=VALUE; all must fit")] = (),
    where: Annotated[str, Query(max_length=MAX_WHERE_CHARS, description="CEL, as of `bond service list`")] = "",
    ended: Annotated[bool, Query(description="Also those that are decommissioned")] = False,
    sort: Sort = "id",
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = "",
) -> ServicePage:
    """List services: those the caller may see, a page at a time."""
    labels = _labels(label)
    expression = values_filter(where)
    cursors = Cursors(
        list="services",
        team=team,
        promise=promise,
        phase=phase,
        labels=labels,
        where=where,
        ended=ended,
        sort=sort,
    )
    by, descending = sort.removeprefix("-"), sort.startswith("-")
    after = _place(cursors.decode(cursor), by)
    permitted = allowed.filter("service.read")
    await state.services.ready()

    def shown(entry: Entry) -> bool:
        row = entry.row
        return (
            (ended or entry.alive)
            and (not team or row.team == team)
            and (not promise or row.promise == promise)
            and (not phase or row.phase == phase)
            and labels.items() <= row.labels.items()
            and permitted(entry.target)
            and (not where or expression(entry.values))
        )

    placed = state.services.sorted_by(by, descending=descending, after=after)
    page, following = cut((item for item in placed if shown(item[1])), limit, cursors, lambda item: item[0])
    return ServicePage(items=tuple(entry.row for _, entry in page), next=following)


@router.get("/fleet")
async def show_fleet(state: State, allowed: Allowed) -> FleetDocument:
    """Count the services that the caller may see, by phase, team, promise and health."""
    await state.services.ready()
    everywhere = allowed.decide("service.read").allowed
    return counted(state.services, None if everywhere else allowed.filter("service.read"))


@router.get("/services/{team}/{name}")
async def show_service(bond: Bond, allowed: Allowed, team: Team, name: Name) -> ServiceDocument:
    """Show one service."""
    document = await bond.services.get(f"{team}/{name}")
    allowed.decide("service.read", target_of(document)).require()
    return document


def target_of(service: ServiceRow | ServiceDocument) -> Target:
    """A service as access documents see it."""
    return Target(team=service.team, promise=service.promise, labels=service.labels, name=service.id)


def _labels(texts: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    wrong = next((key for key, equals, _ in pairs if not equals or not key), None)
    if wrong is not None:
        raise InvalidInput(f"the label {wrong[:80]!r} is not KEY=VALUE", where="label")
    return {key: value for key, _, value in pairs}


def _place(place: Any, by: str) -> Place | None:
    match place:
        case None:
            return None
        case [str() | float() as key, str(name)] if isinstance(key, float) == (by == "changed_at") and by in SORTS:
            return key, name
    raise CursorInvalid("that is no cursor of this list", where="cursor", hint="send `next` of the page before")
