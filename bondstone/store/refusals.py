"""What callers were refused: for each hour one object of each process, which replaces it as it counts.

Objects: `refusals/<yyyy>/<mm>/<dd>/<hh>/<process>.json`, plain. Who counts (`bondstone.store.refusal_record`)
bounds how many there may be, and how large; after `KEPT` they are removed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic import ValidationError

from bondstone.base.errors import ObjectMissing
from bondstone.model.refusal import Refusal, RefusalHour
from bondstone.store.objects import Objects

KEPT: Final = timedelta(days=90)
"""How long refusals are kept."""
HOUR: Final = timedelta(hours=1)
_REFUSALS: Final = "refusals"
_READS_AT_ONCE: Final = 16


class Refusals:
    """The counted refusals of one platform.

    Args:
        objects: Where they are kept.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def write(self, hour: datetime, process: str, refusals: Iterable[Refusal]) -> None:
        """Replace what a process has counted in an hour.

        Args:
            hour: When it began, UTC.
            process: A name that no other process has.
            refusals: All of that hour.
        """
        content = RefusalHour(refusals=tuple(refusals)).model_dump_json()
        await self._objects.put(f"{_of_hour(hour)}/{process}.json", content.encode())

    async def between(self, first: datetime, last: datetime) -> AsyncIterator[Refusal]:
        """The refusals of some hours, the newest hour first; those of several processes are counted together.

        Args:
            first: The earliest time, UTC; its whole hour counts.
            last: The latest time, UTC.
        """
        for age in range((last.date() - first.date()).days + 1):
            day = last.date() - timedelta(days=age)
            hours: dict[str, list[str]] = {}
            for info in await self._objects.list(f"{_REFUSALS}/{day:%Y/%m/%d}"):
                hours.setdefault(info.key.rpartition("/")[0], []).append(info.key)
            for prefix in sorted(hours, reverse=True):
                try:
                    begins_at = datetime.strptime(prefix, f"{_REFUSALS}/%Y/%m/%d/%H").replace(tzinfo=UTC)
                except ValueError:
                    continue  # not ours
                if first - HOUR < begins_at <= last:
                    for refusal in await self._together(hours[prefix]):
                        yield refusal

    async def sweep(self, *, now: datetime) -> int:
        """Remove what is older than `KEPT`; how many objects. Any process may do it at any time."""
        oldest = _of_hour(now - KEPT)
        old = [info.key for info in await self._objects.list(_REFUSALS) if info.key < oldest]
        await self._objects.delete(*old)
        return len(old)

    async def _together(self, keys: list[str]) -> list[Refusal]:
        counted: dict[tuple[str, ...], Refusal] = {}
        for start in range(0, len(keys), _READS_AT_ONCE):
            for hour in await asyncio.gather(*map(self._read, keys[start : start + _READS_AT_ONCE])):
                for refusal in hour.refusals:
                    before = counted.get(refusal.key)
                    counted[refusal.key] = before.plus(refusal) if before else refusal
        return sorted(counted.values(), key=lambda refusal: refusal.key)

    async def _read(self, key: str) -> RefusalHour:
        try:
            return RefusalHour.model_validate_json(await self._objects.get(key))
        except (ObjectMissing, ValidationError):
            return RefusalHour()  # removed meanwhile; or written by somebody else, which hides no other hour


def _of_hour(hour: datetime) -> str:
    return f"{_REFUSALS}/{hour.astimezone(UTC):%Y/%m/%d/%H}"
