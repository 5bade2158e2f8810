"""The record of refused access: who was refused what, counted by the hour, so that no caller can fill the store.

Refusals of one kind to one caller in one hour are one entry with a count. A caller has at most `MAX_OF_CALLER`
entries an hour, and an hour at most `MAX_OF_HOUR`; what is beyond is counted without its target, and then without
its caller.
The counts are written a few seconds later: a process that is killed loses those seconds, the log has them.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import structlog

from bondstone.base.errors import (
    AttestationInvalid,
    BondError,
    Forbidden,
    HostUnknown,
    OriginRefused,
    PermitInvalid,
    StoreError,
    TooManyRequests,
    Unauthenticated,
    VoteRefused,
)
from bondstone.model.identity import Principal, Target
from bondstone.model.refusal import Refusal
from bondstone.store.refusals import HOUR, Refusals

ACCESS: Final = (
    Forbidden, Unauthenticated, OriginRefused, HostUnknown, TooManyRequests, AttestationInvalid, PermitInvalid,
    VoteRefused,
)  # fmt: skip
"""Errors that refuse access; all others are about what was asked."""
MAX_OF_CALLER: Final = 50
"""Entries of one caller in an hour. Callers that the platform does not know count as one."""
MAX_OF_HOUR: Final = 500
"""Entries of an hour."""
MAX_MESSAGE_CHARS: Final = 300
MAX_TARGET_CHARS: Final = 200
OTHERS: Final = "(others)"
"""What stands in the place of targets, or of callers, that are not kept one by one."""
FLUSH_SECONDS: Final = 5.0
SWEEP_SECONDS: Final = 3600.0

log = structlog.get_logger(__name__)


class RefusalRecord:
    """What this process refuses, and where it is kept.

    Args:
        kept: Of the platform.
        clock: The time, UTC.
    """

    def __init__(self, kept: Refusals, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.kept = kept
        self._clock = clock
        self._process = secrets.token_hex(6)
        self._hours: dict[datetime, dict[tuple[str, ...], Refusal]] = {}
        self._entries: Counter[tuple[datetime, str]] = Counter()
        self._unwritten: set[datetime] = set()
        self._writing = asyncio.Lock()
        self._news = asyncio.Event()

    def count(
        self, principal: Principal | None, address: str, error: BondError, service: str = "", *, means: str = ""
    ) -> None:
        """Count a refusal of access.

        Args:
            principal: The caller; None for one that the platform does not know.
            address: Method and route, or `update NAME` or `activity NAME` of a worker; never a path: paths may
                hold what callers choose, or secrets.
            error: Why it was refused.
            service: What it was about, where the error does not say.
            means: How a caller came that the platform does not know, where that is known.
        """
        now = self._clock()
        hour = now.replace(minute=0, second=0, microsecond=0)
        target = Target(team=service.partition("/")[0], name=service) if service else None
        verb = address
        if isinstance(error, Forbidden) and isinstance(error.target, Target):
            verb, target = error.verb, error.target
        refusal = Refusal(
            hour=hour,
            by=principal.subject if principal else "",
            means=principal.means if principal else means,
            verb=verb,
            target=str(target)[:MAX_TARGET_CHARS] if target else "",
            team=target.team if target else "",
            promise=target.promise if target else "",
            code=error.code,
            message=error.message[:MAX_MESSAGE_CHARS]
            if principal
            else "",  # one who is not known chooses no words
            count=1,
            first_at=now,
            last_at=now,
        )
        entries = self._hours.setdefault(hour, {})
        self._add(entries, self._fitting(entries, refusal))
        self._unwritten.add(hour)
        self._news.set()

    async def flush(self) -> None:
        """Write what was counted since the last time.

        Raises:
            StoreError: the store does not take it; the counts stay for the next time.
        """
        async with self._writing:
            for hour in sorted(self._unwritten):
                self._unwritten.discard(hour)
                try:
                    await self.kept.write(hour, self._process, self._hours[hour].values())
                except BaseException:
                    self._unwritten.add(hour)
                    raise
            now = self._clock()
            for hour in [hour for hour in self._hours if now - hour > 2 * HOUR and hour not in self._unwritten]:
                del self._hours[hour]
                self._entries = Counter({key: n for key, n in self._entries.items() if key[0] != hour})

    async def keep(self, *, flush_seconds: float = FLUSH_SECONDS, sweep_seconds: float = SWEEP_SECONDS) -> None:
        """Write now and again what was counted, and remove what is old, until cancelled.

        Args:
            flush_seconds: Between two writes, where there is anything to write.
            sweep_seconds: Between two removals.
        """
        swept_at: datetime | None = None
        while True:
            try:
                if swept_at is None or (self._clock() - swept_at).total_seconds() >= sweep_seconds:
                    swept_at = self._clock()
                    await self.kept.sweep(now=swept_at)
                self._news.clear()
                await self.flush()
            except StoreError as error:
                log.warning("cannot keep what was refused", error=error.message)
                self._news.set()
            await asyncio.sleep(flush_seconds)
            try:
                async with asyncio.timeout(sweep_seconds):
                    await self._news.wait()
            except TimeoutError:
                continue

    def _fitting(self, entries: dict[tuple[str, ...], Refusal], refusal: Refusal) -> Refusal:
        """The refusal as it is kept: itself where it has or gets an entry, else with others."""
        if refusal.key in entries:
            return refusal
        if self._entries[refusal.hour, refusal.by] >= MAX_OF_CALLER:
            refusal = refusal.changed(verb=OTHERS, target=OTHERS, team="", promise="", message="")
        if refusal.key not in entries and len(entries) >= MAX_OF_HOUR:
            others = {"by": OTHERS, "means": "", "verb": OTHERS, "target": OTHERS}
            refusal = refusal.changed(**others, team="", promise="", message="")
        return refusal

    def _add(self, entries: dict[tuple[str, ...], Refusal], refusal: Refusal) -> None:
        before = entries.get(refusal.key)
        entries[refusal.key] = before.plus(refusal) if before else refusal
        if before is None:
            self._entries[refusal.hour, refusal.by] += 1
