"""A claim on a state: the right to append to it, for as long as nobody else has taken it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

import structlog

from bondstone.base.errors import Fenced, ObjectMissing, StoreError
from bondstone.base.process_identity import Holder
from bondstone.store.state.entries import EntryLog
from bondstone.store.state.fence import Kind, Lease, LeaseTerms, StateEntry, beyond_bound

KEEP_OWN_STATES: Final = 8
"""States of the running claim that stay while it writes newer ones."""

_RETRY_SECONDS: Final = 1.0

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The newest state."""

    position: int
    """Position of the entry that carries it; 0 when there is none yet."""
    payload: bytes | None = field(repr=False)
    holder: Holder | None
    """Who has claimed the state and not released it."""


class Claim:
    """An async context manager: while entered, it renews its lease in the background.

    Leave it only when the tool has stopped. Leaving without `release` says so to the next attempt, which then
    need not wait for the lease to run out.

    Args:
        log: The log it is on.
        entry: The claim's own entry, written and known to be the newest.
        snapshot: The newest state as of the claim.
        began: `clock.elapsed` from before the claim was written.
        terms: The times of its lease.
        keep: Entries that stay when it is released.
    """

    snapshot: Snapshot
    """The newest state as of the claim; its holder is this claim's."""
    lost: asyncio.Event
    """Set when another attempt holds the state, or the lease could not be renewed in time: stop the tool NOW."""

    def __init__(
        self, log: EntryLog, entry: StateEntry, snapshot: Snapshot, *, began: float, terms: LeaseTerms, keep: int
    ) -> None:
        self.snapshot = snapshot
        self.lost = asyncio.Event()
        self._log = log
        self._claim = entry
        self._newest = entry
        self._terms = terms
        self._keep = keep
        self._renewed = began
        self._beats = 0
        self._doubt = False
        self._released = False
        self._fenced_by: Holder | None = None
        self._own_states: list[int] = []
        self._lock = asyncio.Lock()
        self._renewal: asyncio.Task[None] | None = None

    @property
    def holder(self) -> Holder:
        """Who holds it."""
        return self._claim.holder

    async def append(self, payload: bytes) -> int:
        """Write a new state; its position. One put, unless something went wrong before.

        Still allowed once `lost` is set: what the stopping tool leaves is worth keeping if nobody has come yet.

        Raises:
            Fenced: when another attempt has claimed the state; nothing was written, and nothing can be any more.
            StoreUnavailable: when the store does not answer; call again with the same or a newer state.
        """
        return (await self._append(Kind.STATE, payload)).state

    async def release(self, payload: bytes | None = None) -> int:
        """Give the state back; the position of the newest state.

        Args:
            payload: The last state, when it was not appended before.

        Raises:
            Fenced: as `append`.
            StoreUnavailable: as `append`.
        """
        entry = await self._append(Kind.RELEASE, payload)
        self._released = True
        await self._stop_renewal()
        try:
            await self._tidy(self._keep)
        except StoreError as error:
            _log.warning("state log not pruned", state=self._log.where, error=error.message)
        return entry.state

    async def forget(self) -> None:
        """Give the state back, and have none from here on: what was there is removed.

        The log continues behind it. Its positions stay taken, so that whoever slept meanwhile stays fenced.

        Raises:
            Fenced: as `append`.
            StoreUnavailable: as `append`; what was there may still be there, so forget again.
        """
        await self._append(Kind.RELEASE, None, forget=True)
        self._released = True
        await self._stop_renewal()
        self._own_states.clear()
        await self._tidy(keep=1)
        for position in self._newest.fences:
            await self._log.empty(position)

    async def __aenter__(self) -> Self:
        self._renewal = asyncio.create_task(self._renew(), name=f"lease of {self._log.where}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop_renewal()
        if not self._released and self._fenced_by is None:
            with suppress(StoreError):
                await self._log.put_lease(
                    self._claim.position, Lease(token=self._claim.token, beat=self._beats + 1, left=True)
                )

    async def _append(self, kind: Kind, payload: bytes | None, *, forget: bool = False) -> StateEntry:
        async with self._lock:
            if self._released:
                raise Fenced("the claim on the state was released already", where=self._log.where)
            while True:
                if self._fenced_by is not None:
                    raise self._fenced()
                entry = self._next(kind, payload, forget=forget)
                certain = not self._doubt
                self._doubt = True
                other = await self._add(entry, payload)
                if other is None:
                    # A put may have been late: then its position may be free only because it was pruned.
                    if not (certain and self._fresh()) and await self._log.positions(after=entry.position):
                        raise self._fence(await self._newest_holder())
                    self._doubt = False
                    return self._took(entry)
                # What stands there is an earlier try of our own: count it, and go on behind it if it is not this.
                self._took(other)
                if await self._same(other, entry, payload):
                    self._doubt = False
                    return other

    async def _add(self, entry: StateEntry, payload: bytes | None) -> StateEntry | None:
        """Write; None when done, else the entry of this claim's own that stands there. Fenced when another's."""
        try:
            other = await self._log.add(entry, payload)
        except ObjectMissing:
            raise self._fence(await self._newest_holder()) from None
        if other is None:
            return None
        if other.entry.token != self._claim.token:
            raise self._fence(other.entry.holder)
        return other.entry

    async def _same(self, other: StateEntry, entry: StateEntry, payload: bytes | None) -> bool:
        alike = (other.kind, other.state, other.size) == (entry.kind, entry.state, entry.size)
        return alike and (await self._log.get(other.position)).payload == (payload or b"")

    def _next(self, kind: Kind, payload: bytes | None, *, forget: bool) -> StateEntry:
        position = self._newest.position + 1
        state = self._newest.state if payload is None else position
        return self._newest.changed(
            position=position,
            kind=kind,
            at=self._log.clock.now(),
            state=0 if forget else state,
            size=len(payload or b""),
        )

    def _took(self, entry: StateEntry) -> StateEntry:
        self._newest = entry
        if entry.carries_state:
            self._own_states.append(entry.position)
        return entry

    async def _renew(self) -> None:
        pause = self._terms.renew_seconds
        while not self.lost.is_set():
            await self._log.clock.sleep(pause)
            if not self._fresh():
                _log.warning("lease not renewed in time", state=self._log.where, attempt=self.holder.attempt)
                self.lost.set()
                return
            pause = self._terms.renew_seconds if await self._within_lease(self._beat()) else _RETRY_SECONDS

    async def _beat(self) -> bool:
        """Look whether another has claimed, give a sign of life, prune; False when the store failed."""
        began = self._log.clock.elapsed()
        try:
            await self._look()
            if self.lost.is_set():
                return True
            self._beats += 1
            await self._log.put_lease(self._claim.position, Lease(token=self._claim.token, beat=self._beats))
            self._renewed = began
            await self._prune_own()
        except StoreError as error:
            _log.warning("lease renewal failed", state=self._log.where, error=error.message)
            return False
        return True

    async def _look(self) -> None:
        if self._lock.locked():
            return  # an append is under way: it will find out
        async with self._lock:
            following = self._newest.position + 1
            try:
                other = await self._log.get(following) if await self._log.positions(after=following - 1) else None
            except ObjectMissing:
                self._fence(await self._newest_holder())
                return
            if other is not None and other.entry.token != self._claim.token:
                self._fence(other.entry.holder)

    async def _within_lease(self, work: Awaitable[bool]) -> bool:
        """Await `work`, but not longer than the lease lasts; False when it ran out."""
        left = self._terms.stop_seconds - (self._log.clock.elapsed() - self._renewed)
        task = asyncio.ensure_future(work)
        alarm = asyncio.ensure_future(self._log.clock.sleep(left))
        try:
            await asyncio.wait({task, alarm}, return_when=asyncio.FIRST_COMPLETED)
            return task.done() and task.result()
        finally:
            for each in (task, alarm):
                each.cancel()
            await asyncio.gather(task, alarm, return_exceptions=True)

    async def _stop_renewal(self) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)
            self._renewal = None

    async def _prune_own(self) -> None:
        """Remove states that newer ones of this claim have replaced."""
        old = self._own_states[:-KEEP_OWN_STATES]
        await self._log.prune(old)
        self._own_states = self._own_states[len(old) :]

    async def _tidy(self, keep: int) -> None:
        """After the release: only the ends of operations stay, and only so many."""
        await self._log.prune(self._own_states[:-1])
        await self._log.drop_leases([self._claim.position])
        await self._log.prune(beyond_bound(await self._log.positions(), self._newest, bound=keep))

    def _fresh(self) -> bool:
        return self._log.clock.elapsed() - self._renewed < self._terms.stop_seconds

    async def _newest_holder(self) -> Holder:
        head = await self._log.head()
        return head.entry.holder if head is not None else self.holder

    def _fence(self, by: Holder) -> Fenced:
        self._fenced_by = by
        self.lost.set()
        return self._fenced()

    def _fenced(self) -> Fenced:
        return Fenced(
            f"{self.holder} lost the state to {self._fenced_by}",
            where=self._log.where,
            hint="the other attempt continues the work; this one must change nothing more",
        )
