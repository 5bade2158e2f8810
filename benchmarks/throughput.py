"""Services provisioned per second with a tool that does nothing, against the bare SDK on the same server.

Bondstone: the real Service and Provision workflows, the real control activities on a real object store, and an
executor that does nothing. Bare: one workflow that runs as many no-op activities one after the other. Both sides
have one process for workflows and one for the tool, both are fed by one client with as many in flight, and they
take turns.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
from temporalio.client import Client

from benchmarks import processes
from benchmarks.histories import WORKFLOW_TASK, Spent, spent_by
from benchmarks.noop import ON_WORKFLOW_QUEUE, WORKFLOW_QUEUE, Bare
from benchmarks.report import Report, parser, run, say
from bondstone.client import Bondstone

AIM_RATIO = 0.7
WARM_UP = 20
SPEC = "  outputs:\n    name: {value: '${service.name}'}\n  steps:\n    - id: main\n      noop: {}\n"
CLIENT = "client"


@dataclass
class Round:
    """One turn of one side."""

    seconds: float
    cpu: Mapping[str, float]
    services: list[str]


async def measure(options: argparse.Namespace) -> Report:
    report = Report("throughput")
    with processes.scratch() as directory:
        settings = processes.settings_for(directory / "data")
        settings.data.mkdir()
        commands = [
            processes.server_command(settings, in_memory=options.in_memory),
            processes.module_command("control", "workers.control", settings),
            *(
                processes.module_command(side, "benchmarks.noop", settings, side)
                for side in ("executor", "bare-control", "bare-executor")
            ),
        ]
        async with processes.running(commands, directory / "log") as started:
            await processes.publish(settings, _promise(directory))
            async with Bondstone.connect(settings, by="benchmark") as bond:
                bare_client = await Client.connect(settings.temporal_address)
                await _compare(options, report, started, bond, bare_client)
    return report


async def _compare(
    options: argparse.Namespace,
    report: Report,
    started: Mapping[str, psutil.Process],
    bond: Bondstone,
    bare_client: Client,
) -> None:
    watched = {**started, CLIENT: psutil.Process()}

    async def service(name: str) -> None:
        await (await bond.request("noop", name)).result()

    async def bare(name: str) -> None:
        await bare_client.execute_workflow(Bare.run, id=name, task_queue=WORKFLOW_QUEUE)

    async def turn(work: Callable[[str], Awaitable[None]], count: int, in_flight: int) -> Round:
        return await _turn(work, count, in_flight, watched)

    for side in (service, bare):
        await turn(side, WARM_UP, options.in_flight)
    ours: list[Round] = []
    theirs: list[Round] = []
    for number in range(options.rounds):
        ours.append(await turn(service, options.services, options.in_flight))
        theirs.append(await turn(bare, options.services, options.in_flight))
        rates = [options.services / side[-1].seconds for side in (ours, theirs)]
        say(f"round {number + 1}: {rates[0]:.1f} services/s, {rates[1]:.1f} bare workflows/s")
    alone = await turn(service, 10, 1)
    alone_bare = await turn(bare, 10, 1)

    rates_ours = [options.services / each.seconds for each in ours]
    rates_bare = [options.services / each.seconds for each in theirs]
    ratios = [our / their for our, their in zip(rates_ours, rates_bare, strict=True)]
    report.add("Bondstone", "services/s", *rates_ours)
    report.add(f"bare SDK, {len(ON_WORKFLOW_QUEUE)} no-op activities", "workflows/s", *rates_bare)
    report.add("ratio, each round's pair", "", *ratios, at_least=AIM_RATIO)
    report.add("one alone", "s", alone.seconds / 10)
    report.add("one alone, bare", "s", alone_bare.seconds / 10)
    _add_cpu(report, "CPU a service", ours, options.services, ("control", "executor", "temporal", CLIENT))
    _add_cpu(
        report,
        "CPU a bare workflow",
        theirs,
        options.services,
        ("bare-control", "bare-executor", "temporal", CLIENT),
    )
    loaded = [await spent_by(bond.temporal, name) for name in ours[-1].services[:: max(1, options.services // 20)]]
    idle = [await spent_by(bond.temporal, name) for name in alone.services]
    _add_spent(report, loaded, idle)
    report.notes.append(
        f"{options.services} services a round, {options.in_flight} in flight, {options.rounds} rounds, "
        f"taking turns; server, workers and client share the cores"
    )


async def _turn(
    work: Callable[[str], Awaitable[None]], count: int, in_flight: int, watched: Mapping[str, psutil.Process]
) -> Round:
    """Do the work `count` times, so many at once."""
    turn = f"t{uuid.uuid4().hex[:8]}"
    names = [f"{turn}/s{number}" for number in range(count)]
    waiting = iter(names)

    async def feed() -> None:
        for name in waiting:
            await work(name)

    before = {name: processes.cpu_seconds(process) for name, process in watched.items()}
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for _ in range(in_flight):
            group.create_task(feed())
    seconds = time.monotonic() - began
    cpu = {name: processes.cpu_seconds(process) - before[name] for name, process in watched.items()}
    return Round(seconds, cpu, names)


def _add_cpu(report: Report, title: str, rounds: list[Round], count: int, who: tuple[str, ...]) -> None:
    total = [sum(each.cpu[name] for name in who) / count for each in rounds]
    report.add(title, "CPU-s", *total)
    for name in who:
        report.add(f"  {name.removeprefix('bare-')}", "CPU-s", *(each.cpu[name] / count for each in rounds))


def _add_spent(report: Report, loaded: list[Spent], idle: list[Spent]) -> None:
    report.add("events a service", "", *(found.events for found in idle))
    report.add("workflow tasks a service", "", *(found.workflow_tasks for found in idle))
    order = ("promise.resolve", "noop.plan", "policy.check", "noop.apply", "promise.outputs", "ledger.record")
    for kind in (*order, WORKFLOW_TASK):
        tasks = statistics.median(found.workflow_tasks for found in idle) if kind == WORKFLOW_TASK else 1
        times: dict[str, float] = defaultdict(float)
        for title, spent in (("loaded", loaded), ("alone", idle)):
            times[f"{title} queued"] = statistics.median(found.queued[kind] for found in spent) / tasks
            times[f"{title} ran"] = statistics.median(found.ran[kind] for found in spent) / tasks
        each = ", ".join(f"{what} {1000 * value:.1f} ms" for what, value in times.items())
        report.notes.append(f"{kind}: {each}")


def _promise(directory: Path) -> Path:
    return processes.write_promise(directory / "promise", "noop", {}, SPEC)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--services", type=int, default=150, help="services a round (default: %(default)s)")
    options.add_argument("--rounds", type=int, default=3, help="turns of each side (default: %(default)s)")
    options.add_argument("--in-flight", type=int, default=20, help="at once (default: %(default)s)")
    options.add_argument(
        "--in-memory", action="store_true", help="keep the server's data in memory, not in a file"
    )
    run(options.parse_args(), measure)


if __name__ == "__main__":
    main()
