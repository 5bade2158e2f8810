"""Public keys of issuers: fetched when they are needed, kept for a while, fetched again for a key that is new."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import httpx2

from bondstone.base.connection_words import connection_words
from bondstone.base.errors import SettingsInvalid, TokenForeign, Unreachable
from bondstone.base.issuer_settings import LOOPBACK_HOSTS, IssuerSettings

if TYPE_CHECKING:
    from jwt import PyJWK

DISCOVERY: Final = "/.well-known/openid-configuration"
_MAX_BYTES: Final = 256 * 1024
_TIMEOUT_SECONDS: Final = 5.0
_FRESH_SECONDS: Final = 600.0
_AGAIN_SECONDS: Final = 30.0
"""An unknown key is asked for at most this often, so that made-up tokens do not become requests."""
_STALE_SECONDS: Final = 24 * 3600.0
"""Keys are used for so long while the issuer does not answer."""


@dataclass(slots=True)
class _Known:
    keys: tuple[PyJWK, ...]
    fetched: float
    tried: float


class IssuerKeys:
    """The keys of all issuers, as this process knows them.

    Args:
        client: Does the requests; by default one of its own.
    """

    def __init__(self, client: httpx2.AsyncClient | None = None) -> None:
        self._client = client
        self._known: dict[str, _Known] = {}
        self._metadata: dict[str, tuple[float, Mapping[str, Any]]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def key(self, issuer: IssuerSettings, key_id: str) -> PyJWK:
        """The key that a token names; the only one there is when it names none.

        Raises:
            TokenForeign: the issuer has no such key.
            Unreachable: the issuer does not answer, and its keys are not known.
        """

        async def read() -> Mapping[str, Any]:
            if issuer.keys_file is not None:
                return await asyncio.to_thread(_read_file, issuer)
            return await self._json(str((await self.metadata(issuer)).get("jwks_uri", "")))

        return await self._key(issuer.issuer, key_id, read)

    async def key_at(self, url: str, key_id: str) -> PyJWK:
        """The key of that id in the set at an address.

        Raises:
            TokenForeign: there is no such key.
            Unreachable: nothing answers there, and its keys are not known.
        """
        return await self._key(url, key_id, lambda: self._json(url))

    async def _key(self, name: str, key_id: str, read: Callable[[], Awaitable[Mapping[str, Any]]]) -> PyJWK:
        async with self._locks.setdefault(name, asyncio.Lock()):
            known = self._known.get(name)
            now = time.monotonic()
            match = _match(known.keys, key_id) if known else None
            old = known is None or now - known.fetched > _FRESH_SECONDS
            if (old or match is None) and (known is None or now - known.tried > _AGAIN_SECONDS):
                match = _match((await self._refresh(name, read, known)).keys, key_id)
        if match is None:
            raise TokenForeign(
                f"{name} has no key {key_id[:100]!r}" if key_id else "the token does not name its key",
                hint="the token is of another issuer, or its key was withdrawn",
            )
        return match

    async def metadata(self, issuer: IssuerSettings) -> Mapping[str, Any]:
        """What the issuer says of itself: its endpoints, by OpenID Connect discovery.

        Raises:
            Unreachable: it does not answer, or not with that.
        """
        at, document = self._metadata.get(issuer.issuer, (0.0, {}))
        if not document or time.monotonic() - at > _FRESH_SECONDS:
            document = await self._json(issuer.issuer.rstrip("/") + DISCOVERY)
            if document.get("issuer") != issuer.issuer:
                raise Unreachable(
                    f"the issuer says its name is {str(document.get('issuer'))[:200]!r}",
                    where=issuer.issuer,
                    hint="write it in the settings exactly as it names itself, a slash at the end counts",
                )
            self._metadata[issuer.issuer] = (time.monotonic(), document)
        return document

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()

    async def _refresh(
        self, name: str, read: Callable[[], Awaitable[Mapping[str, Any]]], known: _Known | None
    ) -> _Known:
        from jwt import PyJWKSet  # noqa: PLC0415 - see `bondstone.identity.json_web_tokens`
        from jwt.exceptions import PyJWTError  # noqa: PLC0415

        now = time.monotonic()
        try:
            keys = tuple(PyJWKSet.from_dict(dict(await read())).keys)
        except (Unreachable, PyJWTError) as error:
            if known is not None and now - known.fetched < _STALE_SECONDS:
                known.tried = now
                return known
            if isinstance(error, Unreachable):
                raise
            raise Unreachable(f"the keys of the issuer cannot be read: {error}", where=name) from None
        fresh = _Known(keys, now, now)
        self._known[name] = fresh
        return fresh

    async def _json(self, url: str) -> Mapping[str, Any]:
        check_address(url)
        if self._client is None:
            self._client = httpx2.AsyncClient(timeout=_TIMEOUT_SECONDS, follow_redirects=False)
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS), self._client.stream("GET", url) as answer:
                answer.raise_for_status()
                document = json.loads(await _bounded(answer))
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, TimeoutError) as error:
            raise Unreachable(
                f"the issuer does not answer: {connection_words(error)}",
                where=url,
                hint="check its address in the settings, and whether the platform may reach it",
            ) from error
        if not isinstance(document, dict):
            raise Unreachable("the issuer's answer is not a JSON object", where=url)
        return document


def check_address(url: str) -> None:
    """Refuse an address that secrets and keys must not travel to or from: one without TLS, off loopback.

    Raises:
        Unreachable: it is such an address.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK_HOSTS):
        raise Unreachable(f"the issuer names an address without TLS: {url[:200]!r}")


async def _bounded(answer: httpx2.Response) -> bytes:
    data = b""
    async for part in answer.aiter_bytes():
        data += part
        if len(data) > _MAX_BYTES:
            raise ValueError("the answer is too large")
    return data


def _match(keys: tuple[PyJWK, ...], key_id: str) -> PyJWK | None:
    usable = [key for key in keys if key.public_key_use in {None, "sig"}]
    if key_id:
        return next((key for key in usable if key.key_id == key_id), None)
    return usable[0] if len(usable) == 1 else None


def _read_file(issuer: IssuerSettings) -> Mapping[str, Any]:
    path = issuer.keys_file
    try:
        document = json.loads(path.read_bytes()) if path else None
    except (OSError, ValueError) as error:
        raise SettingsInvalid(f"the keys of {issuer.issuer} cannot be read: {error}", where=str(path)) from error
    if not isinstance(document, dict):
        raise SettingsInvalid(f"the keys of {issuer.issuer} are not a JWKS", where=str(path))
    return document
