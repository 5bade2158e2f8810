"""API tokens of programs: kept as hashes, each with the roles it brings.

Objects: `tokens/ids/<id>`, written once; `tokens/names/<name>/<n>`, the n-th token of that name, so that of two
living tokens no two have the same name; `tokens/revoked/<id>` and `tokens/used/<id>`, written later.
A token's secret has 256 bits, so one round of sha256 keeps it as safe as many would.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
from datetime import datetime, timedelta
from typing import Final

from pydantic import ValidationError

from bondstone.base.errors import (
    AlreadyExists,
    NotFound,
    ObjectCorrupt,
    ObjectMissing,
    TokenExpired,
    TokenInvalid,
    TokenRevoked,
)
from bondstone.base.models import Wire
from bondstone.base.names import check_name
from bondstone.model.identity import Principal, Roles
from bondstone.store.objects import Objects

PREFIX: Final = "bond_"
"""Every API token begins with it, so that scanners for leaked secrets know it."""
_TOKEN: Final = re.compile(r"bond_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_IDS: Final = "tokens/ids"
_NAMES: Final = "tokens/names"
_REVOKED: Final = "tokens/revoked"
_USED: Final = "tokens/used"
_USED_EVERY: Final = timedelta(minutes=1)


class Revocation(Wire):
    """Who ended a token, and when."""

    by: str
    at: datetime


class TokenRecord(Wire):
    """One API token without its secret."""

    id: str
    name: str
    hash: str
    """sha256 of the secret, hex."""
    grants: tuple[Roles, ...] = ()
    created_by: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked: Revocation | None = None
    last_used_at: datetime | None = None
    """To the minute."""

    def alive(self, now: datetime) -> bool:
        """Whether it is accepted."""
        return self.revoked is None and (self.expires_at is None or now < self.expires_at)

    def status(self, now: datetime) -> str:
        """`active`, `revoked` or `expired`."""
        return "revoked" if self.revoked else "active" if self.alive(now) else "expired"

    @property
    def principal(self) -> Principal:
        """The caller that it stands for."""
        return Principal(
            subject=f"token:{self.name}",
            means="token",
            token_id=self.id,
            display_name=self.name,
            grants=self.grants,
            expires_at=self.expires_at,
        )


class Tokens:
    """All API tokens of one platform.

    Args:
        objects: Where they are kept.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._noted: dict[str, datetime] = {}

    async def create(
        self,
        name: str,
        grants: tuple[Roles, ...],
        *,
        by: str,
        now: datetime,
        lifetime: timedelta | None = None,
    ) -> tuple[TokenRecord, str]:
        """Make a token; the text that is returned beside its record is shown once and kept nowhere.

        Args:
            name: What lists and access documents call it.
            grants: The roles it brings. The caller checks that `by` may pass them on.
            by: Who makes it.
            now: The time.
            lifetime: How long it is good for; None for ever.

        Raises:
            AlreadyExists: a living token has that name.
        """
        check_name("token", name)
        token_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        record = TokenRecord(
            id=token_id,
            name=name,
            hash=_hash(secret),
            grants=grants,
            created_by=by,
            created_at=now,
            expires_at=now + lifetime if lifetime else None,
        )
        earlier = await self._objects.list(f"{_NAMES}/{name}")
        if earlier:
            last = (await self._objects.get(earlier[-1].key)).decode()
            if (await self.get(last)).alive(now):
                raise AlreadyExists(
                    f"there is an API token {name!r} already",
                    where=name,
                    hint=f"`bond token revoke {name}` first, or choose another name",
                )
        await self._objects.put(f"{_IDS}/{token_id}", record.model_dump_json().encode())
        if not await self._objects.put_if_absent(f"{_NAMES}/{name}/{len(earlier) + 1:08}", token_id.encode()):
            await self._objects.delete(f"{_IDS}/{token_id}")
            raise AlreadyExists(f"an API token {name!r} was made at the same moment", where=name)
        return record, f"{PREFIX}{token_id}_{secret}"

    async def check(self, text: str, *, now: datetime) -> TokenRecord:
        """The record of a token that is presented.

        Raises:
            TokenInvalid: there is no such token.
            TokenRevoked: it was revoked.
            TokenExpired: its time is over.
        """
        match = _TOKEN.fullmatch(text)
        record = await self._find(match[1]) if match else None
        if match is None or record is None or not hmac.compare_digest(record.hash, _hash(match[2])):
            raise TokenInvalid(
                "this is not an API token of this platform", hint="`bond token list` shows the existing ones"
            )
        if record.revoked is not None:
            raise TokenRevoked(
                f"the API token {record.name!r} was revoked by {record.revoked.by}",
                where=record.name,
                hint="`bond token create` makes another",
            )
        if not record.alive(now):
            raise TokenExpired(
                f"the API token {record.name!r} has expired",
                where=record.name,
                hint="`bond token create` makes another",
            )
        return record

    async def note_use(self, record: TokenRecord, *, now: datetime) -> None:
        """Remember when a token was last used, at most once a minute."""
        last = self._noted.get(record.id, record.last_used_at)
        if last is None or now - last >= _USED_EVERY:
            self._noted[record.id] = now
            await self._objects.put(f"{_USED}/{record.id}", now.isoformat().encode())

    async def list(self) -> list[TokenRecord]:
        """Every token that ever was, newest first."""
        infos = await self._objects.list(_IDS)
        records = await asyncio.gather(*(self.get(info.key.rsplit("/", 1)[1]) for info in infos))
        return sorted(records, key=lambda record: record.created_at, reverse=True)

    async def named(self, name: str) -> TokenRecord:
        """The newest token of a name, or the one of an id.

        Raises:
            NotFound: there is none.
        """
        earlier = (
            await self._objects.list(f"{_NAMES}/{name}") if re.fullmatch(r"[a-z][a-z0-9-]{0,47}", name) else []
        )
        token_id = (await self._objects.get(earlier[-1].key)).decode() if earlier else name
        record = await self._find(token_id) if re.fullmatch(r"[0-9a-f]{12}", token_id) else None
        if record is None:
            raise NotFound(f"there is no API token {name!r}", hint="`bond token list` shows the existing ones")
        return record

    async def get(self, token_id: str) -> TokenRecord:
        """The record of an id.

        Raises:
            NotFound: there is none.
        """
        record = await self._find(token_id)
        if record is None:
            raise NotFound(f"there is no API token {token_id!r}")
        return record

    async def revoke(self, token_id: str, *, by: str, now: datetime) -> TokenRecord:
        """End a token; a second time changes nothing."""
        await self.get(token_id)
        await self._objects.put_if_absent(
            f"{_REVOKED}/{token_id}", Revocation(by=by, at=now).model_dump_json().encode()
        )
        return await self.get(token_id)

    async def _find(self, token_id: str) -> TokenRecord | None:
        key = f"{_IDS}/{token_id}"
        raw, revoked, used = await asyncio.gather(
            self._maybe(key), self._maybe(f"{_REVOKED}/{token_id}"), self._maybe(f"{_USED}/{token_id}")
        )
        if raw is None:
            return None
        try:
            changes = {
                "revoked": Revocation.model_validate_json(revoked) if revoked else None,
                "last_used_at": datetime.fromisoformat(used.decode()) if used else None,
            }
            return TokenRecord.model_validate_json(raw).changed(**changes)
        except (ValidationError, ValueError) as error:
            raise ObjectCorrupt("the record of an API token cannot be read", where=key) from error

    async def _maybe(self, key: str) -> bytes | None:
        try:
            return await self._objects.get(key)
        except ObjectMissing:
            return None


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
