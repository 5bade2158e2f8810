"""Services provisioned per second with a tool that does nothing, against the bare SDK on the same server.

Bondstone: the real Service and Provision workflows, the real control activities on a real object store, and an
executor that does nothing. Bare: one workflow that runs as many no-op activities one after the other. Both sides
have as many processes for workflows (`--control`) and one for the tool, both are fed by one client with as many in
flight, and they take turns. A third side is the floor: the durable points of a provision by the bare SDK
(`durable.py`). The server is that of `bond up`, or with `--postgres` that of a production platform.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from temporalio.client import Client

from benchmarks.durable import WORKFLOW_QUEUE, operate
from benchmarks.histories import WORKFLOW_TASK, Spent, spent_by, spent_in
from benchmarks.noop import ON_WORKFLOW_QUEUE, Bare
from benchmarks.report import Report, parser, run, say
from bondstone.base.settings import Settings
from bondstone.client.direct.client import DirectClient
from harness import processes
from harness.servers import postgres, temporal
from harness.servers.process import Server

AIM_RATIO = 0.75
AIM_COST_RATIO = 1.35
WARM_UP = 20
SPEC = "  outputs:\n    name: {value: '${service.name}'}\n  steps:\n    - id: main\n      noop: {}\n"
CLIENT = "client"

Watched = Mapping[str, Sequence[psutil.Process]]
"""Processes by what they are: several control workers are one kind."""


@dataclass
class Round:
    """One turn of one side."""

    seconds: float
    cpu: Mapping[str, float]
    services: list[str]


async def measure(options: argparse.Namespace) -> Report:
    report = Report("throughput")
    with processes.scratch() as directory:
        settings = processes.settings_for(directory / "data").changed(**options.connection)
        settings.data.mkdir()
        servers = [] if options.postgres else [processes.server_command(settings, in_memory=options.in_memory)]
        async with processes.running(servers, directory / "log") as embedded:
            serving = options.servers or {name: [process] for name, process in embedded.items()}
            for count in options.control:
                await _with_workers(options, report, settings, serving, count)
    report.notes.append(
        f"{options.services} services a round, {options.in_flight} in flight, {options.rounds} rounds, "
        f"taking turns; server, workers and client share the cores"
    )
    return report


async def _with_workers(
    options: argparse.Namespace, report: Report, settings: Settings, serving: Watched, count: int
) -> None:
    """Compare with so many control workers on each side."""
    numbers = range(1, count + 1)
    commands = [
        *(processes.module_command(f"control-{n}", "bondstone.workers.control", settings) for n in numbers),
        *(
            processes.module_command(f"bare-control-{n}", "benchmarks.noop", settings, "bare-control")
            for n in numbers
        ),
        *(
            processes.module_command(side, "benchmarks.noop", settings, side)
            for side in ("executor", "bare-executor")
        ),
    ]
    directory = settings.data.parent
    async with processes.running(commands, directory / "log") as started:
        watched = {
            **serving,
            CLIENT: [psutil.Process()],
            "control": [started[f"control-{n}"] for n in numbers],
            "bare-control": [started[f"bare-control-{n}"] for n in numbers],
            **{side: [started[side]] for side in ("executor", "bare-executor")},
        }
        if count == options.control[0]:
            await processes.publish(settings, _promise(directory))
        async with DirectClient.connect(settings, by="benchmark") as bond:
            bare_client = await Client.connect(settings.temporal_address, namespace=settings.temporal_namespace)
            say(f"{count} control worker{'s' if count > 1 else ''} a side")
            await _compare(options, report, watched, bond, bare_client)


async def _compare(
    options: argparse.Namespace, report: Report, watched: Watched, bond: DirectClient, bare_client: Client
) -> None:
    count = len(watched["control"])
    of = f", {count} control" if len(options.control) > 1 else ""

    async def service(name: str) -> None:
        await (await bond.services.request("noop", name)).result()

    async def bare(name: str) -> None:
        await bare_client.execute_workflow(Bare.run, id=name, task_queue=WORKFLOW_QUEUE)

    async def durable(name: str) -> None:
        await operate(bare_client, name)

    async def turn(work: Callable[[str], Awaitable[None]], count: int, in_flight: int) -> Round:
        return await _turn(work, count, in_flight, watched)

    for side in (service, bare, durable):
        await turn(side, WARM_UP, options.in_flight)
    ours: list[Round] = []
    theirs: list[Round] = []
    floor: list[Round] = []
    for number in range(options.rounds):
        ours.append(await turn(service, options.services, options.in_flight))
        theirs.append(await turn(bare, options.services, options.in_flight))
        floor.append(await turn(durable, options.services, options.in_flight))
        rates = [options.services / side[-1].seconds for side in (ours, theirs, floor)]
        say(
            f"round {number + 1}: {rates[0]:.1f} services/s, {rates[1]:.1f} bare workflows/s, "
            f"{rates[2]:.1f} durable points/s"
        )
    alone = await turn(service, 10, 1)
    alone_bare = await turn(bare, 10, 1)
    alone_durable = await turn(durable, 10, 1)

    rates = [[options.services / each.seconds for each in side] for side in (ours, theirs, floor)]
    report.add(f"Bondstone{of}", "services/s", *rates[0])
    report.add(f"bare SDK, {len(ON_WORKFLOW_QUEUE)} no-op activities{of}", "workflows/s", *rates[1])
    report.add(f"floor: bare SDK, the same durable points{of}", "services/s", *rates[2])
    report.add(f"ratio, each round's pair{of}", "", *_each(rates[0], rates[1]), at_least=AIM_RATIO)
    report.add(f"  of the floor to the bare SDK: at most possible{of}", "", *_each(rates[2], rates[1]))
    report.add(f"  of Bondstone to the floor{of}", "", *_each(rates[0], rates[2]))
    for title, rested in (("", alone), (", bare", alone_bare), (", floor", alone_durable)):
        report.add(f"one alone{title}{of}", "s", rested.seconds / 10)
    servers = [name for name in ("temporal", "postgres") if name in watched]
    kinds = ("control", "executor", *servers, CLIENT)
    bare_kinds = ("bare-control", "bare-executor", *servers, CLIENT)
    cost = _add_cpu(report, f"CPU a service{of}", ours, options.services, kinds)
    bare_cost = _add_cpu(report, f"CPU a bare workflow{of}", theirs, options.services, bare_kinds)
    floor_cost = _add_cpu(report, f"CPU of the floor{of}", floor, options.services, bare_kinds)
    report.add(f"CPU, Bondstone over the bare SDK{of}", "", *_each(cost, bare_cost), at_most=AIM_COST_RATIO)
    report.add(f"  the floor over the bare SDK: at least possible{of}", "", *_each(floor_cost, bare_cost))
    report.add(f"  Bondstone over the floor{of}", "", *_each(cost, floor_cost))
    for kind, members in watched.items():
        memory = processes.tree_mib if kind == "postgres" else processes.resident_mib
        report.add(f"memory of {label(kind)}{of}", "MiB", *map(memory, members))
    if count == options.control[0]:
        ended = ours[-1].services[:: max(1, options.services // 20)]
        loaded = [await spent_by((await bond.connection.temporal()), name) for name in ended]
        _add_spent(
            report, loaded, [await spent_by((await bond.connection.temporal()), name) for name in alone.services]
        )
        points = [await spent_in(bare_client, name, f"{name}/op/1") for name in alone_durable.services]
        report.add("events of the floor", "", *(each.events for each in points))
        report.add("workflow tasks of the floor", "", *(each.workflow_tasks for each in points))


async def _turn(work: Callable[[str], Awaitable[None]], count: int, in_flight: int, watched: Watched) -> Round:
    """Do the work `count` times, so many at once."""
    turn = f"t{uuid.uuid4().hex[:8]}"
    names = [f"{turn}/s{number}" for number in range(count)]
    waiting = iter(names)

    async def feed() -> None:
        for name in waiting:
            await work(name)

    def spent() -> dict[str, float]:
        return {kind: sum(map(processes.cpu_seconds, members)) for kind, members in watched.items()}

    before = spent()
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for _ in range(in_flight):
            group.create_task(feed())
    seconds = time.monotonic() - began
    return Round(seconds, {kind: now - before[kind] for kind, now in spent().items()}, names)


def _each(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """The ratio of each round's pair."""
    return [our / their for our, their in zip(ours, theirs, strict=True)]


