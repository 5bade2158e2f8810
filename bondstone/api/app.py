"""The FastAPI application: guard, errors, the routers of `/api/v1`, and those that other packages mount."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Final

from fastapi import APIRouter, Depends, FastAPI
from fastapi.telemetry import TelemetryConfig

from bondstone.api import guard, openapi, problems, tracing
from bondstone.api.parameters import known_query
from bondstone.api.routes import ROUTERS, health
from bondstone.api.state import ApiState
from bondstone.base.settings import Settings

_SILENT: Final[TelemetryConfig] = {
    "tracing": False, "operation_spans": False, "metrics": False, "logs": False, "auto_configure": False,
}  # fmt: skip
"""FastAPI's own spans and logs have whole addresses and messages of errors, which may hold secrets."""


def create_app(settings: Settings, state: ApiState | None, routers: Sequence[APIRouter] = ()) -> FastAPI:
    """The application.

    Args:
        settings: Of the process.
        state: The connections that its handlers use; None where it is only described.
        routers: Mounted beside the API: pages of the console, the feed of Backstage. A handler gets what it needs
            by the dependencies of `bondstone.api.state`: `Caller`, `Bond`, `State`.
    """
    app = FastAPI(
        telemetry=_SILENT,
        generate_unique_id_function=openapi.operation_id,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses={"default": {"model": problems.ProblemDocument, "description": "Why it was not carried out"}},
    )
    app.state.bondstone = state
    app.openapi = cache(lambda: openapi.describe(app))  # type: ignore[method-assign] # as FastAPI's docs say to
    noted = state.refusals.note if state is not None else None
    app.add_middleware(tracing.Traced)
    app.add_middleware(guard.Guard, allowed_hosts=guard.hosts(settings), noted=noted)
    problems.install(app)
    app.include_router(health.router)
    for router in ROUTERS:
        app.include_router(router, prefix="/api/v1", dependencies=[Depends(known_query)])
    for router in routers:
        app.include_router(router)
    return app
