"""The codec server, `python -m bondstone.workers.codec`: lets Temporal's UI and command show what is encrypted.

It opens (`POST /decode`) and seals (`POST /encode`) payloads for whoever shows the token, as
`Authorization: Bearer TOKEN`, or, for a UI without a login, which sends no header, as the first part of the path:
`/TOKEN/decode`. Pages of one origin only may ask, those of the UI. It knows the payload keys and nothing else: not
Temporal, not the store.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware
from google.protobuf.json_format import MessageToJson, Parse, ParseError
from temporalio.api.common.v1 import Payload, Payloads

from bondstone.base import logs
from bondstone.base.errors import BondError, SettingsInvalid
from bondstone.base.processes import hide_memory, leave
from bondstone.base.settings import Settings
from bondstone.store.crypto import KeyRing
from bondstone.temporal.payloads import SealedPayloads
from bondstone.terminal.output import OutputFormat, print_error

MAX_BODY_BYTES: Final = 16 * 1024 * 1024
"""Four times what Temporal takes in one message."""

MIN_TOKEN_CHARS: Final = 20
TOKEN_VARIABLE: Final = "BOND_CODEC_TOKEN"  # noqa: S105 - the name of it

HEALTH_PATH: Final = "/healthz"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = structlog.get_logger(__name__)


def main() -> int:
    """Serve until told to stop; the exit status."""
    hide_memory()
    try:
        settings = Settings.load()
        logs.configure(settings, process="codec")
        app, host, port = prepare(settings, os.environ.get(TOKEN_VARIABLE, ""))
        return asyncio.run(_serve(app, host, port))
    except BondError as error:
        print_error(error.info(), OutputFormat.TABLE)
        return error.exit_code


def prepare(settings: Settings, token: str) -> tuple[web.Application, str, int]:
    """The application, and where it listens.

    Raises:
        SettingsInvalid: something that it needs is not set.
    """
    if settings.payload_keys is None:
        raise SettingsInvalid("there are no payload keys", hint="name their ring with BOND_PAYLOAD_KEYS")
    if len(token) < MIN_TOKEN_CHARS or not token.isascii() or "/" in token:
        raise SettingsInvalid(
            f"the codec server needs a token of {MIN_TOKEN_CHARS} characters or more, without slashes",
            where=TOKEN_VARIABLE,
            hint="python -c 'import secrets; print(secrets.token_urlsafe(32))' makes one",
        )
    host, _, port = settings.codec_bind.rpartition(":")
    if not host or not port.isdigit():
        raise SettingsInvalid("BOND_CODEC_BIND is not HOST:PORT", where=settings.codec_bind)
    origin = settings.codec_origin or settings.temporal_ui
    return application(SealedPayloads(KeyRing.load(settings.payload_keys)), token, origin), host, int(port)


def application(codec: SealedPayloads, token: str, origin: str) -> web.Application:
    """The server.

    Args:
        codec: Opens and seals.
        token: Who shows it may ask.
        origin: Of the pages that may ask, `scheme://host:port`; empty for none.
    """
    app = web.Application(middlewares=[_guard(token, origin)], client_max_size=MAX_BODY_BYTES)
    for verb, convert in (("decode", codec.decode), ("encode", codec.encode)):
        for path in (f"/{verb}", f"/{{token}}/{verb}"):
            app.router.add_post(path, partial(_convert, convert))
            app.router.add_options(path, _nothing)
    app.router.add_get(HEALTH_PATH, _nothing)
    return app


def _guard(token: str, origin: str) -> Middleware:
    headers = {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Methods": "POST, OPTIONS",
        "Access-Control-Allow-Headers": "Authorization, Content-Type, X-Namespace",
        "Vary": "Origin",
    }

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        asked_by = request.headers.get("Origin", "")
        if asked_by and asked_by != origin:
            return web.Response(status=403, text="this origin may not ask")
        open_to_all = request.method == "OPTIONS" or request.path == HEALTH_PATH
        if open_to_all or _knows(request, token):
            response = await handler(request)
        else:
            response = web.Response(status=401, text="the token is missing or wrong")
        response.headers["Cache-Control"] = "no-store"
        if asked_by:
            response.headers.update(headers)
        return response

    return guarded


async def _convert(
    convert: Callable[[Sequence[Payload]], Awaitable[list[Payload]]], request: web.Request
) -> web.Response:
    try:
        converted = await convert(Parse(await request.text(), Payloads()).payloads)
    except (ParseError, UnicodeDecodeError):
        return web.Response(status=400, text="the body is not a list of payloads")
    except BondError as error:
        log.warning("refused", code=error.code, message=error.message)
        return web.Response(status=422, text=f"{error.code}: {error.message}")
    return web.json_response(text=MessageToJson(Payloads(payloads=converted)))


async def _nothing(_request: web.Request) -> web.Response:
    return web.Response(status=204)


def _knows(request: web.Request, token: str) -> bool:
    kind, _, credentials = request.headers.get("Authorization", "").partition(" ")
    shown = credentials if kind.lower() == "bearer" else request.match_info.get("token", "")
    return hmac.compare_digest(shown.encode(), token.encode())


async def _serve(app: web.Application, host: str, port: int) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    # No access log: a token may be part of the path.
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        raise SettingsInvalid(
            f"the codec server cannot listen: {error.strerror}", where=f"{host}:{port}", hint="set BOND_CODEC_BIND"
        ) from error
    log.info("ready", bind=f"{host}:{port}")
    await stop.wait()
    await runner.cleanup()
    return 0


if __name__ == "__main__":
    leave(main())
