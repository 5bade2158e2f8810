"""The feed for Backstage at many services: bytes and CPU of reading all of it again.

python -m benchmarks.backstage_feed [--services 10000]

The feed is asked part by part, as Backstage asks, with the ETags of the reading before: everything for the
first time, with nothing changed, and after one service has changed.
The index is filled with rows of our own; nothing runs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from bondstone.api.index.services import ServiceIndex
from bondstone.backstage.entities import Places
from bondstone.backstage.feed import Feed
from bondstone.base.backstage_settings import BackstageSettings
from bondstone.client import Bondstone
from bondstone.model.rows import ListedService
from bondstone.model.service_row import ServiceRow
from bondstone.temporal.service_changes import ServiceVisibility

TEAMS = 50
ROUNDS = 5


class Rows:
    """Visibility with rows of our own.

    Args:
        count: How many.
    """

    def __init__(self, count: int) -> None:
        self.services = [listed(number) for number in range(count)]

    async def listed(
        self, *, since: datetime | None = None, pause_seconds: float = 0.0
    ) -> AsyncIterator[list[ListedService]]:
        """All of them, or those that changed since then."""
        del pause_seconds
        yield [each for each in self.services if since is None or each.stamp >= since]


@dataclass(frozen=True)
class Reading:
    """What one reading of the services took."""

    cpu_ms: float
    sent_kib: float
    pages: int
    not_modified: int


def listed(
    number: int, phase: str = "ready", stamp: datetime | None = None, *, promise: str = "postgres"
) -> ListedService:
    """One service."""
    team = f"team-{number % TEAMS}"
    at = datetime.now(UTC) - timedelta(hours=1)
    row = ServiceRow(
        id=f"{team}/orders-database-{number}",
        team=team,
        name=f"orders-database-{number}",
        promise=promise,
        revision=f"{promise}@1.4.0",
        phase=phase,
        health="healthy",
        labels={"tier": "prod", "region": "eu"},
        changed_at=at,
    )
    return ListedService(row=row, alive=True, stamp=stamp or at)


async def read(feed: Feed, known: dict[str, str]) -> Reading:
    """Read every page of services, as Backstage does with the ETags that it knows."""
    began, sent, same = time.process_time(), 0, 0
    for number in range(feed.pages):
        name = f"services-{number}"
        part = await feed.part(name)
        if part is None:
            raise AssertionError(name)
        if known.get(name) == part.etag:
            same += 1
        else:
            sent += len(part.body)
        known[name] = part.etag
    return Reading((time.process_time() - began) * 1000, sent / 1024, feed.pages, same)


async def measure(count: int) -> dict[str, Any]:
    """All three readings, medians of some rounds."""
    rows = Rows(count)
    readings: dict[str, list[Reading]] = {"first": [], "nothing changed": [], "one service changed": []}
    for turn in range(ROUNDS):
        index = ServiceIndex(cast("ServiceVisibility", rows))
        await index.relist()
        settings = BackstageSettings(url="https://backstage.example", feed_token_file=Path("feed"))
        feed = Feed(index, cast("Bondstone", None), Places(settings, "https://bond.example"))
        known: dict[str, str] = {}
        readings["first"].append(await read(feed, known))
        readings["nothing changed"].append(await read(feed, known))
        rows.services[turn] = listed(turn, "updating", datetime.now(UTC))
        await index.poll()
        readings["one service changed"].append(await read(feed, known))
    return {
        name: vars(sorted(rounds, key=lambda reading: reading.cpu_ms)[ROUNDS // 2])
        for name, rounds in readings.items()
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, default=10_000)
    parser.add_argument("-o", "--output", choices=["table", "json"], default="table")
    options = parser.parse_args()
    figures = asyncio.run(measure(options.services))
    if options.output == "json":
        print(json.dumps(figures))
        return
    for name, reading in figures.items():
        print(
            f"{name:20} {reading['cpu_ms']:8.1f} CPU-ms {reading['sent_kib']:9.1f} KiB, "
            f"{reading['not_modified']} of {reading['pages']} pages not modified"
        )


if __name__ == "__main__":
    main()
