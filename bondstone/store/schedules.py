"""The ledger of schedules: every run, every miss, and who did what to a schedule."""

from __future__ import annotations

import asyncio
from datetime import UTC
from typing import Final

from pydantic import ValidationError

from bondstone.base.canonical import canonical
from bondstone.base.errors import ObjectCorrupt
from bondstone.model.campaign.schedule import ScheduleEntry
from bondstone.store.objects import Objects, segment

_READS_AT_ONCE: Final = 16


class ScheduleStore:
    """Entries as plain JSON under `ledger-schedules/<name>/`, never changed, never removed.

    Args:
        objects: Where they are kept. Not sealed: an auditor needs no key.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def record(self, entry: ScheduleEntry) -> None:
        """Append an entry; a second one of the same time and kind is the same, told again."""
        stamp = entry.at.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        suffix = "".join(f"-{segment(part)}" for part in (entry.campaign, entry.request) if part)
        key = f"{_prefix(entry.schedule)}/{stamp}-{entry.kind}{suffix}.json"
        await self._objects.put_if_absent(key, canonical(entry.model_dump(mode="json")))

    async def entries(self, schedule: str, *, last: int = 0) -> list[ScheduleEntry]:
        """What is kept of a schedule, oldest first.

        Args:
            schedule: Its name; also of one that was deleted.
            last: Only so many of the newest; 0 for all.

        Raises:
            ObjectCorrupt: when one is not readable.
        """
        keys = sorted(info.key for info in await self._objects.list(_prefix(schedule)))
        limit = asyncio.Semaphore(_READS_AT_ONCE)

        async def one(key: str) -> ScheduleEntry:
            async with limit:
                return await self._entry(key)

        return list(await asyncio.gather(*map(one, keys[-last:] if last else keys)))

    async def of_request(self, schedule: str, request: str) -> ScheduleEntry | None:
        """The first entry of a request; None when it left none.

        Args:
            schedule: Its name.
            request: As the entry has it.

        Raises:
            ObjectCorrupt: when it is not readable.
        """
        ending = f"-{segment(request)}.json"
        keys = [info.key for info in await self._objects.list(_prefix(schedule)) if info.key.endswith(ending)]
        return await self._entry(min(keys)) if keys else None

    async def _entry(self, key: str) -> ScheduleEntry:
        data = await self._objects.get(key)
        try:
            return ScheduleEntry.model_validate_json(data)
        except ValidationError as error:
            raise ObjectCorrupt(
                "an entry of a schedule is not readable",
                where=key,
                hint="restore it from a backup of the store",
            ) from error


def _prefix(schedule: str) -> str:
    return f"ledger-schedules/{segment(schedule)}"
