"""The log of one state as objects: reading its end, adding the next entry, signs of life, pruning.

Entries are `state/<team>/<service>/<step>/<position>`, each written with put-if-absent. Signs of life are one
overwritten object per claim, `leases/<team>/<service>/<step>/<claim>`, so a long apply does not make the log
longer. What may be written and pruned is decided by `bondstone.store.state.fence`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from bondstone.base.errors import ObjectCorrupt, ObjectMissing, StoreUnavailable
from bondstone.model.service import ServiceId
from bondstone.store import object_keys
from bondstone.store.objects import segment, utc_now
from bondstone.store.sealed import SealedObjects
from bondstone.store.state.fence import Lease, StateEntry, decode, encode

_DIGITS: Final = 8
_READ_TRIES: Final = 8
_REPLACE: Final = (
    "restore the object from a backup of the store, or put a state in its place: "
    "`bond state push --force --reason …`"
)
_PUT_PAUSES_SECONDS: Final = (0.2, 1.0)


def _elapsed() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


@dataclass(frozen=True, slots=True)
class Clock:
    """The clocks of a state log, in seconds."""

    waited: Callable[[], float] = time.monotonic
    """What a waiter measures with: stands still while the machine sleeps, so it waits rather too long."""
    elapsed: Callable[[], float] = _elapsed
    """What a holder measures with: counts the machine's sleep, so it stops rather too early."""
    now: Callable[[], datetime] = utc_now
    """The wall clock, for people."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


@dataclass(frozen=True, slots=True)
class ReadEntry:
    """An entry with its payload."""

    entry: StateEntry
    payload: bytes = field(repr=False)


class EntryLog:
    """The objects of one state log.

    Args:
        sealed: Where they are kept, encrypted.
        service: Whose state.
        step: Id of the step.
        clock: Injected by tests.
    """

    def __init__(
        self, sealed: SealedObjects, service: ServiceId, step: str, *, clock: Clock | None = None
    ) -> None:
        self.where = f"{service}/{step}"
        self.clock = clock or Clock()
        self._prefix = f"{object_keys.states(service)}/{segment(step)}"
        self._lease_prefix = object_keys.leases(service, step)
        self._sealed = sealed

    async def positions(self, *, after: int = 0) -> Sequence[int]:
        """Every position that is taken, in order."""
        offset = self._key(after) if after else ""
        names = [
            info.key.rpartition("/")[2] for info in await self._sealed.objects.list(self._prefix, after=offset)
        ]
        return [int(name) for name in names if len(name) == _DIGITS and name.isascii() and name.isdigit()]

    async def get(self, position: int) -> ReadEntry:
        """One entry.

        Raises:
            ObjectMissing: when there is none, or it was pruned.
            ObjectCorrupt: when it is not readable.
            KeyMissing: when the key that sealed it is not in the ring.
        """
        key = self._key(position)
        entry, payload = decode(await self._sealed.get(key), position=position, key=key)
        return ReadEntry(entry, payload)

    async def head(self) -> ReadEntry | None:
        """The newest entry; None when the log is empty."""
        for _ in range(_READ_TRIES):
            positions = await self.positions()
            if not positions:
                return None
            try:
                return await self.get(positions[-1])
            except ObjectMissing:
                continue  # the log has moved on and it was pruned meanwhile
        raise StoreUnavailable(
            "the state log grows faster than it can be read", where=self.where, hint="try again"
        )

    async def newest(self) -> tuple[StateEntry | None, ReadEntry | None]:
        """The newest entry and the newest state. Two objects are read at most.

        Raises:
            ObjectMissing: when the log says that there is a state and the store does not have it.
        """
        last_position = None
        while True:
            try:
                head = await self.head()
            except ObjectCorrupt as error:
                raise ObjectCorrupt(error.message, where=error.where, hint=_REPLACE) from error
            if head is None or not head.entry.state:
                return (head.entry if head else None), None
            if head.entry.carries_state:
                return head.entry, head
            try:
                return head.entry, await self.get(head.entry.state)
            except ObjectCorrupt as error:
                raise ObjectCorrupt(error.message, where=error.where, hint=_REPLACE) from error
            except ObjectMissing as error:
                if last_position == head.entry.position:
                    raise ObjectMissing(
                        f"the state at position {head.entry.state} is not in the store",
                        where=self._key(head.entry.state),
                        hint=_REPLACE,
                    ) from error
                last_position = head.entry.position  # once more, in case that the log has moved on meanwhile

    async def add(self, entry: StateEntry, payload: bytes | None) -> ReadEntry | None:
        """Write the next entry. None when it is written, else what stands at its position.

        When the store does not answer it is tried again a little, so what stands there may be the caller's own.

        Raises:
            StoreUnavailable: when the store did not answer; the entry may be there all the same.
            ObjectMissing: when what stood there is pruned already.
        """
        key = self._key(entry.position)
        data = encode(entry, payload)
        for pause in (*_PUT_PAUSES_SECONDS, None):
            try:
                if await self._sealed.put_if_absent(key, data):
                    return None
                break
            except StoreUnavailable:
                if pause is None:
                    raise
                await self.clock.sleep(pause)
        return await self.get(entry.position)

    async def prune(self, positions: Iterable[int]) -> None:
        """Remove entries that `bondstone.store.state.fence` said may go."""
        keys = [self._key(position) for position in positions]
        if keys:
            await self._sealed.objects.delete(*keys)

    async def empty(self, position: int) -> None:
        """Take the payload out of an entry that has to stay; nothing where there is none."""
        try:
            entry = (await self.get(position)).entry
        except ObjectMissing:
            return
        if entry.size:
            bare = entry.changed(size=0, state=0)
            await self._sealed.put(self._key(position), encode(bare, None))

    async def last_readable(self) -> tuple[int, StateEntry | None]:
        """The newest position, and the newest entry that can be read, if one can."""
        positions = await self.positions()
        for position in reversed(positions):
            try:
                return positions[-1], (await self.get(position)).entry
            except (ObjectMissing, ObjectCorrupt):
                continue
        return (positions[-1] if positions else 0), None

    async def mend(self, entry: StateEntry) -> None:
        """Write over an entry that cannot be read; its position stays taken, and is nobody's."""
        await self._sealed.put(self._key(entry.position), encode(entry.changed(token=""), None))

    async def lease(self, claim: int) -> Lease | None:
        """The sign of life of a claim; None when it never gave one, or what is there cannot be read."""
        try:
            return Lease.model_validate_json(await self._sealed.get(self._lease_key(claim)))
        except (ObjectMissing, ObjectCorrupt, ValueError):
            return None

    async def put_lease(self, claim: int, lease: Lease) -> None:
        """Give a sign of life."""
        await self._sealed.put(self._lease_key(claim), lease.model_dump_json().encode())

    async def drop_leases(self, claims: Iterable[int]) -> None:
        """Remove the signs of life of claims that are over."""
        await self._sealed.objects.delete(*map(self._lease_key, claims))

    def _key(self, position: int) -> str:
        return f"{self._prefix}/{position:0{_DIGITS}}"

    def _lease_key(self, claim: int) -> str:
        return f"{self._lease_prefix}/{claim:0{_DIGITS}}"
