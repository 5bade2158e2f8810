"""Pages of the whole: home, policies and access, platform."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from starlette.responses import HTMLResponse, Response

from bondstone import __version__
from bondstone.api.index.services import Entry
from bondstone.api.state import State
from bondstone.base.errors import BondError
from bondstone.console.approvals import target
from bondstone.console.campaigns.campaigns import readable
from bondstone.console.pages import View, counts_of, piece, shown
from bondstone.console.security import HEADERS
from bondstone.console.session import Visit
from bondstone.model.campaign.state import CampaignStatus
from bondstone.model.service import Health, Phase

MAX_TROUBLED = 20
STOPPED = frozenset({CampaignStatus.PAUSED, CampaignStatus.AWAITING_APPROVAL})
TROUBLE = frozenset({Phase.FAILED, Phase.DEGRADED})

router = APIRouter(include_in_schema=False)


@router.get("/")
async def home(visitor: Visit, state: State) -> Response:
    """What needs the visitor, then the fleet."""
    await state.services.ready()
    permitted = visitor.permissions.filter("service.read")
    listed, campaigns = await asyncio.gather(visitor.bond.approvals.list(), readable(visitor))
    approvals = [item for item in listed if permitted(target(state, item))]
    campaigns = [row for row in campaigns if row.ended_at is None]
    troubled = sorted(
        (entry.row for entry in state.services.entries() if _needs_attention(entry) and permitted(entry.target)),
        key=lambda row: row.id,
    )
    drifted = sorted(
        (
            entry.row
            for entry in state.services.entries()
            if entry.row.drift and entry.alive and permitted(entry.target)
        ),
        key=lambda row: row.id,
    )
    counts = counts_of(visitor, state)
    stopped = [row for row in campaigns if row.status in STOPPED]
    waiting = counted(len(approvals), "plan waits", "plans wait") if approvals else "Nothing waits"
    trouble = counted(len(troubled), "service needs", "services need") if troubled else "no service needs"
    drift = f"; {counted(len(drifted), 'has', 'have')} drifted" if drifted else ""
    view = View(
        "home.html", "/", sentence=f"{waiting} for an approval; {trouble} attention{drift}.",
        approvals=approvals, troubled=troubled[:MAX_TROUBLED], drifted=drifted[:MAX_TROUBLED],
        more_drifted=len(drifted) > MAX_TROUBLED, more_troubled=len(troubled) > MAX_TROUBLED,
        stopped=stopped, campaigns=[row for row in campaigns if row.status not in STOPPED],
        phases=sorted(counts.phases.items()),
    )  # fmt: skip
    return shown(view, visitor)


def counted(number: int, one: str, several: str) -> str:
    """A number with its noun: `1 plan waits`, `3 plans wait`."""
    return f"{number} {one if number == 1 else several}"


def _needs_attention(entry: Entry) -> bool:
    row = entry.row
    return entry.alive and (row.phase in TROUBLE or row.health == Health.UNHEALTHY)


@router.get("/rules")
async def rules(visitor: Visit, state: State) -> Response:
    """Policies in force, the access document, and what it gives the visitor."""
    visitor.permissions.decide("policy.read").require()
    sets = await visitor.bond.policies.list()
    access = await state.authenticator.access()
    decide = visitor.permissions.decide
    may_read = decide("access.read").allowed
    published = await state.store.access.current() if may_read else None
    written = published.source if published else ""
    view = View(
        "rules.html", "/rules", sets=sets, current=await visitor.bond.policies.get() if sets else None,
        access=access.document.model_dump(mode="json") if access.document and may_read else None,
        access_version=access.version, access_source=written,
        may_check=decide("operation.plan").allowed, may_publish=decide("policy.publish").allowed,
        may_publish_access=decide("access.publish").allowed and may_read,
        grants=[f"{', '.join(grant.roles)} {grant.where()}" for grant in visitor.permissions.grants],
    )  # fmt: skip
    return shown(view, visitor)


@router.get("/platform")
async def platform(visitor: Visit, state: State) -> Response:
    """Queues, workers and builds."""
    visitor.permissions.decide("worker.read").require()
    queues = await visitor.bond.workers.queues(state.settings.pools)
    may_notify = visitor.permissions.decide("notification.read").allowed
    receivers = await state.store.notifications.list() if may_notify else []
    view = View(
        "platform.html", "/platform", receivers=receivers, may_notify=may_notify, queues=queues,
        version=__version__, temporal_ui=state.settings.temporal_ui,
    )  # fmt: skip
    return shown(view, visitor)


@router.get("/platform/builds")
async def builds(visitor: Visit) -> Response:
    """The builds of the workers and what each holds: a piece of the platform's page, which does not wait."""
    visitor.permissions.decide("worker.read").require()
    try:
        listed = await visitor.bond.workers.list()
    except BondError:
        listed = []  # a server without worker builds says so by an error
    return HTMLResponse(piece("builds.html", builds=listed), headers=HEADERS)
