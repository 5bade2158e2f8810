"""Errors as problem details (RFC 9457), with our code, place, hint and single findings."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import compile_path

from bondstone.base.errors import (
    BondError,
    InvalidInput,
    MethodNotAllowed,
    NotFound,
    Problem,
    RequestInvalid,
)
from bondstone.base.models import Document

MEDIA_TYPE: Final = "application/problem+json"
TYPES: Final = "tag:bondstone.dev,2026:errors#"
"""Begins the `type` of every problem; the code follows, which is an anchor of docs/reference/errors.md. A tag (RFC
4151) is the same at every installation, offline too; a relative reference would be another URI at each of them,
and an address on the internet would promise a page that a platform without internet cannot open."""
MAX_PROBLEMS: Final = 50
RETRY_SECONDS: Final = 2
"""When to come back after a failure that may pass."""

log = structlog.get_logger(__name__)


class ProblemDocument(Document):
    """Why a request was not carried out."""

    type: str = Field(pattern="^tag:bondstone[.]dev,2026:errors#[A-Z0-9_]+$")
    """The code as a URI, a tag; its fragment is the anchor of the code in docs/reference/errors.md"""
    title: str
    """The HTTP status in words"""
    status: int
    """The HTTP status"""
    detail: str
    """What went wrong and why"""
    code: str
    """Stable name of the error; docs/reference/errors.md lists them"""
    where: str = ""
    """The thing it happened to"""
    hint: str = ""
    """What to do next"""
    problems: tuple[Problem, ...] = Field(default=(), max_length=MAX_PROBLEMS)
    """Single findings, when there are several"""

    @classmethod
    def of(cls, error: BondError) -> ProblemDocument:
        """From one of our errors."""
        return cls(
            type=f"{TYPES}{error.code}",
            title=HTTPStatus(error.http_status).phrase,
            status=error.http_status,
            detail=error.message,
            code=error.code,
            where=error.where,
            hint=error.hint,
            problems=error.problems[:MAX_PROBLEMS],
        )


def response(error: BondError) -> Response:
    """The answer to a request that failed with one of our errors."""
    headers = {"Cache-Control": "no-store"}
    if error.http_status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="bondstone"'
    if error.transient:
        headers["Retry-After"] = str(getattr(error, "retry_after_seconds", RETRY_SECONDS))
    document = ProblemDocument.of(error).model_dump(mode="json")
    return JSONResponse(document, error.http_status, headers, MEDIA_TYPE)


def note_refusal(request: Request, error: BondError) -> None:
    """Put a refusal of access on record, in a process that keeps one."""
    state = getattr(request.app.state, "bondstone", None)
    if state is not None:
        state.refusals.note(request, error)


def install(app: FastAPI) -> None:
    """Answer every failure of the app's handlers as problem details."""
    app.add_exception_handler(BondError, refuse)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, _unexpected)


def refuse(request: Request, error: Exception) -> Response:
    """Log one of our errors and answer with it."""
    if not isinstance(error, BondError):
        raise TypeError("registered for our errors only")
    if error.http_status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("failed", method=request.method, path=request.url.path, code=error.code, message=str(error))
        return response(error)
    return _answer(request, error)


def _answer(request: Request, error: BondError) -> Response:
    note_refusal(request, error)
    log.info(
        "refused", method=request.method, path=request.url.path, status=error.http_status, code=error.code,
        message=error.message,
    )  # fmt: skip
    return response(error)


def invalid(request: Request, error: Exception) -> Response:
    """What does not fit the description: each finding with its place."""
    if not isinstance(error, RequestValidationError):
        raise TypeError("registered for invalid requests only")
    problems = [_problem(item) for item in error.errors()]
    if any(item["type"] == "json_invalid" for item in error.errors()):
        return _answer(request, RequestInvalid("the body is not JSON", problems=problems))
    return _answer(
        request,
        InvalidInput(
            "the request does not fit the schema",
            problems=problems,
            where=f"{request.method} {request.url.path}",
            hint="/api/v1/openapi.json describes every request",
        ),
    )


def _problem(item: dict[str, Any]) -> Problem:
    place = ".".join(str(part) for part in item["loc"])
    return Problem(message=f"{place}: {item['msg']}"[:500])


def http(request: Request, error: Exception) -> Response:
    """What the framework refuses by itself: no such path, another method, a body that cannot be read."""
    if not isinstance(error, HTTPException):
        raise TypeError("registered for HTTP errors only")
    where = f"{request.method} {request.url.path}"
    ours: BondError
    if error.status_code == HTTPStatus.NOT_FOUND:
        ours = NotFound("there is nothing at this address", where=where, hint="/api/v1/openapi.json lists them")
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        ours = MethodNotAllowed("this address does not take this method", where=where)
    else:
        ours = RequestInvalid(str(error.detail), where=where)
    answer = _answer(request, ours)
    answer.headers.update(error.headers or {})
    if "Allow" in answer.headers:  # the framework names the methods of one handler of the address only
        answer.headers["Allow"] = _methods(request) or answer.headers["Allow"]
    return answer


def _methods(request: Request) -> str:
    """Every method that the address has by the description of the API; empty where that does not have it."""
    paths: dict[str, dict[str, Any]] = request.app.openapi()["paths"]
    path = request.url.path
    item = paths.get(path) or next((paths[each] for each in paths if compile_path(each)[0].match(path)), {})
    return ", ".join(sorted(method.upper() for method in item))


def _unexpected(request: Request, error: Exception) -> Response:
    log.error("unexpected failure", method=request.method, path=request.url.path, exc_info=error)
    message = f"unexpected error: {type(error).__name__}"
    return response(BondError(message, hint="the log of the API says more"))
