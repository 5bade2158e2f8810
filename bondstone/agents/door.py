"""`/mcp`: the tools over streamable HTTP, in the API process, for every caller whom the API knows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from fastapi import FastAPI
from mcp.server.mcpserver import Context
from mcp.server.transport_security import TransportSecuritySettings
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from bondstone.agents.server import create_server
from bondstone.api.inside import InsideTransport
from bondstone.api.problems import response
from bondstone.api.state import state_of
from bondstone.base.errors import BondError

PATH: Final = "/mcp"


def mount(app: FastAPI) -> None:
    """Serve the tools at `/mcp`. Nothing is kept between two calls, so any API process answers the next one."""

    def transport(ctx: Context) -> InsideTransport:
        request = ctx.request_context.request
        if not isinstance(request, Request):
            raise TypeError("a call at /mcp comes by an HTTP request")
        return InsideTransport(app, request.headers.get("authorization", ""))

    server = create_server(transport)
    protocol = server.streamable_http_app(
        streamable_http_path=PATH,
        json_response=True,
        stateless_http=True,
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),  # `Guard` does
    )
    before = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(of: FastAPI) -> AsyncIterator[object]:
        async with before(of) as state, server.session_manager.run():
            yield state

    app.router.lifespan_context = lifespan  # type: ignore[assignment] # Starlette types it for stateless ones
    app.router.routes.append(Route(PATH, _Door(protocol), include_in_schema=False))


class _Door:
    """Lets in whoever the API knows. A browser's session does not count: pages have no business here.

    Args:
        protocol: What answers them.
    """

    def __init__(self, protocol: ASGIApp) -> None:
        self._protocol = protocol

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        state = state_of(request)
        try:
            principal = await state.authenticator.principal(authorization=request.headers.get("authorization", ""))
            request.state.principal = principal
            state.rates.count(principal.subject)
        except BondError as error:
            state.refusals.note(request, error)
            await response(error)(scope, receive, send)
            return
        await self._protocol(scope, receive, send)
