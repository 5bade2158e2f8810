"""Telling Backstage what has changed, so that its catalog shows it in a second or two instead of minutes."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Final

import httpx2
import structlog

from bondstone.api.index.services import POLL_SECONDS, ServiceIndex
from bondstone.backstage.feed import LOCATION, Feed, changed_locations
from bondstone.base.connection_words import connection_words
from bondstone.base.errors import BondError
from bondstone.base.settings import Settings
from bondstone.identity.backstage_tokens import read_secret

GATHER_SECONDS: Final = 0.05
"""Changes that one look at Temporal reads are told together."""
LOOK_SECONDS: Final = 0.5
"""How often a process that tells Backstage looks for changes: half of a look is the mean of what that costs."""
RETRY_SECONDS: Final = 0.3
PROMISES_SECONDS: Final = 10.0
TRIES: Final = 3
AGAIN_SECONDS: Final = 1.0
"""After how long what could not be told is repeated; each time twice as long, up to `AGAIN_AT_MOST_SECONDS`."""
AGAIN_AT_MOST_SECONDS: Final = 30.0
BY_ITSELF_SECONDS: Final = 150.0
"""Backstage reads every part by itself within this time: then nothing needs to be repeated."""
_TIMEOUT_SECONDS: Final = 10.0

log = structlog.get_logger(__name__)


def poll_seconds(settings: Settings) -> float:
    """How often a process looks for changes of services: more often where Backstage is told of them."""
    told = settings.backstage is not None and settings.backstage.catalog_token_file is not None
    return LOOK_SECONDS if told else POLL_SECONDS


class Refresher:
    """Follows the index, and tells Backstage which parts of the feed to read again.

    What cannot be told is repeated, ever more seldom, until Backstage has read every part again by itself.

    Args:
        index: Every service.
        feed: Says which part describes a service.
        url: Of Backstage's backend.
        token_file: With the token that its catalog accepts.
        client: Does the requests.
    """

    def __init__(
        self, index: ServiceIndex, feed: Feed, url: str, token_file: Path, client: httpx2.AsyncClient | None = None
    ) -> None:
        self._index = index
        self._feed = feed
        self._url = f"{url}/api/catalog/refresh"
        self._token_file = token_file
        self._client = client or httpx2.AsyncClient(timeout=_TIMEOUT_SECONDS, follow_redirects=False)
        self._untold: dict[str, float] = {}
        """Locations that could not be told, and when Backstage has read them by itself."""
        self._is_behind = asyncio.Event()

    async def run(self) -> None:
        """Tell until cancelled."""
        await self._wait_for_list()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow_services())
                group.create_task(self._follow_promises())
                group.create_task(self._repeat())
        finally:
            await self._client.aclose()

    async def _follow_services(self) -> None:
        position, teams = self._index.position, ""
        while True:
            reported_to = position
            await self._index.changes(reported_to)
            await asyncio.sleep(GATHER_SECONDS)
            position, entries = self._index.position, self._index.changed_after(reported_to)
            locations = changed_locations(self._feed, [entry.row.id for entry in entries])
            for location in locations:
                await self._tell(location)
            etag = await self._etag("teams")
            if etag and etag != teams:
                await self._tell(f"{LOCATION}-teams")
                teams = etag

    async def _follow_promises(self) -> None:
        """Promises are published seldom, and nothing says when: their part is compared now and then."""
        known = ""
        while True:
            etag = await self._etag("promises")
            if known and etag and etag != known:
                await self._tell(f"{LOCATION}-promises")
            known = etag or known
            await asyncio.sleep(PROMISES_SECONDS)

    async def _etag(self, part: str) -> str:
        """The state of a part of the feed; empty when it cannot be read."""
        try:
            read = await self._feed.part(part)
        except BondError as error:
            log.info("a part of the feed is not compared", part=part, message=error.message)
            return ""
        return read.etag if read else ""

    async def _wait_for_list(self) -> None:
        while True:
            try:
                await self._index.ready()
            except BondError:
                continue
            return

    async def _tell(self, location: str) -> None:
        if self._untold:  # Backstage is away: one after the other would only wait for the same
            self._untold[location] = time.monotonic() + BY_ITSELF_SECONDS
            return
        for attempt in range(1, TRIES + 1):
            problem = await self._send(location)
            if not problem:
                return
            await asyncio.sleep(RETRY_SECONDS * attempt)
        log.warning("Backstage was not told of a change, and will be again", location=location, message=problem)
        self._untold[location] = time.monotonic() + BY_ITSELF_SECONDS
        self._is_behind.set()

    async def _repeat(self) -> None:
        """Tell again what could not be told, until it can be, or Backstage has read it by itself."""
        pause = AGAIN_SECONDS
        while True:
            await self._is_behind.wait()
            await asyncio.sleep(pause)
            pause = min(2 * pause, AGAIN_AT_MOST_SECONDS)
            for location, until in sorted(self._untold.items()):
                del self._untold[location]  # a change that comes while this is sent is told anew
                if time.monotonic() < until and await self._send(location):
                    self._untold.setdefault(location, until)
                    break
            if not self._untold:
                self._is_behind.clear()
                pause = AGAIN_SECONDS

    async def _send(self, location: str) -> str:
        """Tell once; what went wrong, or nothing."""
        try:
            token = await asyncio.to_thread(read_secret, self._token_file)
            answer = await self._client.post(
                self._url, json={"entityRef": location}, headers={"Authorization": f"Bearer {token}"}
            )
            answer.raise_for_status()
        except (httpx2.HTTPError, BondError) as error:
            return connection_words(error)[:200]
        return ""
