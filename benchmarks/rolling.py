"""A deploy under load: how long it takes, how much later operations end for it, and that nothing is lost.

Services are requested at a steady pace, each a Terraform stack of one resource that takes two seconds, so that
there are always operations in flight. Once in peace; once while two executor and two control workers are replaced
one by one, each when its successor is ready, as a Deployment of Kubernetes does it; once while a new build of the
control workers takes over from another. Each resource writes down that it was made.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.report import Report, parser, run, say
from bondstone.base.errors import BondError
from bondstone.base.settings import Settings
from bondstone.client.direct.client import DirectClient
from bondstone.workers.child import Child
from harness import processes
from harness.waiting import until_async

DRAIN_SECONDS = 30
GRACE_SECONDS = DRAIN_SECONDS + 40
HEAD_START_SECONDS = 5
EMPTY_SECONDS = 1800
"""Only catches what hangs."""
OLD, NEW = "old", "new"

_MODULE = """\
variable "name" { type = string }
variable "log" { type = string }

resource "terraform_data" "thing" {
  input = var.name
  provisioner "local-exec" {
    command     = "sleep 2; echo $NAME >> $LOG"
    environment = { NAME = var.name, LOG = var.log }
  }
}
"""
_SPEC = """\
  inputs: {{type: object, properties: {{}}}}
  steps:
    - id: stack
      terraform: {{module: terraform, variables: {{name: "${{service.team}}/${{service.name}}", log: {log}}}}}
"""


@dataclass
class Turn:
    """What became of one turn's requests."""

    services: list[str] = field(default_factory=list)
    took: float = 0.0
    """What went on meanwhile."""
    seconds: list[float] = field(default_factory=list)
    """From the request to the end of the operation, of those that succeeded."""
    lost: list[str] = field(default_factory=list)


