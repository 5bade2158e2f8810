"""The console as the API process mounts it: pages, static files, and refusals as pages."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from bondstone.api import problems
from bondstone.base.errors import (
    BondError,
    InvalidInput,
    MethodNotAllowed,
    NotFound,
    Problem,
    RequestInvalid,
)
from bondstone.console import (
    approvals,
    catalogue,
    fleet,
    ledger,
    logs,
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
from bondstone.console.campaigns import campaigns, new_campaign
from bondstone.console.pages import answered, problem
from bondstone.console.refill import page_again

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
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)


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
    typed = getattr(request.state, "typed", None)
    if visitor is not None and typed is not None:
        page = await page_again(request, typed, error)
        if page is not None:
            return answered(page, visitor, error)
    return problem(error, visitor)


async def _invalid(request: Request, error: Exception) -> Response:
    """A mistake in the address of a page, as a page."""
    if request.url.path.startswith(_API) or not isinstance(error, RequestValidationError):
        return problems.invalid(request, error)
    findings = [Problem(message=f"{item['loc'][-1]}: {item['msg']}"[:200]) for item in error.errors()]
    words = "the address of this page has a parameter that the page does not accept"
    return await _refusal(request, InvalidInput(words, problems=findings, hint="go back, or correct the address"))


async def _http(request: Request, error: Exception) -> Response:
    """An address where there is no page, as a page."""
    if request.url.path.startswith((*_API, "/static/")) or not isinstance(error, HTTPException):
        return problems.http(request, error)
    if error.status_code == HTTPStatus.NOT_FOUND:
        return await _refusal(request, NotFound("there is no page at this address", where=request.url.path[:200]))
    refused: BondError = RequestInvalid(str(error.detail))
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        refused = MethodNotAllowed("this address takes forms only", hint="go to the page that the form is on")
    answer = await _refusal(request, refused)
    answer.headers.update(error.headers or {})
    return answer
