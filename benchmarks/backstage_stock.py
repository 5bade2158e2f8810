"""What a stock Backstage costs and how soon it shows a change: the API of this process beside a real backend.

python -m benchmarks.backstage_stock [--services 10000] [--pages 64] [--changes 10] [--rest-minutes 6]

The index is filled with rows of our own; nothing runs. Backstage reads the feed over a wire that counts. Printed:
the first reading of everything, a refresh of every part with nothing changed, the time from a service's change to
the catalog showing it, the list of actions asked with the token that Backstage made for it, and requests and
bytes at rest, scaled to an hour. The time of a change is parted: until Bondstone tells Backstage, until Backstage
reads the page, until it has the page, until the catalog shows it. The first and third are Bondstone's, the others
Backstage's. What a change costs depends on how many services are on its page: 1,560 services on 10 pages have as
many on each as 10,000 on 64, and are read in a tenth of the time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import psutil

from benchmarks.backstage_feed import listed
from bondstone.backstage.feed import page_of
from bondstone.base.settings import Settings
from bondstone.promise.bundle import pack
from bondstone.promise.load import load_promise
from bondstone.store import Store
from harness.light_api import Listed, serving
from harness.servers.backstage.configuration import Secrets, bondstone_settings, configuration
from harness.servers.backstage.stock import Backstage
from harness.servers.process import LOOPBACK, free_port
from harness.servers.wire import Wire
from harness.waiting import wait_until

PROMISE = Path(__file__).parents[1] / "promises" / "sqlite-database"
WAIT_SECONDS = 1800.0
ACTIONS = "/backstage/.backstage/actions/v1/actions"
LISTS = 200
QUIET_SECONDS = 5.0
LOOK_SECONDS = 0.02
STAGES = ("told", "Backstage begins to read", "page delivered", "Backstage shows", "in all")


@dataclass(frozen=True)
class Cost:
    """CPU and traffic of a while, and how long it was."""

    seconds: float
    api_cpu_seconds: float
    backstage_cpu_seconds: float
    requests: int
    not_modified: int
    sent_kib: float
    received_kib: float


class Bench:
    """A Backstage that reads the feed of this process.

    Args:
        backstage: That.
        wire: From Backstage to the API.
        told: From the API to Backstage.
        services: What the API lists.
        pages: On how many pages of the feed.
    """

    def __init__(self, backstage: Backstage, wire: Wire, told: Wire, services: Listed, pages: int) -> None:
        self.backstage = backstage
        self.wire = wire
        self.told = told
        self.services = services
        self.pages = pages
        process = backstage.server.process
        if process is None:
            raise AssertionError("Backstage does not run")
        self.process = psutil.Process(process.pid)

    def cost(self, act: Callable[[], object]) -> Cost:
        """What something costs both sides until it is done."""
        self.wire.count_anew()
        began, ours, theirs = time.monotonic(), time.process_time(), self._cpu()
        act()
        traffic = self.wire.count_anew()
        return Cost(
            seconds=round(time.monotonic() - began, 2),
            api_cpu_seconds=round(time.process_time() - ours, 2),
            backstage_cpu_seconds=round(self._cpu() - theirs, 2),
            requests=traffic.requests.total(),
            not_modified=traffic.statuses[304],
            sent_kib=round(traffic.sent / 1024, 1),
            received_kib=round(traffic.received / 1024, 1),
        )

    def _cpu(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def shows(self, count: int) -> bool:
        """Whether the catalog has so many services."""
        query = {"filter": "kind=resource", "limit": "0"}
        return int(self.get("/api/catalog/entities/by-query", query)["totalItems"]) >= count

    def get(self, path: str, query: dict[str, str] | None = None) -> Any:
        """Read something of Backstage's API as the person."""
        headers = self.backstage.person()
        answer = httpx2.get(f"{self.backstage.url}{path}", params=query, headers=headers, timeout=120)
        return answer.raise_for_status().json()

    def refresh_all(self) -> None:
        """Have every part read again, and wait until all have been."""
        headers = {"Authorization": f"Bearer {self.backstage.files.catalog.read_text()}"}
        parts = [
            each["metadata"]["name"]
            for each in self.backstage.entities(kind="Location")
            if each["metadata"]["name"].startswith("bondstone-")
        ]
        for part in parts:
            body = {"entityRef": f"location:default/{part}"}
            self.backstage.post("/api/catalog/refresh", body, headers).raise_for_status()
        wait_until(lambda: self.wire.traffic.requests.total() >= len(parts), "every part", seconds=WAIT_SECONDS)

    def change(self, number: int) -> tuple[float, float, float, float, float]:
        """Change a service.

        Returns:
            Seconds of each of `STAGES`, and until the catalog shows it.
        """
        self.wire.count_anew()
        self.told.count_anew()
        at = datetime.now(UTC)
        phase = f"updating-{at.timestamp():.0f}"
        row = self.services.services[number] = listed(number, phase, at, promise="sqlite-database")
        path = f"/api/catalog/entities/by-name/resource/default/{row.row.team}.{row.row.name}"
        began = time.monotonic()
        wait_until(
            lambda: self.get(path)["spec"]["lifecycle"] == phase,
            f"{path} as {phase}",
            seconds=WAIT_SECONDS,
            longest_pause=LOOK_SECONDS,
        )
        ended = time.monotonic()
        told = self.told.traffic.moments["/api/catalog/refresh"][0]
        page = f"/services-{page_of(row.row.id, self.pages)}.yaml"
        read, delivered = next(each for path, each in self.wire.traffic.moments.items() if path.endswith(page))
        return told - began, read - told, delivered - read, ended - delivered, ended - began

    def actions_listed(self) -> list[float]:
        """Seconds of each list of actions, which Backstage asks for before every step."""
        self.wire.count_anew()
        self.get("/api/scaffolder/v2/actions")
        token = self.wire.traffic.authorizations[ACTIONS]
        took = []
        with httpx2.Client(base_url=self.wire.target, headers={"Authorization": token}, trust_env=False) as client:
            for _ in range(LISTS):
                began = time.monotonic()
                client.get(ACTIONS).raise_for_status()
                took.append(time.monotonic() - began)
        return took

    def until_quiet(self) -> None:
        """Wait until nothing is read any more."""

        def is_quiet() -> bool:
            before = self.wire.traffic.requests.total()
            time.sleep(QUIET_SECONDS)
            return before == self.wire.traffic.requests.total()

        wait_until(is_quiet, "no more requests", seconds=WAIT_SECONDS)


