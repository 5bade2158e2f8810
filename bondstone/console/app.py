"""The console as the API process mounts it: pages, static files, and refusals as pages."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from bondstone.api import problems
from bondstone.base.errors import BondError
from bondstone.console import (
    approvals,
    campaigns,
    catalogue,
    fleet,
    ledger,
    logs,
    new_campaign,
    notifications,
    overview,
    pages,
    publishing,
    refusals,
    schedules,
    services,
    session,
    sign_in,
)
from bondstone.console.pages import problem

STATIC: Final = Path(__file__).with_name("static")
_API: Final = ("/api/", "/healthz", "/mcp", "/backstage")


def mount(app: FastAPI) -> None:
    """Serve the console beside the API; refusals of its pages are pages, those of the API stay problem details."""
    for each in (
        sign_in.router, pages.router, overview.router, approvals.router, publishing.router, catalogue.router,
        fleet.router, services.router, new_campaign.router, campaigns.router, schedules.router, ledger.router,
        refusals.router, notifications.router, logs.router,
    ):  # fmt: skip
        app.include_router(each)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_exception_handler(session.NotSignedIn, session.to_sign_in)
    app.add_exception_handler(BondError, _refusal)


async def _refusal(request: Request, error: Exception) -> Response:
    if not isinstance(error, BondError):
        raise error
    if request.url.path.startswith(_API):
        return problems.refuse(request, error)
    try:
        visitor = await session.visitor(request, request.app.state.bondstone)
    except (session.NotSignedIn, BondError):
        visitor = None
        problems.note_refusal(request, error)
    return problem(error, visitor)
