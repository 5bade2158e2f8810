"""Sessions of browsers, and codes that are good once: sealed objects, so that any API process can serve them.

Objects: `sessions/<hash of the id>`; `sign-ins/<hash of the code>` with what the code stands for, and
`sign-ins-used/<hash>` once it was redeemed. Ids and codes are random and kept nowhere in plain.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Final, TypeVar

from pydantic import ValidationError

from bondstone.base.errors import ObjectMissing, TokenExpired, TokenInvalid, TokenReplayed
from bondstone.base.models import Wire
from bondstone.model.identity import Principal
from bondstone.store.sealed import SealedObjects

_SESSIONS: Final = "sessions"
_CODES: Final = "sign-ins"
_USED: Final = "sign-ins-used"
IDLE: Final = timedelta(hours=1)
"""A session that nobody uses for so long is over."""
LONGEST: Final = timedelta(hours=12)
"""However much it is used, a session is over then."""
CODE_LIFETIME: Final = timedelta(minutes=10)

Payload = TypeVar("Payload", bound=Wire)


class BrowserSession(Wire):
    """A browser that has signed in."""

    principal: Principal
    created_at: datetime
    expires_at: datetime
    csrf: str
    """Forms carry it; another site cannot know it."""


class _Code(Wire):
    expires_at: datetime
    payload: str


class Sessions:
    """All sessions and one-time codes of one platform.

    Args:
        sealed: Where they are kept.
    """

    def __init__(self, sealed: SealedObjects) -> None:
        self._sealed = sealed

    async def begin(self, principal: Principal, *, now: datetime) -> tuple[str, BrowserSession]:
        """A new session, and the id that goes into the cookie."""
        session_id = secrets.token_urlsafe(32)
        session = BrowserSession(
            principal=principal, created_at=now, expires_at=now + IDLE, csrf=secrets.token_urlsafe(24)
        )
        await self._write(session_id, session)
        return session_id, session

    async def get(self, session_id: str, *, now: datetime) -> BrowserSession:
        """The session of a cookie; using it makes it last, to `LONGEST` at most.

        Raises:
            TokenInvalid: there is no such session, or it was ended.
            TokenExpired: it is over.
        """
        try:
            session = BrowserSession.model_validate_json(await self._sealed.get(_key(_SESSIONS, session_id)))
        except (ObjectMissing, ValidationError):
            raise TokenInvalid("this session does not exist, or was ended", hint="sign in again") from None
        if now >= session.expires_at:
            raise TokenExpired("the session is over", hint="sign in again")
        later = min(now + IDLE, session.created_at + LONGEST)
        if later - session.expires_at > IDLE / 4:
            session = session.changed(expires_at=later)
            await self._write(session_id, session)
        return session

    async def end(self, session_id: str) -> None:
        """End a session; one that is not there does not matter."""
        await self._sealed.objects.delete(_key(_SESSIONS, session_id))

    async def issue_code(self, payload: Wire, *, now: datetime, lifetime: timedelta = CODE_LIFETIME) -> str:
        """A code that stands for `payload`, good once and not for long."""
        code = secrets.token_urlsafe(32)
        content = _Code(expires_at=now + lifetime, payload=payload.model_dump_json())
        await self._sealed.put(_key(_CODES, code), content.model_dump_json().encode())
        return code

    async def redeem(self, code: str, kind: type[Payload], *, now: datetime) -> Payload:
        """What a code stands for; of any number of callers exactly one gets it.

        Raises:
            TokenInvalid: there is no such code.
            TokenExpired: it came too late.
            TokenReplayed: it was used before.
        """
        try:
            content = _Code.model_validate_json(await self._sealed.get(_key(_CODES, code)))
            payload = kind.model_validate_json(content.payload)
        except (ObjectMissing, ValidationError):
            raise TokenInvalid("this sign-in is not known", hint="start it again") from None
        if now >= content.expires_at:
            raise TokenExpired("the sign-in took too long", hint="start it again")
        if not await self._sealed.objects.put_if_absent(_key(_USED, code), b""):
            raise TokenReplayed("this sign-in was completed before", hint="start it again")
        return payload

    async def sweep(self, *, now: datetime) -> int:
        """Remove what has been over for long; how many objects. Any process may do it at any time."""
        objects = self._sealed.objects
        old = [
            info.key
            for prefix in (_SESSIONS, _CODES, _USED)
            for info in await objects.list(prefix)
            if now - info.modified > 2 * LONGEST
        ]
        await objects.delete(*old)
        return len(old)

    async def _write(self, session_id: str, session: BrowserSession) -> None:
        await self._sealed.put(_key(_SESSIONS, session_id), session.model_dump_json().encode())


def _key(prefix: str, secret: str) -> str:
    return f"{prefix}/{hashlib.sha256(secret.encode()).hexdigest()}"
