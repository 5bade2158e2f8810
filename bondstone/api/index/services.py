"""The index of services: every row in memory, kept current by what visibility says has changed.

Nothing here wakes a workflow. Three things keep it true: a look each second for services whose `BondChangedAt` is
recent; a count each quarter of a minute, and where it differs the whole list again; the whole list again each
ten minutes in any case. Of two states of one service the later counts, in whatever order they are read.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left, bisect_right
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import islice
from typing import Any, Final

import structlog

from bondstone.base.errors import Unreachable
from bondstone.client.row_filter import row_values
from bondstone.model.identity import Target
from bondstone.model.rows import FleetList, ListedService
from bondstone.model.service_row import ServiceRow
from bondstone.temporal.fleet_list import MARGIN, KeptFleet, Visibility

POLL_SECONDS: Final = 1.0
OVERLAP: Final = timedelta(seconds=5)
"""How much later than its mark a change may appear in visibility."""
COUNT_SECONDS: Final = 15.0
RELIST_SECONDS: Final = 600.0
RELIST_PAUSE_SECONDS: Final = 0.2
FIRST_LIST_SECONDS: Final = 20.0
"""How long a request waits for a process that has not listed the services yet."""
CHANGING_SECONDS: Final = 30.0
"""How long a caller who has asked for a change sees what visibility says at this very moment."""
MAX_CHANGING: Final = 10_000
MAX_CHANGES: Final = 20_000
"""Changes remembered for streams that resume."""

SORTS: Final[dict[str, Callable[[ServiceRow], str | float]]] = {
    "id": lambda row: row.id,
    "phase": lambda row: row.phase,
    "promise": lambda row: row.promise,
    "changed_at": lambda row: row.changed_at.timestamp(),
    "created_at": lambda row: row.created_at.timestamp() if row.created_at else 0.0,
}
"""What a list may be sorted by, and then by id. A service whose age is not listed yet counts as the oldest."""

Place = tuple[str | float, str]
"""Where a service stands in an order: what it is sorted by, and its id."""

log = structlog.get_logger(__name__)


class Entry:
    """One service in the index.

    Args:
        listed: As visibility has it.
    """

    __slots__ = ("__dict__", "alive", "row", "stamp", "target")

    def __init__(self, listed: ListedService) -> None:
        self.row = listed.row
        self.alive = listed.alive
        self.stamp = listed.stamp
        row = listed.row
        self.target = Target(team=row.team, promise=row.promise, labels=row.labels, name=row.id)

    @cached_property
    def values(self) -> dict[str, Any]:
        """The row as `where` sees it."""
        return row_values(self.row)


@dataclass(frozen=True, slots=True)
class FleetCounts:
    """How many services there are that are alive."""

    total: int
    phases: dict[str, int]
    teams: dict[str, int]
    promises: dict[str, int]
    health: dict[str, int]
    drifted: int
    """Those whose last drift check found something"""
    users: dict[str, dict[str, int]]
    """By promise, how many each team has"""


@dataclass(frozen=True, slots=True)
class ServiceChange:
    """A service that appeared, changed or ended."""

    position: int
    """Grows with each change that this process has read."""
    entry: Entry


class ServiceIndex:
    """Every service within Temporal's retention.

    Args:
        visibility: What Temporal says of all services.
        kept: The last whole list, to begin with and to keep anew; without it a process begins with a whole list.
        poll_seconds: How often to look for changes.
    """

    def __init__(
        self, visibility: Visibility, kept: KeptFleet | None = None, *, poll_seconds: float = POLL_SECONDS
    ) -> None:
        self._visibility = visibility
        self._kept = kept
        self._poll_seconds = poll_seconds
        self._entries: dict[str, Entry] = {}
        self._listed = asyncio.Event()
        self._sorted: dict[str, list[tuple[Place, Entry]]] = {}
        self._counts: FleetCounts | None = None
        self._changes: deque[ServiceChange] = deque(maxlen=MAX_CHANGES)
        self._position = 0
        self._news = asyncio.Event()
        self._newest: datetime | None = None
        self._changing: OrderedDict[str, float] = OrderedDict()

    # Keeping it ----------------------------------------------------------------------------------------------

    async def keep(self) -> None:
        """List the services, and keep the list current until cancelled."""
        await self._persist(self.begin)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._every(self._poll_seconds, self.poll))
            group.create_task(self._every(COUNT_SECONDS, self._compare))
            group.create_task(self._every(RELIST_SECONDS, self.relist))

    async def begin(self) -> None:
        """Begin with the list that was kept and what has changed since, if a count agrees; else with a whole list.

        Raises:
            Unreachable: Temporal does not answer.
        """
        known = await self._kept.get() if self._kept else None
        if known is not None:
            self._take(known.services)
            self._newest = known.current_to
            await self.poll()
            if await self._visibility.count_alive() == self._alive():
                self._listed.set()  # `keep` reads the whole list next, while requests are served
                return
        await self.relist()

    async def relist(self) -> None:
        """Read the whole list, forget what is not in it, and keep it for the next process.

        Raises:
            Unreachable: Temporal does not answer.
        """
        began = datetime.now(UTC)
        pause = RELIST_PAUSE_SECONDS if self._listed.is_set() else 0.0
        listed: list[ListedService] = []
        async for page in self._visibility.listed(pause_seconds=pause):
            listed += page
            self._take(page)
            await asyncio.sleep(0)
        present = {service.row.id for service in listed}
        gone = [
            name for name, entry in self._entries.items() if name not in present and entry.stamp < began - OVERLAP
        ]
        for name in gone:
            del self._entries[name]
        if gone:
            self._changed()
        self._listed.set()
        if self._kept is not None:
            current_to = began - MARGIN
            await self._kept.put(FleetList(current_to=current_to, services=()).updated(listed, current_to))

    async def poll(self) -> None:
        """Read what has changed lately.

        Raises:
            Unreachable: Temporal does not answer.
        """
        since = (self._newest or datetime.now(UTC)) - OVERLAP
        async for page in self._visibility.listed(since=since):
            self._take(page)

    async def _compare(self) -> None:
        if await self._visibility.count_alive() == self._alive():
            return
        await asyncio.sleep(2 * self._poll_seconds)  # it may have been between two looks
        await self.poll()
        counted = await self._visibility.count_alive()
        known = self._alive()
        if counted != known:
            log.info("listing the services again", counted=counted, known=known)
            await self.relist()

    def _alive(self) -> int:
        return sum(entry.alive for entry in self._entries.values())

    def _take(self, page: Iterable[ListedService]) -> None:
        changed = False
        for service in page:
            known = self._entries.get(service.row.id)
            if known is not None and (
                known.stamp > service.stamp or (known.row == service.row and known.alive == service.alive)
            ):
                continue
            entry = Entry(service)
            self._entries[service.row.id] = entry
            self._position += 1
            self._changes.append(ServiceChange(self._position, entry))
            if self._newest is None or entry.stamp > self._newest:
                self._newest = entry.stamp
            changed = True
        if changed:
            self._changed()

    def _changed(self) -> None:
        self._sorted.clear()
        self._counts = None
        self._news.set()
        self._news = asyncio.Event()

    async def _every(self, seconds: float, work: Callable[[], Any]) -> None:
        """Do it again and again, at most half of the time."""
        while True:
            began = time.monotonic()
            await self._persist(work)
            await asyncio.sleep(max(seconds, time.monotonic() - began))

    async def _persist(self, work: Callable[[], Any]) -> None:
        while True:
            try:
                await work()
            except Unreachable as error:
                log.warning("the index is not current", message=error.message)
                await asyncio.sleep(self._poll_seconds)
            else:
                return

    def expect_changes_of(self, caller: str) -> None:
        """Remember that a caller has asked for a change: what they read next should show it."""
        self._changing.pop(caller, None)
        self._changing[caller] = time.monotonic()
        if len(self._changing) > MAX_CHANGING:
            self._changing.popitem(last=False)

    # Reading it ----------------------------------------------------------------------------------------------

    async def ready(self, caller: str = "") -> None:
        """Wait until the services have been listed once; for a caller who has just changed something, look again.

        Args:
            caller: Who reads.

        Raises:
            Unreachable: they have not been in time.
        """
        with suppress(TimeoutError):
            await asyncio.wait_for(self._listed.wait(), FIRST_LIST_SECONDS)
        if not self._listed.is_set():
            raise Unreachable("the services are not listed yet", hint="this process has just started; try again")
        if time.monotonic() - self._changing.get(caller, -CHANGING_SECONDS) < CHANGING_SECONDS:
            with suppress(Unreachable, TimeoutError):
                await asyncio.wait_for(self.poll(), POLL_SECONDS)

    def entries(self) -> Collection[Entry]:
        """Every service, in no order; also those that have ended, within Temporal's retention."""
        return self._entries.values()

    @property
    def total(self) -> int:
        """How many those are."""
        return len(self._entries)

    def get(self, service: str) -> Entry | None:
        """One service; None when there is none of that name."""
        return self._entries.get(service)

    def sorted_by(
        self, sort: str, *, descending: bool = False, after: Place | None = None
    ) -> Iterator[tuple[Place, Entry]]:
        """Every service with its place in an order of `SORTS`, and by id where that does not decide.

        Args:
            sort: One of `SORTS`.
            descending: The other way round.
            after: Only those that come after this place, which need not be taken by a service any more.
        """
        placed = self._sorted.get(sort)
        if placed is None:
            key = SORTS[sort]
            placed = [((key(entry.row), name), entry) for name, entry in self._entries.items()]
            placed.sort(key=_place)
            self._sorted[sort] = placed
        if descending:
            end = len(placed) if after is None else bisect_left(placed, after, key=_place)
            return (placed[index] for index in range(end - 1, -1, -1))
        return islice(placed, 0 if after is None else bisect_right(placed, after, key=_place), None)

    def counts(self, permitted: Callable[[Target], bool] | None = None) -> FleetCounts:
        """How many services are alive, by phase, team, promise and health.

        Args:
            permitted: Which of them count; default: all.
        """
        if permitted is not None:
            return _count(entry for entry in self._entries.values() if entry.alive and permitted(entry.target))
        if self._counts is None:
            self._counts = _count(entry for entry in self._entries.values() if entry.alive)
        return self._counts

    # Following it --------------------------------------------------------------------------------------------

    def changes_since(self, stamp: datetime) -> list[Entry]:
        """The services changed at that moment or later, the earliest change first."""
        return sorted(
            (entry for entry in self._entries.values() if entry.stamp >= stamp), key=lambda entry: entry.stamp
        )

    @property
    def position(self) -> int:
        """Of the last change."""
        return self._position

    async def changes(self, after: int) -> tuple[int, list[Entry]]:
        """The changes after a position, waited for where there are none; and the position of the last."""
        while self._position <= after:
            await self._news.wait()
        return self._position, self.changed_after(after)

    def changed_after(self, position: int) -> list[Entry]:
        """The changes after a position that are remembered."""
        return [change.entry for change in self._changes if change.position > position]


def _place(placed: tuple[Place, Entry]) -> Place:
    return placed[0]


def _count(entries: Iterable[Entry]) -> FleetCounts:
    rows = [entry.row for entry in entries]
    users: dict[str, dict[str, int]] = {}
    for (promise, team), count in Counter((row.promise, row.team) for row in rows).most_common():
        users.setdefault(promise, {})[team] = count
    return FleetCounts(
        total=len(rows),
        phases=dict(Counter(row.phase for row in rows)),
        teams=dict(Counter(row.team for row in rows)),
        promises=dict(Counter(row.promise for row in rows)),
        health=dict(Counter(row.health for row in rows)),
        drifted=sum(row.drift > 0 for row in rows),
        users=users,
    )
