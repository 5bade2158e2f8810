"""The trace of a request: the caller's, by its `traceparent` header, continued into what the request starts."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bondstone.api.request_names import method_of, route_of
from bondstone.base.tracing import spans

_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Have no span of their own: some of them are streams, and none of them starts anything."""
_FAILED: Final = 500


class Traced:
    """ASGI middleware: being in the caller's trace while a request is answered.

    Args:
        app: What answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request in the trace that its header names; one that is malformed is no header."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        caller = spans.SpanPlace.parse(Headers(scope=scope).get(spans.HEADER, ""))
        parent = str(caller) if caller else spans.here()
        with spans.inside(parent):
            if scope["method"] in _READS:
                await self._app(scope, receive, send)
                return
            name = f"HTTP {method_of(scope)}".strip()
            with spans.span(name, parent=parent, kind="SERVER") as span:
                await self._app(scope, receive, _noted(send, scope, span))


def _noted(send: Send, scope: Scope, span: spans.Span) -> Send:
    """A `send` that tells the span how the request was answered, and by which route: never its path."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            span.set("http.response.status_code", message["status"])
            if route := route_of(scope):
                span.set("http.route", route)
            if message["status"] >= _FAILED:
                span.fail(f"HTTP {message['status']}")
        await send(message)

    return sent
