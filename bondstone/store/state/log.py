"""The state of one step of a service: an append-only log with a fence in place of a lock."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import structlog

from bondstone.base.errors import ObjectCorrupt, ObjectMissing, StoreError
from bondstone.base.metrics import LEASE_WAIT
from bondstone.base.process_identity import Holder, is_dead
from bondstone.model.service import ServiceId
from bondstone.store.sealed import SealedObjects
from bondstone.store.state.claim import Claim, Snapshot
from bondstone.store.state.entries import Clock, EntryLog, ReadEntry
from bondstone.store.state.fence import (
    Kind,
    Lease,
    LeaseTerms,
    Observation,
    StateEntry,
    fences_after,
    judge,
    unreadable,
)

KEEP_ENTRIES: Final = 64
"""Entries that stay in a log at rest: the ends of its last twenty or thirty operations."""

_READS_AT_ONCE: Final = 8

_log = structlog.get_logger()


class StateLog:
    """The log of one step of one service.

    Args:
        sealed: Where it is kept, encrypted.
        service: Whose state.
        step: Id of the step.
        terms: The times of its leases.
        clock: Injected by tests.
        dead: Whether a holder is provably dead; injected by tests.
        keep: Entries that stay when it is pruned.
    """

    def __init__(
        self,
        sealed: SealedObjects,
        service: ServiceId,
        step: str,
        *,
        terms: LeaseTerms | None = None,
        clock: Clock | None = None,
        dead: Callable[[Holder], bool] = is_dead,
        keep: int = KEEP_ENTRIES,
    ) -> None:
        self._log = EntryLog(sealed, service, step, clock=clock)
        self._terms = terms or LeaseTerms()
        self._dead = dead
        self._keep = keep

    async def read(self) -> Snapshot:
        """The newest state, whoever holds it.

        Raises:
            ObjectMissing: when the log names a state that is not in the store.
            ObjectCorrupt: when it is not readable.
            KeyMissing: when the key that sealed it is not in the ring.
        """
        head, state = await self._log.newest()
        return Snapshot(
            position=state.entry.position if state else 0,
            payload=state.payload if state else None,
            holder=head.holder if head is not None and head.kind is not Kind.RELEASE else None,
        )

    async def claim(
        self, holder: Holder, *, on_wait: Callable[[Holder], None] | None = None, replacing: bool = False
    ) -> Claim:
        """Become the only one who may append.

        Waits while another holds the state, until it is released, its lease stands still for its whole term, or
        its process is dead or has left.

        Args:
            holder: Who claims; `Holder.me(attempt, by)`.
            on_wait: Called with who is waited for, about once a second.
            replacing: Go on although the newest state is not in the store, or not readable: another will be put
                in its place. The claim's snapshot has none then.

        Raises:
            ObjectMissing: as `read`; `ObjectCorrupt` and `KeyMissing` too.
            StoreUnavailable: when the store does not answer.
        """
        token = secrets.token_hex(8)
        observation: Observation | None = None
        since = self._log.clock.elapsed()
        while True:
            head, state = await self._newest(replacing=replacing)
            lease = (
                await self._log.lease(head.claim) if head is not None and head.kind is not Kind.RELEASE else None
            )
            verdict = judge(
                head,
                lease,
                observation,
                now=self._log.clock.waited(),
                holder_is_dead=head is not None and self._dead(head.holder),
            )
            if not verdict.go and head is not None:
                observation = verdict.observation
                if on_wait is not None:
                    on_wait(head.holder)
                await self._log.clock.sleep(self._terms.poll_seconds)
                continue
            if verdict.takes_over and head is not None:
                _log.info("state taken over", state=self._log.where, of=str(head.holder), because=verdict.reason)
            position = head.position + 1 if head is not None else 1
            entry = StateEntry(
                position=position,
                kind=Kind.CLAIM,
                claim=position,
                token=token,
                holder=holder,
                at=self._log.clock.now(),
                state=head.state if head is not None else 0,
                fences=fences_after(head, position=position, takes_over=verdict.takes_over),
                term_seconds=self._terms.term_seconds,
            )
            began = self._log.clock.elapsed()
            if await self._took(entry):
                LEASE_WAIT.record(self._log.clock.elapsed() - since, found="held" if observation else "free")
                if head is not None and head.unreadable:
                    await self._log.mend(head)
                snapshot = Snapshot(
                    position=entry.state, payload=state.payload if state is not None else None, holder=holder
                )
                return Claim(self._log, entry, snapshot, began=began, terms=self._terms, keep=self._keep)

    async def forget(self, holder: Holder) -> None:
        """Have no state from here on: every one that was there is removed. Waits as `claim` does.

        An empty log stays empty. What is left of another are a few entries without a state, so that the next
        service of the same name starts with none, and who slept meanwhile stays fenced.

        Raises:
            Fenced: when another attempt came in between.
            StoreUnavailable: when the store does not answer; forget again.
        """
        if not await self._log.positions():
            return
        claim = await self.claim(holder)
        async with claim:
            await claim.forget()

    async def entries(self) -> list[StateEntry]:
        """Every entry that is kept, oldest first, without the payloads."""
        limit = asyncio.Semaphore(_READS_AT_ONCE)

        async def one(position: int) -> StateEntry | None:
            async with limit:
                try:
                    return (await self._log.get(position)).entry
                except ObjectMissing:
                    return None  # pruned meanwhile

        entries = await asyncio.gather(*map(one, await self._log.positions()))
        return [entry for entry in entries if entry is not None]

    async def attempt_of(self, position: int) -> str:
        """The attempt that wrote the state at a position; empty when no state is kept there any more."""
        try:
            entry = (await self._log.get(position)).entry
        except ObjectMissing:
            return ""
        return entry.holder.attempt if entry.carries_state else ""

    async def _newest(self, *, replacing: bool) -> tuple[StateEntry | None, ReadEntry | None]:
        try:
            return await self._log.newest()
        except (ObjectMissing, ObjectCorrupt):
            if not replacing:
                raise
            return await self._readable_head(), None

    async def _readable_head(self) -> StateEntry | None:
        """The newest entry, or what stands in for it when it cannot be read."""
        try:
            head = await self._log.head()
        except ObjectCorrupt:
            position, before = await self._log.last_readable()
            now, term = self._log.clock.now(), self._terms.term_seconds
            return unreadable(position, before, at=now, term_seconds=term) if position else None
        return head.entry if head is not None else None

    async def _took(self, entry: StateEntry) -> bool:
        """Write a claim; whether it is now the newest entry."""
        try:
            other = await self._log.add(entry, None)
        except ObjectMissing:
            return False
        except asyncio.CancelledError:
            # It may be written all the same: whoever comes next need not wait for its lease to run out.
            with suppress(StoreError):
                await self._log.put_lease(entry.position, Lease(token=entry.token, left=True))
            raise
        if other is not None and other.entry.token != entry.token:
            return False
        # A claimant that was stopped for long may have found its position free only because it was pruned.
        return not await self._log.positions(after=entry.position)
