"""What Backstage's catalog reads: the whole of it or a 503, each part with a strong ETag.

A part is a stream of documents, each of them JSON, which is YAML too. Services are spread over pages by a digest
of their id, so that a change of one service changes one page and a new one moves no other; Backstage keeps each
page by its ETag.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from bondstone.api.index.services import Entry, ServiceIndex
from bondstone.backstage import entities, templates
from bondstone.backstage.entities import Entity, Places
from bondstone.base.canonical import digest
from bondstone.base.errors import StoreUnavailable
from bondstone.client import Bondstone

ROOT: Final = "bondstone"
LOCATION: Final = f"location:default/{ROOT}"
"""What the references of all parts begin with."""
FRESH_SECONDS: Final = 10.0
"""How old the promises may be that the feed describes."""
DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the feed."""

    body: bytes
    etag: str


@dataclass(frozen=True, slots=True)
class _Page:
    """A page of services, and until when it holds if nothing changes."""

    part: Part
    until: datetime


class Feed:
    """The feed of one platform.

    Args:
        index: Every service.
        bond: Reads promises.
        places: For links.
    """

    def __init__(self, index: ServiceIndex, bond: Bondstone, places: Places) -> None:
        self._index = index
        self._bond = bond
        self._places = places
        self._promises: tuple[float, Part, tuple[str, ...]] | None = None
        self._reading = asyncio.Lock()
        self._state: tuple[int, int, int] | None = None
        """What the pages were written for: how many, of how many services, after which change."""
        self._parts: dict[int, _Page] = {}
        self._pages_of: dict[str, int] = {}
        self._remembered = timedelta(hours=places.settings.ended_hours)
        self._names: frozenset[str] = frozenset()
        """Of the promises that were read before."""

    async def part(self, name: str) -> Part | None:
        """A part by its name; None where there is none.

        Args:
            name: `catalog`, `promises`, `teams`, or `services-N`.

        Raises:
            Unreachable: Temporal does not answer, and the services are not known yet.
            StoreUnavailable: the store does not answer.
        """
        if name == "promises":
            return (await self._read_promises())[0]
        await self._index.ready()
        if name == "catalog":
            return _part(self._catalog())
        if name == "teams":
            return await self._teams()
        kind, _, number = name.rpartition("-")
        if kind == "services" and number in map(str, range(self.pages)):
            return self._services(int(number))
        return None

    @property
    def pages(self) -> int:
        """On how many pages services are: always as many, or Backstage would lose those that move for minutes."""
        return self._places.settings.pages

    def location_of(self, service: str) -> str:
        """The name of the location that describes a service."""
        return f"{ROOT}-services-{page_of(service, self.pages)}"

    def _catalog(self) -> list[Entity]:
        names = ["promises", "teams"] if self._places.settings.describe_teams else ["promises"]
        names += [f"services-{number}" for number in range(self.pages)]
        return [entities.location(f"{ROOT}-{name}", f"./{name}.yaml") for name in names]

    async def _teams(self) -> Part:
        if not self._places.settings.describe_teams:
            return _part([])
        owners = (await self._read_promises())[1]
        teams = set(owners) | {entry.row.team for entry in self._index.entries()}
        return _part([entities.group(team, self._places.settings) for team in sorted(teams)])

    def _services(self, number: int) -> Part:
        self._describe_changes()
        return self._parts[number].part

    def _describe_changes(self) -> None:
        """Write again the pages with services that have changed, or whose last day is over."""
        pages, total, position, now = self.pages, self._index.total, self._index.position, datetime.now(UTC)
        if self._state is not None and self._state[:2] == (pages, total):
            stale = {self._page_of(entry.row.id, pages) for entry in self._index.changed_after(self._state[2])}
            stale |= {number for number, page in self._parts.items() if now >= page.until}
        else:
            self._pages_of.clear()
            self._parts.clear()
            stale = set(range(pages))
        self._state = (pages, total, position)
        if not stale:
            return
        on_page: dict[int, list[Entry]] = {number: [] for number in stale}
        for entry in self._index.entries():
            number = self._page_of(entry.row.id, pages)
            if number in stale and (entry.alive or now - entry.stamp <= self._remembered):
                on_page[number].append(entry)
        for number, entries in on_page.items():
            ended = [entry.stamp + self._remembered for entry in entries if not entry.alive]
            described = [
                entities.resource(entry.row, self._places, ended=not entry.alive)
                for entry in sorted(entries, key=_id)
            ]
            self._parts[number] = _Page(_part(described), min([now + DAY, *ended]))

    def _page_of(self, service: str, pages: int) -> int:
        known = self._pages_of.get(service)
        if known is None:
            known = self._pages_of[service] = page_of(service, pages)
        return known

    async def _read_promises(self) -> tuple[Part, tuple[str, ...]]:
        async with self._reading:
            if self._promises is None or time.monotonic() - self._promises[0] > FRESH_SECONDS:
                described: list[Entity] = templates.verb_templates(self._places)
                owners = set()
                rows = await self._bond.promises.list()
                self._require_known(frozenset(row.promise for row in rows))
                for row in rows:
                    promise = await self._bond.promises.get(row.promise, row.version)
                    made, note = templates.promise_templates(promise, self._places)
                    described += [entities.component(promise, self._places, note), *made]
                    owners |= {promise.owner} - {""}
                self._promises = (time.monotonic(), _part(described), tuple(sorted(owners)))
            return self._promises[1], self._promises[2]

    def _require_known(self, names: frozenset[str]) -> None:
        """A store that has lost promises, as a directory that is not mounted has, describes nothing.

        Raises:
            StoreUnavailable: a promise is gone that was read before, or that a living service names.
        """
        needed = self._names | {entry.row.promise for entry in self._index.entries() if entry.alive}
        if gone := sorted(needed - names - {""}):
            raise StoreUnavailable(
                f"the store no longer has the promise {gone[0]}, and promises are never removed",
                hint="is the directory of the store mounted?",
            )
        self._names = names


def _part(described: Iterable[Entity]) -> Part:
    documents = [json.dumps(each, ensure_ascii=False, separators=(",", ":")) for each in described]
    body = "".join(f"---\n{document}\n" for document in documents).encode() or b"# none\n"
    return Part(body, f'"{digest(body)[:32]}"')


def page_of(service: str, pages: int) -> int:
    """The number of the page that describes a service, of so many pages."""
    return int(digest(service.encode())[:8], 16) % pages


def _id(entry: Entry) -> str:
    return entry.row.id


def changed_locations(feed: Feed, services: Sequence[str]) -> list[str]:
    """The references of the locations that describe services that have changed."""
    return sorted({f"{LOCATION}{feed.location_of(service).removeprefix(ROOT)}" for service in services})