def _add_cpu(report: Report, title: str, rounds: list[Round], count: int, who: tuple[str, ...]) -> Sequence[float]:
    """Add CPU seconds of one, all and by process; all of each round."""
    total = [sum(each.cpu[name] for name in who) / count for each in rounds]
    report.add(title, "CPU-s", *total)
    for name in who:
        report.add(f"  {name.removeprefix('bare-')}", "CPU-s", *(each.cpu[name] / count for each in rounds))
    return total


def _add_spent(report: Report, loaded: list[Spent], idle: list[Spent]) -> None:
    report.add("events a service", "", *(service.events for service in idle))
    report.add("workflow tasks a service", "", *(service.workflow_tasks for service in idle))
    order = ("promise.resolve", "noop.plan", "policy.check", "noop.apply", "promise.outputs", "ledger.record")
    for kind in (*order, WORKFLOW_TASK):
        tasks = statistics.median(service.workflow_tasks for service in idle) if kind == WORKFLOW_TASK else 1
        times: dict[str, float] = defaultdict(float)
        for title, spent in (("loaded", loaded), ("alone", idle)):
            times[f"{title} queued"] = statistics.median(service.queued[kind] for service in spent) / tasks
            times[f"{title} ran"] = statistics.median(service.ran[kind] for service in spent) / tasks
        each = ", ".join(f"{what} {1000 * value:.1f} ms" for what, value in times.items())
        report.notes.append(f"{kind}: {each}")


def label(kind: str) -> str:
    return {"temporal": "the Temporal server", "postgres": "PostgreSQL", CLIENT: "the client"}.get(kind, kind)


@contextmanager
def production(options: argparse.Namespace) -> Iterator[None]:
    """Temporal on PostgreSQL, where that is asked for: every write is synced, as it has to be in production."""
    options.connection, options.servers = {}, {}
    if not options.postgres:
        yield
        return
    with processes.scratch() as directory:
        directory.chmod(0o755)  # PostgreSQL runs as another user where we are root
        for name in ("postgres", "temporal"):
            (directory / name).mkdir()
        with (
            postgres.running(directory / "postgres", options=("-c", "fsync=on")) as database,
            temporal.running(directory / "temporal", database) as server,
        ):
            options.connection = {"temporal_address": server.address, "temporal_namespace": server.namespace}
            options.servers = {"temporal": [_process(server.server)], "postgres": [_process(database.server)]}
            yield


def _process(server: Server) -> psutil.Process:
    if server.process is None:
        raise AssertionError  # it has been started
    return psutil.Process(server.process.pid)


def _counts(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


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
    options.add_argument(
        "--postgres", action="store_true", help="the server of a production platform, on PostgreSQL (`make tools`)"
    )
    options.add_argument(
        "--control",
        type=_counts,
        default=[1],
        metavar="N,N",
        help="control workers a side, as in 1,2,4 (default: 1)",
    )
    arguments = options.parse_args()
    run(arguments, measure, production(arguments))


if __name__ == "__main__":
    main()
