"""The ledger: the permanent record of what was done, readable without Bondstone and without its keys."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, date, timedelta
from typing import Any, Final

from pydantic import ValidationError

from bondstone.base.canonical import canonical, digest
from bondstone.base.errors import AlreadyExists, ObjectCorrupt
from bondstone.model.ledger import LedgerEntry, LedgerRecord
from bondstone.model.service import ServiceId
from bondstone.store import object_keys
from bondstone.store.objects import Objects, segment

_READS_AT_ONCE: Final = 16


class LedgerStore:
    """Records as plain JSON under `ledger/<yyyy>/<mm>/<dd>/<team>/<service>/`, never changed, never removed.

    Beside each record an empty object under `ledger-index/<team>/<service>/` says where it is, so that the history
    of one service does not read every day's records.

    Args:
        objects: Where they are kept. Not sealed: secrets are in it by reference only, and an auditor needs no key.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def record(self, record: LedgerRecord) -> LedgerEntry:
        """Write a record. The same record again is fine, and changes nothing.

        Raises:
            AlreadyExists: when another record has the same service, time and sequence.
        """
        index, key = _keys(record)
        data = canonical(record.model_dump(mode="json"))
        if not await self._objects.put_if_absent(key, data):
            mine, data = data, await self._objects.get(key)
            same = unsigned(data) == unsigned(mine)  # another key may have signed it the first time
        else:
            same = True
        if not same:
            raise AlreadyExists(
                "the ledger has another record of the same service, time and sequence",
                where=key,
                hint="records are never changed; give the new one its own sequence",
            )
        await self._objects.put(index, b"")
        return LedgerEntry(key=key, digest=digest(data))

    async def last_digest(self, service: ServiceId) -> str:
        """The digest of a service's last record, as it is stored; empty when there is none."""
        names = await self._names(service)
        return digest(await self._objects.get(object_keys.ledger_record(service, names[-1]))) if names else ""

    async def sequences(self, service: ServiceId) -> list[str]:
        """The sequence of every record of a service, as its key says it; oldest first."""
        return [name.partition("-")[2] for name in await self._names(service)]

    async def history(self, service: ServiceId) -> list[LedgerRecord]:
        """Every record of a service, oldest first, also when it is long gone.

        Raises:
            ObjectCorrupt: when a record is not readable.
            ObjectMissing: when one was removed.
        """
        limit = asyncio.Semaphore(_READS_AT_ONCE)

        async def one(name: str) -> LedgerRecord:
            async with limit:
                return await self._read(service, name)

        return list(await asyncio.gather(*map(one, await self._names(service))))

    async def operation(self, service: ServiceId, number: int) -> LedgerRecord | None:
        """The record of one operation; None when there is none (yet).

        Raises:
            ObjectCorrupt, ObjectMissing: as for `history`.
        """
        wanted = f"-{segment(f'op-{number}')}"
        name = next((name for name in await self._names(service) if name.endswith(wanted)), None)
        return await self._read(service, name) if name else None

    async def days(self, first: date, last: date, *, team: str = "") -> AsyncIterator[LedgerRecord]:
        """Every record of some days, the newest first.

        Args:
            first: The earliest day, UTC.
            last: The latest day, UTC.
            team: Of this team only.

        Raises:
            ObjectCorrupt, ObjectMissing: as for `history`.
        """
        for age in range((last - first).days + 1):
            day = last - timedelta(days=age)
            prefix = object_keys.ledger_day(day) + (f"/{team}" if team else "")
            keys = [info.key for info in await self._objects.list(prefix)]
            keys.sort(key=lambda key: key.rpartition("/")[2], reverse=True)
            for start in range(0, len(keys), _READS_AT_ONCE):
                for record in await asyncio.gather(*map(self._at, keys[start : start + _READS_AT_ONCE])):
                    yield record

    async def _names(self, service: ServiceId) -> list[str]:
        return [
            info.key.rpartition("/")[2] for info in await self._objects.list(object_keys.ledger_index(service))
        ]

    async def _read(self, service: ServiceId, name: str) -> LedgerRecord:
        return await self._at(object_keys.ledger_record(service, name))

    async def _at(self, key: str) -> LedgerRecord:
        data = await self._objects.get(key)
        try:
            return LedgerRecord.model_validate_json(data)
        except ValidationError as error:
            raise ObjectCorrupt(
                "a ledger record is not readable", where=key, hint="restore it from a backup of the store"
            ) from error


def unsigned(data: bytes) -> dict[str, Any]:
    """A record as it was before it was signed."""
    document: dict[str, Any] = json.loads(data)
    return {name: value for name, value in document.items() if name not in {"key_id", "signature"}}


def _keys(record: LedgerRecord) -> tuple[str, str]:
    at = record.at.astimezone(UTC)
    name = f"{at:%Y%m%dT%H%M%S.%fZ}-{segment(record.sequence)}"
    return f"{object_keys.ledger_index(record.service)}/{name}", object_keys.ledger_record(record.service, name)
