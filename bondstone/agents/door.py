"""`/mcp`: the tools over streamable HTTP, in the API process, for every caller whom the API knows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from fastapi import FastAPI
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from bondstone.api.inside import InsideTransport
from bondstone.api.problems import response
from bondstone.api.state import state_of
from bondstone.base.errors import BondError

PATH: Final = "/mcp"


def mount(app: FastAPI) -> None:
    """Serve the tools at `/mcp`. Nothing is kept between two calls, so any API process answers the next one."""
    protocol = _Protocol(app)
    before = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(of: FastAPI) -> AsyncIterator[object]:
        async with before(of) as state, protocol.offered():
            yield state

    app.router.lifespan_context = lifespan  # type: ignore[assignment] # Starlette types it for stateless ones
    app.router.routes.append(Route(PATH, _Door(protocol), include_in_schema=False))


class _Protocol:
    """Answers calls. It loads its libraries with the first one: 22 MiB and half a second of CPU time.

    Args:
        app: Whose API the tools call.
    """

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._called = asyncio.Event()
        self._ready: asyncio.Future[ASGIApp] | None = None

    @asynccontextmanager
    async def offered(self) -> AsyncIterator[None]:
        """Calls are answered meanwhile."""
        self._called.clear()
        self._ready = asyncio.get_running_loop().create_future()
        running = asyncio.create_task(self._run(self._ready))
        try:
            yield
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._ready is None:
            raise RuntimeError("the application was not started")
        self._called.set()
        answer = await asyncio.shield(self._ready)
        await answer(scope, receive, send)

    async def _run(self, ready: asyncio.Future[ASGIApp]) -> None:
        await self._called.wait()
        try:
            protocol, sessions = await asyncio.to_thread(_load, self._app)
            async with sessions:
                ready.set_result(protocol)
                await asyncio.Event().wait()  # until cancelled
        except Exception as error:  # noqa: BLE001 - each call fails of it
            if not ready.done():
                ready.set_exception(error)


def _load(app: FastAPI) -> tuple[ASGIApp, AbstractAsyncContextManager[None]]:
    """What answers calls, and the sessions that must run meanwhile."""
    from mcp.server.mcpserver import Context  # noqa: PLC0415 - heavy, and only for this
    from mcp.server.transport_security import TransportSecuritySettings  # noqa: PLC0415 - as above

    from bondstone.agents.server import create_server  # noqa: PLC0415 - as above

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
    return protocol, server.session_manager.run()


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
