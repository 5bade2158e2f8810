"""What is kept of campaigns: how each began, its frozen targets, its ledger, how it ended; and freezes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Final, TypeVar

from pydantic import ValidationError

from bondstone.base.canonical import canonical, digest
from bondstone.base.errors import AlreadyExists, Changed, NotFound, ObjectCorrupt, ObjectMissing
from bondstone.base.models import Wire
from bondstone.model.campaign.run import (
    CampaignHeader,
    FreezeRecord,
    LedgerBatch,
    LeftOut,
    TargetEntry,
    TargetPage,
    TargetRecord,
)
from bondstone.model.campaign.state import CampaignState
from bondstone.model.ledger import LedgerEntry
from bondstone.store import object_keys
from bondstone.store.ledger import unsigned
from bondstone.store.sealed import SealedObjects

READS_AT_ONCE: Final = 16

_Kept = TypeVar("_Kept", bound=Wire)


def freeze_changed(name: str) -> Changed:
    """The refusal of a change to a freeze that is not the one which was read."""
    return Changed(
        "somebody changed it since you read it", where=f"freeze {name}", hint="read it again: `bond freeze list`"
    )


class _LeftOutPage(Wire):
    services: tuple[LeftOut, ...] = ()


class CampaignStore:
    """Objects under `campaigns/<name>/`, sealed, and `freezes/<name>`; the ledger of a campaign is plain JSON.

    Like that of services (`bondstone.store.ledger`), that under `ledger-campaigns/<name>/` can be read without a
    key, and each of its objects carries the digest of the one before.

    Args:
        sealed: Where they are kept.
    """

    def __init__(self, sealed: SealedObjects) -> None:
        self._sealed = sealed
        self._objects = sealed.objects

    # How it began ----------------------------------------------------------------------------------------

    async def begin(self, header: CampaignHeader) -> CampaignHeader:
        """Take the name of a campaign, once and for ever; returns what is kept of it already.

        Raises:
            AlreadyExists: another campaign had it.
        """
        key = f"{object_keys.campaign(header.name)}/header"
        if await self._sealed.put_if_absent(key, _bytes(header)):
            return header
        kept = await self._read(key, CampaignHeader)
        if kept.run_id != header.run_id:
            raise AlreadyExists(
                f"there was a campaign {header.name} already, started by {kept.start.requested_by}",
                where=f"campaign {header.name}",
                hint="choose another name; names of campaigns are never used twice",
            )
        return kept

    async def update(self, header: CampaignHeader) -> None:
        """Keep what is known of it now."""
        await self._sealed.put(f"{object_keys.campaign(header.name)}/header", _bytes(header))

    async def header(self, name: str) -> CampaignHeader:
        """How a campaign began.

        Raises:
            NotFound: there never was one of that name.
        """
        try:
            return await self._read(f"{object_keys.campaign(name)}/header", CampaignHeader)
        except ObjectMissing as error:
            raise NotFound(
                f"there is no campaign {name}", hint="`bond campaign list` shows the existing ones"
            ) from error

    async def exists(self, name: str) -> bool:
        """Whether the name is taken."""
        return await self._objects.exists(f"{object_keys.campaign(name)}/header")

    async def names(self) -> list[str]:
        """Every campaign there ever was, by name; only those whose header tells are counted."""
        listing = await self._objects.list(object_keys.CAMPAIGNS)
        keys = [info.key for info in listing if info.key.endswith("/header")]
        headers = await self._read_all(keys, CampaignHeader)
        return sorted(header.name for header in headers)

    # Its targets -----------------------------------------------------------------------------------------

    async def put_targets(
        self, name: str, targets: Sequence[TargetEntry], left: Sequence[LeftOut], *, page_size: int
    ) -> str:
        """Keep the frozen list, page by page, and why everything else is not on it; returns the list's digest."""
        pages = [targets[first : first + page_size] for first in range(0, len(targets), page_size)]
        data = [_bytes(TargetPage(targets=tuple(page))) for page in pages]
        for number, page in enumerate(data):
            await self._sealed.put(f"{object_keys.campaign(name)}/targets/{number:06}", page)
        await self._sealed.put(
            f"{object_keys.campaign(name)}/left-out", _bytes(_LeftOutPage(services=tuple(left)))
        )
        return digest(canonical([digest(page) for page in data]))

    async def page(self, name: str, number: int) -> tuple[TargetEntry, ...]:
        """One page of the frozen list."""
        return (await self._read(f"{object_keys.campaign(name)}/targets/{number:06}", TargetPage)).targets

    async def targets(self, name: str) -> list[TargetEntry]:
        """The whole list, in order: a target's number is its index."""
        listing = await self._objects.list(f"{object_keys.campaign(name)}/targets")
        pages = await self._read_all([info.key for info in listing], TargetPage)
        return [target for page in pages for target in page.targets]

    async def left_out(self, name: str) -> tuple[LeftOut, ...]:
        """Every other service of the fleet, and why it is no target."""
        return (await self._read(f"{object_keys.campaign(name)}/left-out", _LeftOutPage)).services

    # Its ledger ------------------------------------------------------------------------------------------

    async def record(self, batch: LedgerBatch) -> LedgerEntry:
        """Append to the ledger; the same again changes nothing.

        Raises:
            AlreadyExists: another batch has its number.
        """
        if batch.state is not None:
            await self._sealed.put(f"{object_keys.campaign(batch.campaign)}/end", _bytes(batch.state))
        key = f"{object_keys.campaign_ledger(batch.campaign)}/{batch.number:06}.json"
        data = canonical(batch.model_dump(mode="json", exclude={"state"}))
        if not await self._objects.put_if_absent(key, data):
            mine, data = data, await self._objects.get(key)
            same = unsigned(data) == unsigned(mine)  # another key may have signed it the first time
        else:
            same = True
        if not same:
            raise AlreadyExists(
                "the campaign's ledger has another batch of that number",
                where=key,
                hint="ledgers are never changed; somebody else writes to the object store",
            )
        return LedgerEntry(key=key, digest=digest(data))

    async def ledger(self, name: str, *, after: int = 0) -> list[LedgerBatch]:
        """What happened to a campaign and its targets, in order.

        Args:
            name: Of the campaign.
            after: Leave out batches up to this number: for who has read them.
        """
        prefix = object_keys.campaign_ledger(name)
        listing = await self._objects.list(prefix, after=f"{prefix}/{after:06}.json" if after else "")
        return await self._read_all([info.key for info in listing], LedgerBatch, plain=True)

    async def end(self, name: str) -> CampaignState | None:
        """How each target of a campaign ended; None while it has not."""
        try:
            return await self._read(f"{object_keys.campaign(name)}/end", CampaignState)
        except ObjectMissing:
            return None

    # Freezes ---------------------------------------------------------------------------------------------

    async def put_freeze(self, freeze: FreezeRecord) -> FreezeRecord:
        """Keep a change of a freeze. Tell running campaigns afterwards, by signal.

        Args:
            freeze: What was read, with what is new of it.

        Returns:
            The freeze as it is kept.

        Raises:
            Changed: somebody changed it since it was read.
        """
        kept = freeze.changed(changes=freeze.changes + 1)
        key = object_keys.freeze_change(freeze.name, kept.changes)
        # Where an answer was lost, what is there is what this very call wrote.
        if not await self._sealed.put_if_absent(key, _bytes(kept)) and await self._read(key, FreezeRecord) != kept:
            raise freeze_changed(freeze.name)
        return kept

    async def create_freeze(self, freeze: FreezeRecord) -> None:
        """Keep a new freeze.

        Raises:
            AlreadyExists: there was one of that name.
        """
        if not await self._sealed.put_if_absent(object_keys.freeze(freeze.name), _bytes(freeze)):
            raise AlreadyExists(f"there was a freeze {freeze.name} already", hint="choose another name")

    async def freezes(self, *, at: datetime | None = None) -> list[FreezeRecord]:
        """Every freeze, by name; with a time, those that are not over by then."""
        newest = {info.key.rpartition("/")[2]: info.key for info in await self._objects.list(object_keys.FREEZES)}
        for info in await self._objects.list(object_keys.FREEZE_CHANGES):  # by key: the last of each is the newest
            newest[info.key.split("/")[1]] = info.key
        freezes = await self._read_all([newest[name] for name in sorted(newest)], FreezeRecord)
        return [freeze for freeze in freezes if at is None or freeze.ends_at is None or freeze.ends_at > at]

    async def freeze(self, name: str) -> FreezeRecord:
        """One freeze.

        Raises:
            NotFound: there is none of that name.
        """
        changes = await self._objects.list(object_keys.freeze_change(name, 0).rpartition("/")[0])
        try:
            return await self._read(changes[-1].key if changes else object_keys.freeze(name), FreezeRecord)
        except ObjectMissing as error:
            raise NotFound(
                f"there is no freeze {name}", hint="`bond freeze list` shows the existing ones"
            ) from error

    # How -------------------------------------------------------------------------------------------------

    async def _read_all(self, keys: Sequence[str], kind: type[_Kept], *, plain: bool = False) -> list[_Kept]:
        limit = asyncio.Semaphore(READS_AT_ONCE)

        async def one(key: str) -> _Kept:
            async with limit:
                return await self._read(key, kind, plain=plain)

        return list(await asyncio.gather(*map(one, keys)))

    async def _read(self, key: str, kind: type[_Kept], *, plain: bool = False) -> _Kept:
        data = await (self._objects.get(key) if plain else self._sealed.get(key))
        try:
            return kind.model_validate_json(data)
        except ValidationError as error:
            raise ObjectCorrupt(
                "an object of a campaign is not readable", where=key, hint="restore it from a backup of the store"
            ) from error


def latest(batches: Sequence[LedgerBatch]) -> dict[int, TargetRecord]:
    """The last word on each target, by its number."""
    return {record.target: record for batch in batches for record in batch.records}


def _bytes(model: Wire) -> bytes:
    return model.model_dump_json().encode()