class Fleet:
    """Workers that come and go.

    Args:
        settings: All that they are told.
        directory: For their logs and scratch space.
    """

    def __init__(self, settings: Settings, directory: Path) -> None:
        self._settings = settings
        self._directory = directory
        self._count = 0
        self._running: dict[Child, asyncio.Task[None]] = {}

    async def start(self, kind: str, build: str = "") -> Child:
        """Start one, and wait until it is ready."""
        self._count += 1
        name = f"{kind}-{self._count}"
        told = self._settings.changed(build_id=build, work=self._directory / name)
        child = Child(processes.module_command(name, f"workers.{kind}", told), self._directory, _quiet, say)
        self._running[child] = asyncio.create_task(child.keep_running())
        ready = asyncio.create_task(child.ready.wait())
        await asyncio.wait([ready, self._running[child]], return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            ready.cancel()
            self._running[child].result()
        return child

    async def stop(self, *children: Child) -> None:
        """Tell them to leave, and wait until they have."""
        await asyncio.gather(*(child.stop(GRACE_SECONDS) for child in children))
        await asyncio.gather(*(self._running.pop(child) for child in children))

    async def stop_all(self) -> None:
        """Whatever still runs."""
        await self.stop(*self._running)


def _quiet() -> None:
    """Nobody has to know when a worker changes its state."""


async def measure(options: argparse.Namespace) -> Report:
    report = Report("rolling")
    with processes.scratch() as directory:
        settings = processes.settings_for(directory / "data")
        settings = settings.changed(drain_seconds=DRAIN_SECONDS)
        settings.data.mkdir()
        made = directory / "made.txt"
        async with processes.running([processes.server_command(settings)], directory / "log"):
            fleet = Fleet(settings, directory / "log")
            try:
                await _measure(options, report, fleet, settings, made)
            finally:
                await fleet.stop_all()
    report.notes.append(
        f"a request each {options.every:g} s, {options.peace} of them in peace; Terraform takes two seconds for "
        f"each; server, workers and client share the cores"
    )
    return report


async def _measure(
    options: argparse.Namespace, report: Report, fleet: Fleet, settings: Settings, made: Path
) -> None:
    executors = [await fleet.start("executor") for _ in range(2)]
    controls = [await fleet.start("control") for _ in range(2)]
    spec = _SPEC.format(log=made)
    promise = processes.write_promise(made.parent / "promise", "stack", {"terraform/main.tf": _MODULE}, spec)
    await processes.publish(settings, promise)

    async with DirectClient.connect(settings, by="benchmark") as bond:

        async def peace() -> None:
            await asyncio.sleep(options.peace * options.every)

        async def restart() -> None:
            for kind, workers in (("executor", executors), ("control", controls)):
                for number, worker in enumerate(workers):
                    workers[number] = await fleet.start(kind)
                    await fleet.stop(worker)

        async def take_over(build: str, before: str) -> None:
            workers = [await fleet.start("control", build) for _ in range(2)]
            await bond.workers.promote(build)
            await _holds_nothing(bond, before)
            await fleet.stop(*controls)
            controls[:] = workers

        await (await bond.services.request("stack", "warm/up")).result()
        turns = {"in peace": await _turn(bond, options.every, peace)}
        turns["rolling restart"] = await _turn(bond, options.every, restart)
        await take_over(OLD, "")
        turns["new build"] = await _turn(bond, options.every, lambda: take_over(NEW, OLD))
    _add(report, turns, made)


async def _turn(bond: DirectClient, every: float, what: Callable[[], Awaitable[None]]) -> Turn:
    """Ask for services at a steady pace for as long as something takes, and wait until all have them."""
    turn = Turn()
    team = f"t{uuid.uuid4().hex[:8]}"
    asking: list[asyncio.Task[None]] = []

    async def ask(service: str) -> None:
        began = time.monotonic()
        try:
            await (await bond.services.request("stack", service)).result()
        except BondError as error:
            say(f"lost: {service}: {error}")
            turn.lost.append(service)
        else:
            turn.seconds.append(time.monotonic() - began)

    async def keep_asking() -> None:
        while True:
            service = f"{team}/s{len(turn.services)}"
            turn.services.append(service)
            asking.append(asyncio.create_task(ask(service)))
            await asyncio.sleep(every)

    load = asyncio.create_task(keep_asking())
    await asyncio.sleep(HEAD_START_SECONDS)  # so that some are in flight
    began = time.monotonic()
    await what()
    turn.took = time.monotonic() - began
    load.cancel()
    await asyncio.gather(*asking)
    say(f"{turn.took:.1f} s, {len(turn.services)} services asked for, {len(turn.lost)} lost")
    return turn


async def _holds_nothing(bond: DirectClient, build: str) -> None:
    """Wait until a build holds nothing; workers without builds do not have to: what they hold moves by itself."""

    async def holds_nothing() -> bool:
        [worker] = [each for each in await bond.workers.list() if each.build == build]
        return not any(worker.holds.model_dump().values())

    if build:
        await until_async(holds_nothing, f"build {build} without work", seconds=EMPTY_SECONDS)


def _add(report: Report, turns: Mapping[str, Turn], made: Path) -> None:
    report.add("rolling restart of 2 executor and 2 control workers", "s", turns["rolling restart"].took)
    report.add(
        "new build: from the start of its 2 workers to the end of the old ones'", "s", turns["new build"].took
    )
    peace = statistics.median(turns["in peace"].seconds)
    for name, turn in turns.items():
        report.add(f"request to end of operation, {name}", "s", *turn.seconds)
        if turn is not turns["in peace"]:
            report.add("  later, the median operation", "s", statistics.median(turn.seconds) - peace)
            report.add("  later, the last of all", "s", max(turn.seconds) - max(turns["in peace"].seconds))
    times = Counter(made.read_text(encoding="utf-8").split())
    services = [service for turn in turns.values() for service in turn.services]
    report.add("services asked for", "", len(services))
    report.add("  lost", "", sum(len(turn.lost) for turn in turns.values()), at_most=0)
    report.add("  made twice", "", sum(times[service] > 1 for service in services), at_most=0)
    report.add("  not made", "", sum(times[service] < 1 for service in services), at_most=0)


def main() -> None:
    options = parser(__doc__)
    options.add_argument(
        "--every", type=float, default=2.0, help="seconds between requests (default: %(default)s)"
    )
    options.add_argument("--peace", type=int, default=15, help="requests in peace (default: %(default)s)")
    run(options.parse_args(), measure)


if __name__ == "__main__":
    main()
