"""How long a campaign takes to choose its targets from a large fleet.

So many workflows with the search attributes of services, which no worker runs, stand in for the fleet. Each round
lists everything from Temporal's visibility, as the first campaign does; then reads the kept list and what has
changed since, as every later one does; then it chooses the targets of a campaign over all of them.

    python -m benchmarks.fleet_list --services 10000
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Mapping
from datetime import UTC, datetime, timedelta

import psutil
from temporalio.client import Client
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

from benchmarks import report
from benchmarks.report import Report
from bondstone.activities.campaign.selection import freeze
from bondstone.base import names
from bondstone.base.settings import Settings
from bondstone.model.campaign.run import CampaignInput, FreezeCall
from bondstone.store import Store
from bondstone.temporal.connection import ensure_search_attributes
from bondstone.temporal.fleet_list import FLEET_KEY, KeptFleet, alive_services
from bondstone.temporal.service_changes import ServiceVisibility
from harness import processes
from harness.waiting import until_async

SERVER = "server"
STARTS_AT_ONCE = 40
TEAMS = 20
ROUNDS = 3
CHANGED = 50
"""Services that change between two lists."""
SETTLED = timedelta(hours=1)
"""How long ago the other services changed last: most of a fleet has not just changed."""
AIM_SECONDS = 5.0
VISIBILITY_SECONDS = 60

CAMPAIGN = """\
apiVersion: bondstone.dev/v1
kind: Campaign
metadata: {name: NAME, reason: benchmark, owner: ops}
spec:
  select: {where: "promise == 'noop'"}
  operation: reconcile
  waves:
    - {name: canary, count: 10}
    - {name: rest, rest: true}
  budget: {max_failures: 5}
"""


async def measure(options: argparse.Namespace) -> Report:
    """All rounds on one server."""
    done = Report("choosing the targets of a campaign")
    with processes.scratch() as directory:
        settings = processes.settings_for(directory / "data")
        settings.data.mkdir()
        commands = [processes.server_command(settings)]
        async with processes.running(commands, directory / "logs") as started:
            client = await _connected(settings)
            store = await Store.open(settings, create_keys=True)
            report.say(f"starting {options.services} workflows")
            await stand_ins(client, range(options.services))
            await _rounds(done, client, store, next(iter(started.values())), options.services)
    return done


async def _rounds(done: Report, client: Client, store: Store, server: psutil.Process, services: int) -> None:
    visibility, kept = ServiceVisibility(client), KeptFleet(store)
    figures: dict[str, list[tuple[float, float]]] = {}
    for number in range(ROUNDS):
        report.say(f"round {number + 1} of {ROUNDS}")
        await store.objects.delete(FLEET_KEY)
        works: dict[str, Awaitable[object]] = {
            "whole list": alive_services(visibility, kept),
            "kept list and changes": alive_services(visibility, kept),
            "targets chosen with the kept list": freeze(store, client, _call(f"speed-{number}")),
        }
        for what, work in works.items():
            figures.setdefault(what, []).append(await _timed(work, server))
        done_services = {row.id for row in await alive_services(visibility, kept)}
        if len(done_services) != services:
            raise RuntimeError(f"{len(done_services)} of {services} services were listed")
        await _change(client, number)
    for what, each in figures.items():
        aim = {"at_most": AIM_SECONDS} if what.startswith("targets") else {}
        done.add(f"{what}, {services} services", "s", *(seconds for seconds, _ in each), **aim)
        done.add("  CPU of the server", "CPU-s", *(cpu for _, cpu in each))
    whole, part = (min(seconds for seconds, _ in figures[what]) for what in list(figures)[:2])
    done.add("kept list over whole list", "", part / whole)


async def _timed(work: Awaitable[object], server: psutil.Process) -> tuple[float, float]:
    cpu, began = processes.cpu_seconds(server), time.monotonic()
    await work
    return time.monotonic() - began, processes.cpu_seconds(server) - cpu


async def _connected(settings: Settings) -> Client:
    client = await Client.connect(settings.temporal_address)
    await ensure_search_attributes(client)
    return client


async def stand_ins(client: Client, numbers: range) -> None:
    """Start workflows that lists show as services, and that no worker runs; wait until visibility counts them.

    Args:
        client: Of a server that has the search attributes.
        numbers: Which ones; those before are there already.
    """
    limit = asyncio.Semaphore(STARTS_AT_ONCE)

    async def start(number: int) -> None:
        async with limit:
            await _start(client, number, datetime.now(UTC) - SETTLED)

    await asyncio.gather(*map(start, numbers))

    async def are_counted() -> bool:
        return await ServiceVisibility(client).count_alive() >= numbers.stop

    await until_async(are_counted, f"{numbers.stop} services", seconds=VISIBILITY_SECONDS)


async def _start(client: Client, number: int, at: datetime) -> None:
    team = f"team-{number % TEAMS}"
    service = f"{team}/svc-{number:05}"
    shown: Mapping[str, str] = {
        names.SA_SERVICE: service,
        names.SA_TEAM: team,
        names.SA_PROMISE: "noop",
        names.SA_REVISION: "noop@1.0.0",
        names.SA_PHASE: "ready",
        names.SA_HEALTH: "healthy",
        names.SA_POOL: "default",
    }
    pairs = [SearchAttributePair(SearchAttributeKey.for_keyword(name), value) for name, value in shown.items()]
    labels = SearchAttributeKey.for_keyword_list(names.SA_LABELS)
    changed_at = SearchAttributeKey.for_datetime(names.SA_CHANGED_AT)
    await client.start_workflow(
        names.SERVICE_WORKFLOW,
        id=names.service_workflow_id(team, f"svc-{number:05}"),
        task_queue="nobody",
        search_attributes=TypedSearchAttributes(
            [*pairs, SearchAttributePair(labels, ["env=dev"]), SearchAttributePair(changed_at, at)]
        ),
    )


async def _change(client: Client, number: int) -> None:
    """Some services end and begin again, as others of the same name."""
    first = number * CHANGED
    for service in range(first, first + CHANGED):
        workflow = names.service_workflow_id(f"team-{service % TEAMS}", f"svc-{service:05}")
        await client.get_workflow_handle(workflow).terminate()
        await _start(client, service, datetime.now(UTC))
    await asyncio.sleep(1)


def _call(name: str) -> FreezeCall:
    source = CAMPAIGN.replace("NAME", name)
    start = CampaignInput(source=source, file="benchmark.yaml", requested_by="benchmark")
    return FreezeCall(name=name, run_id="benchmark", start=start, at=datetime.now(UTC))


def main() -> None:
    """The command."""
    parser = report.parser(__doc__)
    parser.add_argument("--services", type=int, default=10_000, help="in the fleet (default: %(default)s)")
    report.run(parser.parse_args(), measure)


if __name__ == "__main__":
    main()