async def publish(settings: Settings) -> None:
    """One promise, for the services."""
    store = await Store.open(settings)
    await store.revisions.publish(pack(PROMISE), load_promise(PROMISE))


def measure(
    folder: Path, count: int, pages: int, changes: int, rest_minutes: float
) -> Iterator[tuple[str, dict[str, Any]]]:
    """All figures, each as soon as it is known.

    Args:
        folder: For the data of both sides.
        count: How many services.
        pages: On how many pages of the feed.
        changes: How many changes are timed.
        rest_minutes: How long nothing happens.

    Yields:
        A name and its figures.
    """
    files = Secrets(folder)
    files.make()
    url = f"http://{LOOPBACK}:{free_port()}"
    services = Listed([listed(number, promise="sqlite-database") for number in range(count)])
    told = json.loads(bondstone_settings(url, files, pages=pages)["BOND_BACKSTAGE"])
    with (
        Wire(url) as back,
        serving(folder / "data", services, backstage={**told, "url": back.url}) as settings,
        Wire(settings.api) as wire,
    ):
        asyncio.run(publish(settings))
        backstage = Backstage(url, folder, files)
        try:
            backstage.start(configuration(url, wire.url, files))
            bench = Bench(backstage, wire, back, services, pages)
            shown = lambda: wait_until(lambda: bench.shows(count), "all services", seconds=WAIT_SECONDS)  # noqa: E731
            yield "first reading", vars(bench.cost(shown))
            bench.until_quiet()
            yield "refresh, nothing changed", vars(bench.cost(bench.refresh_all))
            bench.until_quiet()
            stages = list(zip(*(bench.change(number) for number in range(changes)), strict=True))
            yield "a change, seconds", {"changes": changes, "load": round(os.getloadavg()[0], 1)}
            for stage, seconds in zip(STAGES, stages, strict=True):
                yield (
                    f"  {stage}",
                    {"median": round(statistics.median(seconds), 2), "slowest": round(max(seconds), 2)},
                )
            lists = [1000 * took for took in bench.actions_listed()]
            yield (
                "actions listed, milliseconds",
                {
                    "median": round(statistics.median(lists), 1),
                    "slowest": round(max(lists), 1),
                    "lists": len(lists),
                },
            )
            bench.until_quiet()
            rest = vars(bench.cost(lambda: time.sleep(rest_minutes * 60)))
            yield "rest", rest
            hour = 3600 / rest["seconds"]
            scaled = {name: round(value * hour, 1) for name, value in rest.items() if name != "seconds"}
            yield "rest, scaled to an hour", scaled
        finally:
            backstage.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, default=10_000)
    parser.add_argument("--pages", type=int, default=64)
    parser.add_argument("--changes", type=int, default=10)
    parser.add_argument("--rest-minutes", type=float, default=6.0)
    options = parser.parse_args()
    print(f"{options.services} services on {options.pages} pages")
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), options.services, options.pages, options.changes, options.rest_minutes)
        for name, value in figures:
            print(f"{name:28} {', '.join(f'{key} {each}' for key, each in value.items())}", flush=True)


if __name__ == "__main__":
    main()
