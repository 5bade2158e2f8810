"""How records and traces name a request: by method and route, never by what a client chooses freely."""

from __future__ import annotations

from typing import Final

from starlette.types import Scope

API: Final = "/api/v1"
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def method_of(scope: Scope) -> str:
    """The method; empty for a word of the client's own, which may have 64 KiB."""
    method: str = scope["method"]
    return method if method in METHODS else ""


def route_of(scope: Scope) -> str:
    """The route that answers, as in `/api/v1/services/{team}/{name}`; empty before it is known."""
    route: str = getattr(scope.get("route"), "path", "")
    if route and scope["path"].startswith(API) and not route.startswith(API):
        return API + route  # the router of an address does not know where it is mounted
    return route
