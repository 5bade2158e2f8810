"""The FastAPI application: guard, errors, the routers of `/api/v1`, and those that other packages mount."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, FastAPI

from bondstone import __version__
from bondstone.api import guard, problems
from bondstone.api.routes import ROUTERS, health
from bondstone.api.state import ApiState
from bondstone.base.settings import Settings


def create_app(settings: Settings, state: ApiState, routers: Sequence[APIRouter] = ()) -> FastAPI:
    """The application.

    Args:
        settings: Of the process.
        state: The connections that its handlers use.
        routers: Mounted beside the API: pages of the console, the feed of Backstage. A handler gets what it needs
            by the dependencies of `bondstone.api.state`: `Caller`, `Bond`, `State`.
    """
    app = FastAPI(
        title="Bondstone",
        version=__version__,
        description="Everything as a service: the nouns and verbs of `bond` over HTTP.",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses={"default": {"model": problems.ProblemDocument, "description": "Why it was not carried out"}},
    )
    app.state.bondstone = state
    app.add_middleware(guard.Guard, allowed_hosts=guard.hosts(settings))
    problems.install(app)
    app.include_router(health.router)
    for router in ROUTERS:
        app.include_router(router, prefix="/api/v1")
    for router in routers:
        app.include_router(router)
    return app
