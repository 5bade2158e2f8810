"""`/api/v1/services`: instances of promises."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from bondstone.api.state import Allowed, Bond
from bondstone.base.names import NAME_PATTERN
from bondstone.client.documents.service import ServiceDocument
from bondstone.model.identity import Target
from bondstone.temporal.listing import ServiceRow

router = APIRouter(prefix="/services", tags=["services"])

Team = Annotated[str, Path(pattern=NAME_PATTERN, description="team that owns the service")]
Name = Annotated[str, Path(pattern=NAME_PATTERN, description="name of the service in its team")]


@router.get("")
async def list_services(bond: Bond, allowed: Allowed) -> list[ServiceRow]:
    """List services, by id."""
    may_see = allowed.filter("service.read")
    return [row for row in await bond.services() if may_see(target_of(row))]


@router.get("/{team}/{name}")
async def show_service(bond: Bond, allowed: Allowed, team: Team, name: Name) -> ServiceDocument:
    """Show one service."""
    document = ServiceDocument.of(await bond.service(f"{team}/{name}"), bond.settings)
    allowed.decide("service.read", target_of(document)).require()
    return document


def target_of(service: ServiceRow | ServiceDocument) -> Target:
    """A service as access documents see it."""
    return Target(team=service.team, promise=service.promise, labels=service.labels, name=service.id)
