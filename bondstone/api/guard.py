"""What a request must be before any handler sees it: for this host, from this origin, small, and quick.

`Host` is checked against the names the platform is reached by, so that a page of another site cannot reach it
under a name of its own (DNS rebinding); `Origin` against the same, so that such a page cannot send it anything.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable
from typing import Final
from urllib.parse import urlsplit

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bondstone.api.problems import response
from bondstone.api.request_names import method_of
from bondstone.base.errors import (
    AddressTooLong,
    BodyTooLarge,
    BondError,
    HeadersTooLarge,
    HostUnknown,
    OriginRefused,
    RequestInvalid,
    RequestTooSlow,
)
from bondstone.base.settings import Settings

MAX_BODY_BYTES: Final = 1024 * 1024
MAX_UPLOAD_BYTES: Final = 9 * 1024 * 1024
"""Of a revision, a state or a policy set that is uploaded."""
UPLOAD_TYPES: Final = ("application/gzip", "application/octet-stream", "application/x-tar", "multipart/form-data")
BODY_SECONDS: Final = 30.0
"""How long a client may take to send its body."""
MAX_HEADERS: Final = 100
MAX_HEADER_BYTES: Final = 32 * 1024
MAX_URL_BYTES: Final = 8 * 1024
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})

FEED_PATHS: Final = "/backstage/v1/"
"""Below it addresses hold a secret, which logs do not."""
MAX_LOGGED_CHARS: Final = 500
"""Of a path."""
OPEN_PATHS: Final = frozenset({"/healthz"})
"""Answered whatever the `Host`: kubelet asks by the address of the pod."""

log = structlog.get_logger(__name__)


def hosts(settings: Settings) -> frozenset[str]:
    """The names, without ports, that the API answers to."""
    named = urlsplit(settings.api).hostname or ""
    bound = settings.api_bind.rpartition(":")[0]
    listed = {host.lower() for host in settings.api_hosts}
    return LOOPBACK | listed | ({named, bound} - {"", "0.0.0.0", "[::]"})  # noqa: S104 - compared


class Guard:
    """ASGI middleware; see the module.

    Args:
        app: What it guards.
        allowed_hosts: Names, without ports, that the API answers to.
        body_seconds: How long a client may take to send its body.
        noted: Told of each request that is refused here.
    """

    def __init__(
        self,
        app: ASGIApp,
        allowed_hosts: Collection[str],
        body_seconds: float = BODY_SECONDS,
        noted: Callable[[Request, BondError], None] | None = None,
    ) -> None:
        self._app = app
        self._noted = noted
        self._hosts = frozenset(allowed_hosts)
        self._body_seconds = body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request and pass it on with its body read."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            self._check(scope, headers)
            body = await self._read(headers, receive)
        except BondError as error:
            path = _shown(scope["path"])
            log.info(
                "refused", method=method_of(scope), path=path, status=error.http_status, code=error.code,
                message=error.message,
            )  # fmt: skip
            if self._noted is not None:
                self._noted(Request(scope), error)
            await response(error)(scope, receive, send)
            return
        if body is None:
            return  # the client has gone
        await self._app(scope, _replay(body, receive), _hardened(send))

    def _check(self, scope: Scope, headers: Headers) -> None:
        if len(scope["headers"]) > MAX_HEADERS or sum(map(_size, scope["headers"])) > MAX_HEADER_BYTES:
            raise HeadersTooLarge(
                f"the request has more than {MAX_HEADERS} headers, or more than {MAX_HEADER_BYTES // 1024} KiB",
                hint="drop cookies and headers that the API does not need",
            )
        if len(scope.get("raw_path", b"")) + len(scope["query_string"]) > MAX_URL_BYTES:
            raise AddressTooLong(
                f"the address is longer than {MAX_URL_BYTES} bytes",
                hint="filter by less at once",
            )
        if b"\0" in scope.get("raw_path", b"") or "\0" in scope["path"]:
            raise RequestInvalid("the address has a null character", hint="take %00 out of it")
        host = headers.get("host", "")
        if scope["path"] not in OPEN_PATHS and _name(host) not in self._hosts:
            raise HostUnknown(
                f"this server is not {host[:200] or 'a host without a name'}",
                hint="use the address that `bond status` shows; BOND_API_HOSTS lists further names",
            )
        origin = headers.get("origin")
        if origin is not None and not self._is_own(origin, host):
            raise OriginRefused(
                f"pages of {origin[:200]} may not use this API",
                hint="use the console of this server; other programs call the API without an Origin header",
            )

    def _is_own(self, origin: str, host: str) -> bool:
        try:
            place = urlsplit(origin)
        except ValueError:
            return False
        return place.scheme in {"http", "https"} and place.netloc.lower() == host.lower()

    async def _read(self, headers: Headers, receive: Receive) -> bytes | None:
        """The whole body; None when the client has gone meanwhile."""
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        limit = MAX_UPLOAD_BYTES if kind in UPLOAD_TYPES else MAX_BODY_BYTES
        length = headers.get("content-length", "")
        if length.isdigit() and int(length) > limit:
            raise BodyTooLarge(
                f"the body is larger than {limit // 1024} KiB",
                hint="leave out what is not needed, or send it in several requests",
            )
        deadline = time.monotonic() + self._body_seconds
        body = bytearray()
        while True:
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    message = await receive()
            except TimeoutError:
                raise RequestTooSlow(
                    f"the body did not arrive within {self._body_seconds:g} s",
                    hint="send the whole body at once, over a faster connection",
                ) from None
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if len(body) > limit:
                raise BodyTooLarge(
                    f"the body is larger than {limit // 1024} KiB",
                    hint="leave out what is not needed, or send it in several requests",
                )
            if not message.get("more_body", False):
                return bytes(body)


def _shown(path: str) -> str:
    """A path as logs may have it: the addresses of the feed hold a secret."""
    if path.startswith(FEED_PATHS):
        return f"{FEED_PATHS}…"
    return path if len(path) <= MAX_LOGGED_CHARS else f"{path[:MAX_LOGGED_CHARS]}…"


def _size(header: tuple[bytes, bytes]) -> int:
    return len(header[0]) + len(header[1])


def _name(host: str) -> str:
    """The name of a `Host` header without its port."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).lower()


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body that was read, and then what the server says."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return pending.pop() if pending else await receive()

    return replayed


_DEFAULTS: Iterable[tuple[str, str]] = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
    ("X-Frame-Options", "DENY"),
    ("Cache-Control", "no-store"),
)


def _hardened(send: Send) -> Send:
    """A `send` that adds headers which answers lack."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _DEFAULTS:
                headers.setdefault(name, value)
        await send(message)

    return sent
