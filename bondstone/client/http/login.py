"""Signing in from a terminal: the device grant, or a browser that comes back to this machine."""

from __future__ import annotations

import asyncio
import hmac
import secrets
import threading
import webbrowser
from collections.abc import Callable, Mapping
from html import escape
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from bondstone.base.errors import TokenExpired, TokenInvalid, Unauthenticated
from bondstone.base.issuer_settings import IssuerSettings
from bondstone.client.http.sign_ins import SignIn, expiry_of, with_tokens
from bondstone.identity.issuer_keys import IssuerKeys
from bondstone.identity.json_web_tokens import nonce_of
from bondstone.identity.provider import DeviceCode, Provider, ProviderTokens

__all__ = [
    "DeviceCode",
    "ProviderTokens",
    "by_browser",
    "by_device",
    "renewed",
    "revoke",
    "sign_in_from",
    "takes_devices",
]

CALLBACK: Final = "/callback"
BROWSER_SECONDS: Final = 300.0
"""How long a person may take in the browser."""
_MAX_ADDRESS: Final = 8192

Tell = Callable[[str], None]


async def by_device(settings: IssuerSettings, show: Callable[[DeviceCode], None]) -> ProviderTokens:
    """Sign in with a code that the person types into a browser anywhere.

    Args:
        settings: Issuer, client and scopes.
        show: Told the code and where to type it.

    Raises:
        InvalidInput: the provider has no device grant.
        Unauthenticated: the person refused, or took too long.
        Unreachable: the provider does not answer.
    """
    keys = IssuerKeys()
    try:
        provider = Provider(settings, keys)
        device = await provider.begin_device()
        show(device)
        return await provider.wait_for_device(device)
    finally:
        await keys.close()


async def takes_devices(settings: IssuerSettings) -> bool:
    """Whether the provider has the device grant."""
    keys = IssuerKeys()
    try:
        return await Provider(settings, keys).takes_devices()
    finally:
        await keys.close()


async def by_browser(settings: IssuerSettings, tell: Tell, *, start: bool = True) -> ProviderTokens:
    """Sign in with a browser on this machine, which comes back to a port of this process (RFC 8252).

    Args:
        settings: Issuer, client and scopes.
        tell: Told the address to open.
        start: Open it.

    Raises:
        TokenExpired: nobody signed in within five minutes.
        Unauthenticated: the provider refused.
        Unreachable: the provider does not answer.
    """
    keys = IssuerKeys()
    state = secrets.token_urlsafe(24)
    listener = _Listener(state)
    try:
        provider = Provider(settings, keys)
        attempt = provider.begin(listener.address)
        url = await provider.authorization_url(attempt, state, offline=True)
        tell(url)
        if start:
            await asyncio.to_thread(webbrowser.open, url)
        answer = await listener.answer(BROWSER_SECONDS)
        if answer.get("error") or not answer.get("code"):
            reason = answer.get("error_description") or answer.get("error") or "no code came back"
            raise Unauthenticated(f"{settings.issuer} did not sign you in: {reason[:300]}")
        if answer.get("iss", settings.issuer) != settings.issuer:
            raise TokenInvalid(f"another provider answered: {answer['iss'][:200]}")
        tokens = await provider.redeem(attempt, answer["code"])
        if nonce_of(tokens.id_token) != attempt.nonce:
            raise TokenInvalid("the token was made for another sign-in", hint="start the sign-in again")
        return tokens
    finally:
        listener.close()
        await keys.close()


def renewed(sign_in: SignIn, url: str) -> SignIn:
    """The sign-in with a new token. Blocks; not for the thread of an event loop.

    Raises:
        TokenExpired: the provider does not renew it.
        Unreachable: the provider does not answer.
    """
    again = f"`bond login` signs in again at {url}"
    if not sign_in.refresh_token:
        raise TokenExpired("your sign-in has expired, and the provider gave no refresh token", hint=again)

    async def refresh() -> ProviderTokens:
        keys = IssuerKeys()
        try:
            return await Provider(_settings(sign_in), keys).refresh(sign_in.refresh_token)
        finally:
            await keys.close()

    try:
        tokens = asyncio.run(refresh())
    except Unauthenticated as error:
        raise TokenExpired("your sign-in has expired", where=error.message, hint=again) from error
    return with_tokens(sign_in, tokens.id_token, tokens.refresh_token)


async def revoke(sign_in: SignIn) -> bool:
    """Have the provider end the sign-in; False where it has no way to.

    Raises:
        Unauthenticated: the provider refuses.
        Unreachable: the provider does not answer.
    """
    if not sign_in.refresh_token:
        return False
    keys = IssuerKeys()
    try:
        return await Provider(_settings(sign_in), keys).revoke(sign_in.refresh_token)
    finally:
        await keys.close()


def sign_in_from(settings: IssuerSettings, tokens: ProviderTokens) -> SignIn:
    """What is kept of a sign-in."""
    return SignIn(
        issuer=settings.issuer,
        client_id=settings.client_id,
        id_token=tokens.id_token,
        refresh_token=tokens.refresh_token,
        expires_at=expiry_of(tokens.id_token),
    )


def _settings(sign_in: SignIn) -> IssuerSettings:
    # RFC 6749, section 6: without a scope a refresh has that of the sign-in.
    return IssuerSettings(issuer=sign_in.issuer, client_id=sign_in.client_id, scopes=())


class _Listener:
    """A server on loopback that takes one answer: the provider's, by way of the browser.

    Args:
        state: The answer must carry it; others are refused and waited past.
    """

    def __init__(self, state: str) -> None:
        loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[Mapping[str, str]] = loop.create_future()

        def deliver(answer: Mapping[str, str]) -> None:
            if not self._answer.done():
                self._answer.set_result(answer)

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self) -> None:
                place = urlsplit(self.path[:_MAX_ADDRESS])
                values = {name: each[0] for name, each in parse_qs(place.query).items()}
                known = place.path == CALLBACK and hmac.compare_digest(values.get("state", ""), state)
                words = "You are signed in; this window can be closed." if known else "This is not the sign-in."
                if known and "error" in values:
                    words = f"The sign-in was refused: {values.get('error_description') or values['error']}"
                content = f"<!doctype html><title>bond login</title><p>{escape(words)}</p>".encode()
                self.send_response(200 if known else 404)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(content)
                if known:
                    loop.call_soon_threadsafe(deliver, values)

            def log_message(self, *_arguments: Any) -> None:
                """Print nothing: addresses hold the code."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        """Where the browser is sent back to."""
        return f"http://127.0.0.1:{self._server.server_port}{CALLBACK}"

    async def answer(self, seconds: float) -> Mapping[str, str]:
        """The parameters that came back.

        Raises:
            TokenExpired: none came in time.
        """
        try:
            async with asyncio.timeout(seconds):
                return await self._answer
        except TimeoutError:
            raise TokenExpired(
                f"nobody signed in within {seconds:g} s", hint="`bond login` starts again"
            ) from None

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()
