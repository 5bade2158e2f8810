"""The OpenAPI description, made from the routers and finished by hand where the framework does not know better."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from bondstone import __version__
from bondstone.api.problems import MEDIA_TYPE

DESCRIPTION: Final = """The nouns and verbs of `bond` over HTTP.

Every failure is a problem document (RFC 9457) with a stable `code`; `docs/reference/errors.md` lists them."""

SECURITY: Final = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API token, the token of the data directory, or a JWT of a trusted issuer",
    },
    "session": {"type": "apiKey", "in": "cookie", "name": "bond_session", "description": "Of a browser"},
}

_EVENT: Final = {
    "type": "object",
    "description": "One event of the stream; lines that begin with a colon are signs of life",
    "properties": {
        "event": {"type": "string", "description": "Its kind; `end` says that nothing will follow"},
        "id": {"type": "string", "description": "What `Last-Event-ID` resumes the stream behind"},
        "data": {"type": "string", "contentMediaType": "application/json"},
        "retry": {"type": "integer", "description": "Milliseconds to wait before connecting again"},
    },
}
_EVENTS: Final = {"text/event-stream": {"schema": _EVENT}}
_BYTES: Final = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_NOT_MODIFIED: Final = {"description": "The caller has it already"}
_METHODS: Final = frozenset({"get", "post", "put", "delete"})


def operation_id(route: APIRoute) -> str:
    """The id of an operation: the name of its function."""
    return route.name


def describe(app: FastAPI) -> dict[str, Any]:
    """The description of `/api/v1`."""
    document = get_openapi(
        title="Bondstone",
        version=__version__,
        openapi_version="3.1.0",
        description=DESCRIPTION,
        routes=app.routes,
    )
    document["security"] = [{name: []} for name in SECURITY]
    components = document["components"]
    components["securitySchemes"] = SECURITY
    for unused in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(unused, None)
    document["paths"] = {path: item for path, item in document["paths"].items() if path.startswith("/api/v1/")}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method in _METHODS:
                _finish(path, operation)
    return document


def _finish(path: str, operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    responses.pop("422", None)
    problem = responses["default"]["content"]
    if "application/json" in problem:
        problem[MEDIA_TYPE] = problem.pop("application/json")
    headers = {parameter["name"] for parameter in operation.get("parameters", ())}
    if path.endswith("/events"):
        responses["200"]["content"] = _EVENTS
        responses["204"] = {"description": "The client has heard the end"}
    elif "200" in responses and not responses["200"].get("content"):
        responses["200"]["content"] = _BYTES
    if "If-None-Match" in headers:
        responses["304"] = _NOT_MODIFIED
