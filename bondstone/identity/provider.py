"""Signing people in with an OpenID Connect provider: code with PKCE, device grant, refresh, revocation.

Authlib makes and reads the messages. The console and `bond login` use the same `Provider`; they differ in who
keeps the `Attempt` between the two halves of a sign-in. `JsonWebTokens` checks the ID token that comes back.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpx2
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from pydantic import ValidationError

from bondstone.base.connection_words import connection_words
from bondstone.base.errors import InvalidInput, SettingsInvalid, TokenExpired, Unauthenticated, Unreachable
from bondstone.base.issuer_settings import IssuerSettings
from bondstone.base.models import Wire
from bondstone.identity.issuer_keys import IssuerKeys, check_address

_TIMEOUT_SECONDS: Final = 10.0
_VERIFIER_BYTES: Final = 48
_OFFLINE: Final = "offline_access"
_DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
_FIRST_INTERVAL: Final = 5.0
_SLOW_DOWN_SECONDS: Final = 5.0
"""By how much RFC 8628 says to wait longer at each `slow_down`."""
_MAX_REASON: Final = 300


class Attempt(Wire):
    """A sign-in that has begun: what its second half must be checked against."""

    issuer: str
    verifier: str
    """Of PKCE: proves that the one who redeems the code is the one who asked for it."""
    nonce: str
    """The ID token must carry it."""
    redirect_uri: str
    page: str = "/"
    """Where the person wanted to go."""


class DeviceCode(Wire):
    """A device grant that waits for its person (RFC 8628)."""

    device_code: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str = ""
    expires_in: float
    interval: float = _FIRST_INTERVAL


@dataclass(frozen=True, slots=True)
class ProviderTokens:
    """What a provider hands out at the end of a sign-in."""

    id_token: str
    refresh_token: str = ""


class Provider:
    """One provider, as one client of it.

    Args:
        settings: Issuer, client and scopes.
        keys: Finds its endpoints.
    """

    def __init__(self, settings: IssuerSettings, keys: IssuerKeys) -> None:
        self.settings = settings
        self._keys = keys

    def begin(self, redirect_uri: str, page: str = "/") -> Attempt:
        """A new sign-in.

        Args:
            redirect_uri: Where the provider sends the browser back to.
            page: Where the person wanted to go.
        """
        return Attempt(
            issuer=self.settings.issuer,
            verifier=secrets.token_urlsafe(_VERIFIER_BYTES),
            nonce=secrets.token_urlsafe(24),
            redirect_uri=redirect_uri,
            page=page,
        )

    async def authorization_url(self, attempt: Attempt, state: str, *, offline: bool = False) -> str:
        """Where to send the browser.

        Args:
            attempt: What `begin` made.
            state: Comes back with the code.
            offline: Ask for a refresh token, where the provider has those for the asking.

        Raises:
            Unreachable: the provider does not answer.
        """
        metadata = await self._keys.metadata(self.settings)
        scope, more = self._scope(metadata, offline=offline), {}
        if _OFFLINE in scope.split():
            more["prompt"] = "consent"  # OpenID Connect 1.0, section 11: without it the scope is ignored
        async with self._client() as client:
            url, _ = client.create_authorization_url(
                _endpoint(metadata, "authorization_endpoint"),
                state=state,
                code_verifier=attempt.verifier,
                nonce=attempt.nonce,
                redirect_uri=attempt.redirect_uri,
                scope=scope,
                **more,
            )
            return str(url)

    async def redeem(self, attempt: Attempt, code: str) -> ProviderTokens:
        """The tokens for the code that came back.

        Raises:
            Unauthenticated: the provider refuses the code.
            Unreachable: the provider does not answer.
        """
        metadata = await self._keys.metadata(self.settings)
        async with self._client(metadata) as client:
            return _tokens(
                await client.fetch_token(
                    _endpoint(metadata, "token_endpoint"),
                    grant_type="authorization_code",
                    code=code,
                    code_verifier=attempt.verifier,
                    redirect_uri=attempt.redirect_uri,
                )
            )

    async def takes_devices(self) -> bool:
        """Whether the provider has the device grant."""
        return bool((await self._keys.metadata(self.settings)).get("device_authorization_endpoint"))

    async def begin_device(self) -> DeviceCode:
        """Ask for a code that the person types into a browser anywhere.

        Raises:
            InvalidInput: the provider has no device grant.
            Unauthenticated: it refuses this client.
            Unreachable: it does not answer.
        """
        metadata = await self._keys.metadata(self.settings)
        if not metadata.get("device_authorization_endpoint"):
            raise InvalidInput(
                f"{self.settings.issuer} has no device grant",
                hint="sign in with a browser on this machine: `bond login --browser`",
            )
        async with self._client(metadata) as client:
            answer = await client.request(
                "POST",
                _endpoint(metadata, "device_authorization_endpoint"),
                auth=client.client_auth(client.token_endpoint_auth_method),
                data={"scope": self._scope(metadata, offline=True)},
            )
            return DeviceCode.model_validate(_answer_of(answer))

    async def wait_for_device(self, device: DeviceCode) -> ProviderTokens:
        """The tokens, once the person has confirmed the code.

        Raises:
            TokenExpired: nobody did in time.
            Unauthenticated: the person refused.
            Unreachable: the provider does not answer.
        """
        metadata = await self._keys.metadata(self.settings)
        interval = max(device.interval, 0.1)
        try:
            async with asyncio.timeout(device.expires_in):
                while True:
                    await asyncio.sleep(interval)
                    async with self._client(metadata, waits=True) as client:
                        try:
                            return _tokens(
                                await client.fetch_token(
                                    _endpoint(metadata, "token_endpoint"),
                                    grant_type=_DEVICE_GRANT,
                                    device_code=device.device_code,
                                )
                            )
                        except AuthlibBaseError as error:
                            if error.error == "slow_down":
                                interval += _SLOW_DOWN_SECONDS
                            elif error.error == "expired_token":
                                raise TimeoutError from error
                            elif error.error != "authorization_pending":
                                raise _refusal(self.settings.issuer, error) from error
        except TimeoutError:
            raise TokenExpired(
                f"nobody confirmed the code within {device.expires_in:g} s", hint="start the sign-in again"
            ) from None

    async def refresh(self, refresh_token: str) -> ProviderTokens:
        """New tokens for a refresh token; the refresh token stays where the provider does not change it.

        Raises:
            Unauthenticated: the provider does not take it any more.
            Unreachable: the provider does not answer.
        """
        metadata = await self._keys.metadata(self.settings)
        async with self._client(metadata) as client:
            answer = await client.refresh_token(_endpoint(metadata, "token_endpoint"), refresh_token=refresh_token)
            return _tokens({"refresh_token": refresh_token, **answer})

    async def revoke(self, refresh_token: str) -> bool:
        """End a refresh token; False where the provider has no way to.

        Raises:
            Unauthenticated: the provider refuses.
            Unreachable: the provider does not answer.
        """
        metadata = await self._keys.metadata(self.settings)
        if not metadata.get("revocation_endpoint"):
            return False
        async with self._client(metadata) as client:
            answer = await client.revoke_token(
                _endpoint(metadata, "revocation_endpoint"),
                token=refresh_token,
                token_type_hint="refresh_token",  # noqa: S106 - the kind of it
            )
            answer.raise_for_status()
            return True

    def _scope(self, metadata: Mapping[str, Any], *, offline: bool) -> str:
        scopes = list(self.settings.scopes)
        if offline and _OFFLINE in metadata.get("scopes_supported", ()) and _OFFLINE not in scopes:
            scopes.append(_OFFLINE)
        return " ".join(scopes)

    @asynccontextmanager
    async def _client(
        self, metadata: Mapping[str, Any] | None = None, *, waits: bool = False
    ) -> AsyncIterator[Any]:
        """An OAuth client whose failures are ours.

        Args:
            metadata: Of the provider, to choose how the client proves itself.
            waits: Leave the refusals of OAuth to the caller.
        """
        secret = await asyncio.to_thread(_secret, self.settings)
        taken = (metadata or {}).get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        method = "none" if not secret else next((m for m in taken if m.startswith("client_secret_")), None)
        client = AsyncOAuth2Client(
            client_id=self.settings.client_id,
            client_secret=secret or None,
            token_endpoint_auth_method=method,
            revocation_endpoint_auth_method=method,
            code_challenge_method="S256",
            timeout=_TIMEOUT_SECONDS,
            follow_redirects=False,
        )
        async with client:
            try:
                yield client
            except AuthlibBaseError as error:
                if waits:
                    raise
                raise _refusal(self.settings.issuer, error) from error
            except (httpx2.HTTPError, httpx2.InvalidURL, ValidationError, ValueError) as error:
                raise Unreachable(
                    "the sign-in provider does not answer as it should",
                    where=f"{self.settings.issuer}: {connection_words(error)[:_MAX_REASON]}",
                    hint="try again; check the issuer in the settings",
                ) from error


def _secret(settings: IssuerSettings) -> str:
    if settings.client_secret_file is None:
        return ""
    try:
        return settings.client_secret_file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise SettingsInvalid(
            f"the client's secret cannot be read: {error}", where=str(settings.client_secret_file)
        ) from error


def _endpoint(metadata: Mapping[str, Any], name: str) -> str:
    url = str(metadata.get(name) or "")
    if not url:
        raise Unreachable(f"the provider names no {name}", where=str(metadata.get("issuer", "")))
    check_address(url)
    return url


def _answer_of(answer: httpx2.Response) -> Mapping[str, Any]:
    document = answer.json()
    if not isinstance(document, dict):
        raise ValueError("the answer is not a JSON object")  # noqa: TRY004 - of the provider, not of the caller
    if "error" in document:
        raise AuthlibBaseError(str(document["error"]), str(document.get("error_description", "")))
    answer.raise_for_status()
    return document


def _tokens(answer: Mapping[str, Any]) -> ProviderTokens:
    id_token = answer.get("id_token")
    if not isinstance(id_token, str) or not id_token:
        raise Unauthenticated(
            "the provider handed out no ID token", hint="the scope `openid` must be among those it grants"
        )
    return ProviderTokens(id_token, str(answer.get("refresh_token") or ""))


def _refusal(issuer: str, error: AuthlibBaseError) -> Unauthenticated:
    reason = str(error.description or error.error)[:_MAX_REASON]
    return Unauthenticated(f"{issuer} does not sign you in: {reason}", hint="start the sign-in again")
