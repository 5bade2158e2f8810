"""Campaigns at scale: what a target costs, at one size and at ten times it, and how fast they stop.

The campaign alone: its targets are stand-ins that take a submission and reply at once, so that thousands fit in
minutes and little but the campaign works. Beside it, on the same server, a parent workflow of the bare SDK that
signals as many no-op workflows, so many at a time, and is answered as often.

Real services, with a tool that does nothing: everything that a patch is, but Terraform. Beside it a parent of the
bare SDK with as many children, each of as many no-op activities, and the floor: a parent of services that have the
durable points of ours and nothing else (`durable.py`). Then a campaign that is paused half-way, and one
whose budget a denied target breaks: how long after that targets still start.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
from temporalio.client import Client

from benchmarks import campaign_runs as runs
from benchmarks import standins
from benchmarks.durable import WORKFLOW_QUEUE, operate
from benchmarks.noop import ON_WORKFLOW_QUEUE, BareFleet
from benchmarks.report import Report, parser, run, say
from benchmarks.standins import PARENT_QUEUE, STANDIN_QUEUE, TARGET_QUEUE, BareJob, BareParent
from bondstone.base import names
from bondstone.base.settings import Settings
from bondstone.client.direct.client import DirectClient
from bondstone.model.campaign.run import TargetRecord
from bondstone.store.campaigns import latest
from harness import processes
from harness.waiting import until_async

AIM_COST_RATIO = 1.1
AIM_BARE_RATIO = 1.4
AIM_STOP_SECONDS = 1.0
ALONE, REAL, STOPS = "alone", "real", "stops"
SERVER, CONTROL, EXECUTOR = "temporal", "control", "executor"
BARE_WORKERS = (SERVER, "bare-control", "bare-executor")
POLICY = (
    "package campaigns\n\nimport rego.v1\n\n"
    'deny contains "not this one" if {\n'
    '\tinput.service.labels.rank == "0"\n\tinput.operation.kind == "patch"\n}\n'
)


async def measure(options: argparse.Namespace) -> Report:
    report = Report("campaigns")
    with processes.scratch() as directory:
        if ALONE in options.parts:
            await _alone(report, directory / ALONE, options)
        if {REAL, STOPS} & set(options.parts):
            await _real(report, directory / REAL, options)
    report.notes.append(
        f"{options.at_once} targets at once; server (its data in memory), workers and client share the cores"
    )
    return report


# The campaign alone -----------------------------------------------------------------------------------------


async def _alone(report: Report, directory: Path, options: argparse.Namespace) -> None:
    settings = _settings(directory)
    sides = (STANDIN_QUEUE, PARENT_QUEUE, TARGET_QUEUE)
    commands = [
        processes.server_command(settings, in_memory=True),
        processes.module_command(CONTROL, "bondstone.workers.control", settings),
        *(processes.module_command(side, "benchmarks.standins", settings, side) for side in sides),
    ]
    async with processes.running(commands, directory / "log") as started:
        for patch in (0, 1):
            await processes.publish(settings, runs.promise(directory, patch))
        async with DirectClient.connect(settings, by="benchmark") as bond:
            bare = await Client.connect(settings.temporal_address)
            cost: dict[int, float] = {}
            cpu_alone: dict[int, float] = {}
            for size in options.alone:
                label = f"n{size}"
                await standins.seed((await bond.connection.temporal()), label, size)
                document = runs.campaign(label, f"labels.size == '{label}'", "1.0.1", options.at_once)
                took = await runs.timed(runs.carried_out(bond, document, label, size), started)
                grown = await runs.grown((await bond.connection.temporal()), names.campaign_workflow_id(label))
                _add_speed(report, f"alone, {size} stand-ins", size, took, (CONTROL, SERVER, STANDIN_QUEUE))
                _add_history(report, size, took, grown, CONTROL)
                cpu_alone[size] = took.cpu[CONTROL] / size
                cost[size] = cpu_alone[size] + took.cpu[SERVER] / size
            _add_ratio(report, "alone, CPU a target, server and control worker", cost, at_most=AIM_COST_RATIO)
            _add_ratio(report, "  of the control worker alone", cpu_alone)
            for size in options.alone if options.bare == "all" else options.alone[:1]:
                name = f"b{size}"
                await standins.seed_bare(bare, name, size)
                job = BareJob(name=name, count=size, at_once=options.at_once)
                work = bare.execute_workflow(BareParent.run, job, id=name, task_queue=PARENT_QUEUE)
                took = await runs.timed(work, started)
                _add_speed(report, f"bare SDK, {size} targets", size, took, (PARENT_QUEUE, SERVER, TARGET_QUEUE))
                _add_history(report, size, took, await runs.grown(bare, name), PARENT_QUEUE)


# Real services ----------------------------------------------------------------------------------------------


async def _real(report: Report, directory: Path, options: argparse.Namespace) -> None:
    settings = _settings(directory)
    sides = ("executor", "bare-control", "bare-executor")
    commands = [
        processes.server_command(settings, in_memory=True),
        processes.module_command(CONTROL, "bondstone.workers.control", settings),
        *(processes.module_command(side, "benchmarks.noop", settings, side) for side in sides),
        processes.module_command(PARENT_QUEUE, "benchmarks.standins", settings, PARENT_QUEUE),
    ]
    sizes = options.targets
    async with processes.running(commands, directory / "log") as started:
        await processes.publish(settings, runs.promise(directory, 0))
        async with DirectClient.connect(settings, by="benchmark") as bond:
            count = sizes[-1] if REAL in options.parts else sizes[0]
            made = await runs.timed(_provision(bond, count, options.in_flight), started)
            _add_speed(report, f"real, {count} services made", count, made, (SERVER, CONTROL, EXECUTOR))
            if REAL in options.parts:
                await _patched(report, bond, settings, directory, started=started, options=options)
            if STOPS in options.parts:
                await processes.publish(settings, runs.promise(directory, 100))
                await _paused(report, bond, sizes[0], options)
                await processes.publish(settings, runs.promise(directory, 101))
                await _broken(report, bond, directory, sizes[0], options)


async def _provision(bond: DirectClient, count: int, in_flight: int) -> None:
    async def one(number: int) -> None:
        labels = {"rank": str(number)}
        await (await bond.services.request("noop", f"fleet/n{number}", labels=labels)).result()

    await _gather_some(one, count, in_flight)


async def _gather_some(work: Callable[[int], Awaitable[None]], count: int, at_once: int) -> None:
    """Do work `count` times, so many at once."""
    places = asyncio.Semaphore(at_once)

    async def one(number: int) -> None:
        async with places:
            await work(number)

    await asyncio.gather(*map(one, range(count)))


async def _patched(
    report: Report,
    bond: DirectClient,
    settings: Settings,
    directory: Path,
    *,
    started: Mapping[str, psutil.Process],
    options: argparse.Namespace,
) -> None:
    """The same campaign at each size, over the first so many services; then the sides of `_beside`."""
    cost: dict[int, float] = {}
    for patch, size in enumerate(options.targets, start=1):
        await processes.publish(settings, runs.promise(directory, patch))
        name = f"speed-{size}"
        document = runs.campaign(name, _first(size), f"1.0.{patch}", options.at_once)
        took = await runs.timed(runs.carried_out(bond, document, name, size), started)
        _add_speed(report, f"real, {size} targets", size, took, (SERVER, CONTROL, EXECUTOR))
        grown = await runs.grown((await bond.connection.temporal()), names.campaign_workflow_id(name))
        _add_history(report, size, took, grown, CONTROL)
        cost[size] = sum(took.cpu[who] for who in (SERVER, CONTROL, EXECUTOR)) / size
    _add_ratio(report, "real, CPU a target, all", cost, at_most=AIM_COST_RATIO)
    await _beside(report, bond, settings, directory, started=started, options=options)


async def _beside(
    report: Report,
    bond: DirectClient,
    settings: Settings,
    directory: Path,
    *,
    started: Mapping[str, psutil.Process],
    options: argparse.Namespace,
) -> None:
    """Bondstone, the bare SDK and the floor in turns: a server that holds more costs more."""
    size = options.targets[0]
    client = await Client.connect(settings.temporal_address)
    await _gather_some(lambda number: operate(client, f"bare/floor/{number}"), size, options.in_flight)

    async def ours(turn: int) -> None:
        patch = len(options.targets) + 1 + turn
        await processes.publish(settings, runs.promise(directory, patch))
        name = f"turn-{turn}"
        document = runs.campaign(name, _first(size), f"1.0.{patch}", options.at_once)
        await runs.carried_out(bond, document, name, size)

    async def bare(turn: int) -> None:
        arguments = [f"bare-{turn}", 0, size, options.at_once]
        await client.execute_workflow(BareFleet.run, args=arguments, id=f"bare-{turn}", task_queue=WORKFLOW_QUEUE)

    async def floor(turn: int) -> None:
        job = BareJob(name="floor", count=size, at_once=options.at_once)
        await client.execute_workflow(BareParent.run, job, id=f"floor-{turn}", task_queue=PARENT_QUEUE)

    sides = (
        _Side(f"Bondstone, {size} targets", ours, (SERVER, CONTROL, EXECUTOR)),
        _Side(f"bare SDK, {size} children of {len(ON_WORKFLOW_QUEUE)} no-op activities", bare, BARE_WORKERS),
        _Side(
            f"floor: bare SDK, {size} services of the same durable points", floor, (*BARE_WORKERS, PARENT_QUEUE)
        ),
    )
    took: dict[str, list[runs.Took]] = {side.title: [] for side in sides}
    for turn in range(options.turns):
        for side in sides if turn % 2 == 0 else sides[::-1]:
            took[side.title].append(await runs.timed(side.run(turn), started))
            say(f"{side.title}: {size / took[side.title][-1].seconds:.1f} targets/s")
    cost: list[list[float]] = []
    for side in sides:
        each = took[side.title]
        report.add(f"{side.title}: speed", "targets/s", *(size / one.seconds for one in each))
        for who in side.who:
            report.add(f"  CPU a target, {who}", "CPU-ms", *(1000 * one.cpu[who] / size for one in each))
        cost.append([sum(one.cpu[who] for who in side.who) / size for one in each])
    for title, above, below, aim in (
        ("Bondstone over the bare SDK", 0, 1, AIM_BARE_RATIO),
        ("the floor over the bare SDK: at least possible", 2, 1, None),
        ("Bondstone over the floor", 0, 2, None),
    ):
        ratios = [one / other for one, other in zip(cost[above], cost[below], strict=True)]
        report.add(f"  CPU a target, {title}", "", *ratios, **({"at_most": aim} if aim else {}))


@dataclass(frozen=True)
class _Side:
    """What is measured turn by turn."""

    title: str
    run: Callable[[int], Awaitable[None]]
    """One turn of it, by number."""
    who: tuple[str, ...]
    """The processes that work for it."""


# How fast they stop -----------------------------------------------------------------------------------------


async def _paused(report: Report, bond: DirectClient, size: int, options: argparse.Namespace) -> None:
    """Pause half-way: from the moment it is asked to the last start, and from its answer."""
    name = "paused"
    document = runs.campaign(name, _first(size), "1.0.100", options.at_once)
    await bond.campaigns.run(document, "benchmark.yaml")
    await _until_started(bond, name, size // 3)
    requested_at = datetime.now(UTC)
    await bond.campaigns.pause(name, reason="benchmark")
    answered = datetime.now(UTC)

    async def stands_still() -> bool:
        return not (await bond.campaigns.describe(name)).running

    await until_async(stands_still, f"the last target of {name}")
    last = max(record.started_at for record in await _records(bond, name) if record.started_at)
    report.add("pause: from asking to its answer", "s", (answered - requested_at).total_seconds())
    after = (last - requested_at).total_seconds()
    report.add("pause: from asking to the last start", "s", max(after, 0.0), at_most=AIM_STOP_SECONDS)
    await bond.campaigns.abort(name, reason="benchmark")
    await bond.campaigns.wait(name, through_approvals=True)


async def _broken(
    report: Report, bond: DirectClient, directory: Path, size: int, options: argparse.Namespace
) -> None:
    """A denied target breaks a budget of none: from its end to the last start."""
    rules = directory / "rules"
    rules.mkdir()
    (rules / "campaigns.rego").write_text(POLICY, encoding="utf-8")
    await (await bond.connection.store()).policies.publish_once(rules, by="benchmark")
    name = "broken"
    document = runs.campaign(name, _first(size), "1.0.101", options.at_once)
    await bond.campaigns.run(document, "benchmark.yaml")

    async def is_broken() -> bool:
        campaign = await bond.campaigns.describe(name)
        if campaign.status.ended:
            raise RuntimeError("the budget was never broken")
        return campaign.paused is not None and not campaign.running

    await until_async(is_broken, f"the broken budget of {name}")
    records = await _records(bond, name)
    failed = next(record for record in records if record.outcome == "failed")
    last = max(record.started_at for record in records if record.started_at)
    after = (last - failed.ended_at).total_seconds()
    report.add("budget: from the failure to the last start", "s", max(after, 0.0), at_most=AIM_STOP_SECONDS)
    later = sum(record.started_at > failed.ended_at for record in records if record.started_at)
    report.add("  targets that started after it", "", later)


async def _until_started(bond: DirectClient, name: str, count: int) -> None:
    async def have_started() -> bool:
        campaign = await bond.campaigns.describe(name)
        return campaign.frozen and campaign.targets - campaign.counts.get("waiting", 0) >= count

    await until_async(have_started, f"{count} targets of {name}")


async def _records(bond: DirectClient, name: str) -> list[TargetRecord]:
    campaign = await bond.campaigns.describe(name)
    kept = latest(await (await bond.connection.store()).campaigns.ledger(name))
    return list((kept | {record.target: record for record in campaign.recent}).values())


# What is said of it -----------------------------------------------------------------------------------------


def _add_speed(report: Report, title: str, size: int, took: runs.Took, who: tuple[str, ...]) -> None:
    report.add(f"{title}: speed", "targets/s", size / took.seconds)
    say(f"{title}: {size / took.seconds:.1f} targets/s")
    for process in who:
        report.add(f"  CPU a target, {process}", "CPU-ms", 1000 * took.cpu[process] / size)


def _add_history(report: Report, size: int, took: runs.Took, grown: runs.Grown, worker: str) -> None:
    report.add("  runs of its workflow", "", grown.runs)
    report.add("  its events a target", "", grown.events / size)
    report.add("  its history a target", "bytes", grown.size / size)
    report.add(f"  memory of {worker}, at most", "MiB", took.memory[worker])


def _add_ratio(report: Report, title: str, cost: Mapping[int, float], **aim: float) -> None:
    small, large = min(cost), max(cost)
    if small < large:
        report.add(f"{title}, {large} over {small}", "", cost[large] / cost[small], **aim)


def _first(size: int) -> str:
    return f"int(labels.rank) < {size}"


def _settings(directory: Path) -> Settings:
    settings = processes.settings_for(directory / "data")
    settings.data.mkdir(parents=True)
    return settings


def _sizes(text: str) -> list[int]:
    return sorted(int(size) for size in text.split(","))


def main() -> None:
    options = parser(__doc__)
    options.add_argument(
        "--alone", type=_sizes, default="1000,10000", help="sizes with stand-ins (default: %(default)s)"
    )
    options.add_argument(
        "--targets", type=_sizes, default="300,1000", help="sizes with real services (default: %(default)s)"
    )
    options.add_argument(
        "--parts",
        type=lambda text: text.split(","),
        default=f"{ALONE},{REAL},{STOPS}",
        help="which of them (default: %(default)s)",
    )
    options.add_argument(
        "--bare", choices=["first", "all"], default="all", help="bare SDK at the first size, or at all of them"
    )
    options.add_argument(
        "--turns", type=int, default=2, help="of real services and the bare SDK (default: %(default)s)"
    )
    options.add_argument("--at-once", type=int, default=20, help="targets at once (default: %(default)s)")
    options.add_argument("--in-flight", type=int, default=20, help="provisions at once (default: %(default)s)")
    run(options.parse_args(), measure)


if __name__ == "__main__":
    main()
