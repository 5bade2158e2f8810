"""Turning the credentials of a request into its caller.

The API makes one `Authenticator` for each process and asks it at each request::

    authenticator = await Authenticator.open(settings, store)
    principal = await authenticator.principal(authorization=header, session=cookie)
    permissions = permissions_of(await authenticator.access(), principal)

Whatever is wrong is raised as an `Unauthenticated` of its own kind (HTTP 401), and a session or token is never
repeated in the message.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Final

from bondstone.base.errors import SettingsInvalid, TokenInvalid, Unauthenticated
from bondstone.base.settings import Settings
from bondstone.identity.access import Access
from bondstone.identity.backstage_tokens import BackstageTokens, is_backstage_token
from bondstone.identity.issuer_keys import IssuerKeys
from bondstone.identity.json_web_tokens import JsonWebTokens
from bondstone.identity.local_token import is_local_token, local_principal, read_local_token
from bondstone.model.identity import Principal, Subject
from bondstone.store.store import Store
from bondstone.store.tokens import PREFIX as API_TOKEN

SESSION_COOKIE: Final = "bond_session"
"""Name of the browser's cookie; off loopback it is sent as `__Host-bond_session`, see `session_cookie`."""
_ONCE: Final = "tokens/once"
_ACCESS_SECONDS: Final = 2.0
"""How old the access document may be that a process decides by."""
_HOW: Final = "sign in with `bond login`, or send `Authorization: Bearer TOKEN` (`bond token create`)"


class Authenticator:
    """Knows callers by local token, API token, session, and the JWTs of trusted issuers.

    Args:
        store: Where API tokens, sessions and access documents are.
        settings: Which issuers are trusted, and who is administrator in any case.
        local_token: Of the data directory; empty where there is none.
        keys: Public keys of the issuers.
    """

    def __init__(
        self, store: Store, settings: Settings, *, local_token: str = "", keys: IssuerKeys | None = None
    ) -> None:
        self.store = store
        self.keys = keys or IssuerKeys()
        self.settings = settings
        self._local_token = local_token
        self._admins = tuple(_admin(text) for text in settings.admins)
        self.web_tokens = JsonWebTokens(settings.issuers, self.keys, self._take_once)
        self.backstage = BackstageTokens(settings.backstage, self.keys) if settings.backstage else None
        self._access: tuple[float, Access] | None = None
        self._reading = asyncio.Lock()

    @classmethod
    async def open(cls, settings: Settings, store: Store) -> Authenticator:
        """One for this process, with the local token of its data directory if there is one.

        Raises:
            SettingsInvalid: the local token's file may be read by others, or `BOND_ADMINS` is malformed.
        """
        return cls(store, settings, local_token=await asyncio.to_thread(read_local_token, settings.data))

    async def close(self) -> None:
        """Close the connections to the issuers."""
        await self.keys.close()

    async def principal(self, *, authorization: str = "", session: str = "") -> Principal:
        """The caller of a request.

        Args:
            authorization: The `Authorization` header; it counts before a session.
            session: The value of the session cookie.

        Raises:
            Unauthenticated: no credential, or one that is not accepted; the kind says which.
            Unreachable: the issuer of the token does not answer.
            StoreUnavailable: the store does not answer.
        """
        now = datetime.now(UTC)
        if authorization:
            scheme, _, token = authorization.strip().partition(" ")
            if scheme.lower() != "bearer" or not token.strip():
                raise Unauthenticated("the Authorization header is not `Bearer TOKEN`", hint=_HOW)
            return await self._bearer(token.strip(), now)
        if session:
            return (await self.store.sessions.get(session, now=now)).principal
        raise Unauthenticated("you are not signed in", hint=_HOW)

    async def access(self) -> Access:
        """What is in force: the access document of at most two seconds ago, and the settings' administrators."""
        async with self._reading:
            if self._access is None or time.monotonic() - self._access[0] > _ACCESS_SECONDS:
                published = await self.store.access.current()
                access = Access(
                    document=published.document if published else None,
                    admins=self._admins,
                    version=published.ref.version if published else 0,
                )
                self._access = (time.monotonic(), access)
            return self._access[1]

    async def _bearer(self, token: str, now: datetime) -> Principal:
        if is_local_token(token, self._local_token):
            return local_principal()
        if token.startswith(API_TOKEN):
            record = await self.store.tokens.check(token, now=now)
            await self.store.tokens.note_use(record, now=now)
            return record.principal
        if self.backstage is not None and is_backstage_token(token):
            return await self.backstage.principal(token)
        if token.count(".") == 2:  # noqa: PLR2004 - header.claims.signature
            return await self.web_tokens.principal(token)
        raise TokenInvalid("this platform does not know the token", hint=_HOW)

    async def _take_once(self, name: str) -> bool:
        return await self.store.objects.put_if_absent(f"{_ONCE}/{name}", b"")


def session_cookie(*, secure: bool) -> str:
    """Name of the session cookie; with TLS one that only this very host can set."""
    return f"__Host-{SESSION_COOKIE}" if secure else SESSION_COOKIE


def _admin(text: str) -> Subject:
    kind, _, name = text.partition(":")
    if kind not in {"user", "group"} or not name:
        raise SettingsInvalid(f"{text!r} does not name an administrator", hint="write user:SUBJECT or group:NAME")
    return Subject(user=name) if kind == "user" else Subject(group=name)
