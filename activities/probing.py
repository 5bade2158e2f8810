"""One look at an address, for a health probe: over in five seconds, and only where a probe may look.

The address may come from a tool's output. So its names are resolved here, every address is checked, and that very
address is connected to; a look that could reach the worker itself, its neighbours or a cloud's metadata service
would tell whoever writes promises what answers there.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final
from urllib.parse import urlsplit

from bondstone.base.connection_words import connection_words

ATTEMPT_SECONDS: Final = 5.0
"""Longest time for one look, from the name to the answer, however slowly a server answers."""

_NO_URL: Final = "the address is not an http or https URL"
_MAX_PORT: Final = 65535
_MAX_LINE_BYTES: Final = 8192
_METADATA: Final = frozenset({ip_address("fd00:ec2::254"), ip_address("100.100.100.200")})
"""Metadata services of clouds that are no link-local address."""


class _NotAllowedError(Exception):
    pass


async def look_at_http(url: str, expect: int | None, *, local: bool) -> str:
    """One GET: no redirect is followed and no body is read.

    Args:
        url: `http://` or `https://`.
        expect: The status that is healthy; without one any 2xx is.
        local: Whether loopback and link-local addresses may be looked at.

    Returns:
        Why it is not healthy; empty when it is.
    """
    try:
        host, port, secure, request = _request(url)
    except ValueError as error:
        return str(error)
    try:
        async with (
            asyncio.timeout(ATTEMPT_SECONDS),
            _connected(host, port, secure=secure, local=local) as (reader, writer),
        ):
            writer.write(request)
            await writer.drain()
            line = await reader.readuntil(b"\n")
    except _NotAllowedError as error:
        return str(error)
    except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        return f"no answer: {_reason(error)}"
    status = _status(line)
    if status is None:
        return "no answer: it does not speak HTTP"
    healthy = status == expect if expect else 200 <= status < 300  # noqa: PLR2004 - any 2xx
    return "" if healthy else f"answered {status}, expected {expect or '2xx'}"


async def look_at_tcp(address: str, *, local: bool) -> str:
    """One connection to `HOST:PORT`; why there is none, empty when there was one.

    Args:
        address: With square brackets around an IPv6 address.
        local: Whether loopback and link-local addresses may be looked at.
    """
    host, _, port = address.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port[:6]) <= _MAX_PORT:
        return "the address is not HOST:PORT"
    try:
        async with (
            asyncio.timeout(ATTEMPT_SECONDS),
            _connected(host.strip("[]"), int(port), secure=False, local=local),
        ):
            return ""
    except _NotAllowedError as error:
        return str(error)
    except (OSError, TimeoutError, ValueError) as error:
        return f"no connection: {_reason(error)}"


def is_local(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is the worker itself, its link, a metadata service, or none that anything answers at."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is None and address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None and is_local(inner):
            return True
    return (
        address.is_loopback
        or address.is_link_local
        or address.is_unspecified
        or address.is_multicast
        or address in _METADATA
    )


class _Nat64:
    """64:ff9b::/96, in which a gateway carries IPv4 addresses (RFC 6052)."""

    def __contains__(self, address: IPv6Address) -> bool:
        return int(address) >> 32 == int(IPv6Address("64:ff9b::")) >> 32


_NAT64: Final = _Nat64()


@asynccontextmanager
async def _connected(
    host: str, port: int, *, secure: bool, local: bool
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    entries = await asyncio.get_running_loop().getaddrinfo(host, port, type=1)  # SOCK_STREAM
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in entries))
    if not local and any(is_local(ip_address(each.partition("%")[0])) for each in addresses):
        raise _NotAllowedError(
            "probes may not look at this machine or its link (the setting probe_local allows it)"
        )
    reader, writer = await _first(addresses, port, host if secure else "")
    try:
        yield reader, writer
    finally:
        writer.transport.abort()  # a server that sends without end is not waited for
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _first(
    addresses: list[str], port: int, server: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """The first address that takes a connection; the last one's reason where none does."""
    context = ssl.create_default_context() if server else None
    for address in addresses[:-1]:
        with contextlib.suppress(OSError):
            return await _open(address, port, context, server)
    return await _open(addresses[-1], port, context, server)


async def _open(
    address: str, port: int, context: ssl.SSLContext | None, server: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(
        address, port, ssl=context, server_hostname=server or None, limit=_MAX_LINE_BYTES
    )


def _request(url: str) -> tuple[str, int, bool, bytes]:
    """Host, port, whether it is `https`, and what to send; raises `ValueError` in words."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError(_NO_URL) from None
    if parts.scheme not in {"http", "https"} or not host:
        raise ValueError(_NO_URL)
    secure = parts.scheme == "https"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    named = parts.netloc.rpartition("@")[2]
    if not (target + named).isascii() or any(char <= " " for char in target + named):
        raise ValueError("the address has characters that a URL does not have")
    request = f"GET {target} HTTP/1.1\r\nHost: {named}\r\nUser-Agent: bondstone\r\nConnection: close\r\n\r\n"
    return host, port or (443 if secure else 80), secure, request.encode("ascii")


def _status(line: bytes) -> int | None:
    words = line.split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or len(words[1]) != 3 or not words[1].isdigit():  # noqa: PLR2004 - RFC 9112
        return None
    return int(words[1])


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeError):
        return "the name is not one of a host"
    return connection_words(error)
