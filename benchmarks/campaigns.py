"""Campaigns over real services with a tool that does nothing: speed, history, memory, and how fast they stop.

Two sizes of the same campaign, on the same server, one after the other: what a target costs at the larger one over
what it costs at the smaller one is what the campaign adds with its size. Then one that is paused half-way, and one
whose budget a denied target breaks: how long after that targets still start.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import psutil
from temporalio.client import Client

from benchmarks import processes
from benchmarks.report import Report, parser, run, say
from bondstone import names
from bondstone.client import Bondstone
from bondstone.model.campaign_run import CampaignDescription, TargetRecord
from bondstone.store.campaigns import latest

AIM_COST_RATIO = 1.1
AIM_STOP_SECONDS = 1.0
SPEC = "  outputs:\n    name: {value: '${service.name}'}\n  steps:\n    - id: main\n      noop: {}\n"
POLICY = (
    "package campaigns\n\nimport rego.v1\n\n"
    'deny contains "not this one" if {\n'
    '\tinput.service.labels.bad == "yes"\n\tinput.operation.kind == "patch"\n}\n'
)
CAMPAIGN = """\
apiVersion: bondstone.dev/v1
kind: Campaign
metadata: {{name: {name}, reason: benchmark}}
spec:
  operation: patch
  promise: noop
  to: {to}
  select: {{where: "labels.size == '{size}'"}}
  max_concurrent: {at_once}
  waves:
    - {{name: all, rest: true}}
"""


async def measure(options: argparse.Namespace) -> Report:
    report = Report("campaigns")
    sizes = sorted(int(size) for size in options.targets.split(","))
    with processes.scratch() as directory:
        settings = processes.settings_for(directory / "data")
        settings.data.mkdir()
        commands = [
            processes.server_command(settings, in_memory=True),
            processes.module_command("control", "workers.control", settings),
            processes.module_command("executor", "benchmarks.noop", settings, "executor"),
        ]
        async with processes.running(commands, directory / "log") as started:
            await processes.publish(settings, _promise(directory, 0))
            async with Bondstone.connect(settings, by="benchmark") as bond:
                for size in sizes:
                    await _provision(bond, f"n{size}", size, options.in_flight)
                costs = {}
                await processes.publish(settings, _promise(directory, 1))
                for size in sizes:
                    costs[size] = await _one_size(report, bond, size, options, started)
                if len(sizes) > 1:
                    ratio = costs[sizes[-1]] / costs[sizes[0]]
                    report.add(f"CPU a target, {sizes[-1]} over {sizes[0]}", "", ratio, at_most=AIM_COST_RATIO)
                await processes.publish(settings, _promise(directory, 2))
                await _paused(report, bond, sizes[0], options)
                await processes.publish(settings, _promise(directory, 3))
                await _broken(report, bond, directory, sizes[0], options)
    report.notes.append(f"{options.at_once} targets at once; server, workers and client share the cores")
    return report


async def _provision(bond: Bondstone, label: str, count: int, in_flight: int) -> None:
    places = asyncio.Semaphore(in_flight)

    async def one(number: int) -> None:
        async with places:
            bad = {"bad": "yes"} if number == 0 else {}
            service = f"fleet/{label}-{number}"
            await (await bond.request("noop", service, labels={"size": label} | bad)).result()

    began = time.monotonic()
    await asyncio.gather(*map(one, range(count)))
    say(f"{count} services made in {time.monotonic() - began:.0f} s")


async def _one_size(
    report: Report,
    bond: Bondstone,
    size: int,
    options: argparse.Namespace,
    started: Mapping[str, psutil.Process],
) -> float:
    """One campaign from start to end; CPU seconds of a target."""
    name = f"speed-{size}"
    before = {who: processes.cpu_seconds(process) for who, process in started.items()}
    memory = [0.0]
    watching = asyncio.create_task(_watch_memory(started["control"], memory))
    began = time.monotonic()
    ended = await _run(bond, name, f"n{size}", "1.0.1", options)
    seconds = time.monotonic() - began
    watching.cancel()
    cpu = {who: processes.cpu_seconds(process) - before[who] for who, process in started.items()}
    runs, events, size_bytes = await _history(bond.temporal, names.campaign_workflow_id(name))
    say(f"{size} targets in {seconds:.1f} s: {ended.counts}")
    report.add(f"{size} targets: speed", "targets/s", size / seconds)
    for who in started:
        report.add(f"  CPU a target, {who}", "CPU-ms", 1000 * cpu[who] / size)
    report.add("  runs of the campaign's workflow", "", runs)
    report.add("  its events a target", "", events / size)
    report.add("  its history a target", "bytes", size_bytes / size)
    report.add("  memory of the control worker, at most", "MiB", max(memory))
    return sum(cpu.values()) / size


async def _paused(report: Report, bond: Bondstone, size: int, options: argparse.Namespace) -> None:
    """Pause half-way: from the moment it is asked to the last start, and from its answer."""
    name = "paused"
    await bond.campaigns.start(_campaign(name, f"n{size}", "1.0.2", options), "benchmark.yaml")
    await _until_started(bond, name, size // 3)
    asked = datetime.now(UTC)
    await bond.campaigns.pause(name, reason="benchmark")
    answered = datetime.now(UTC)
    while True:
        if not (await bond.campaigns.describe(name)).running:
            break
        await asyncio.sleep(0.1)
    last = max(record.started_at for record in await _records(bond, name) if record.started_at)
    report.add("pause: from asking to its answer", "s", (answered - asked).total_seconds())
    after = (last - asked).total_seconds()
    report.add("pause: from asking to the last start", "s", max(after, 0.0), at_most=AIM_STOP_SECONDS)
    await bond.campaigns.abort(name, reason="benchmark")
    await bond.campaigns.watch(name)


async def _broken(
    report: Report, bond: Bondstone, directory: Path, size: int, options: argparse.Namespace
) -> None:
    """A denied target breaks a budget of none: from its end to the last start."""
    rules = directory / "rules"
    rules.mkdir()
    (rules / "campaigns.rego").write_text(POLICY, encoding="utf-8")
    await bond.store.policies.publish_once(rules, by="benchmark")
    name = "broken"
    await bond.campaigns.start(_campaign(name, f"n{size}", "1.0.3", options), "benchmark.yaml")
    while not (found := await bond.campaigns.describe(name)).paused or found.running:
        if found.status.ended:
            raise RuntimeError("the budget was never broken")
        await asyncio.sleep(0.1)
    records = await _records(bond, name)
    failed = next(record for record in records if record.outcome == "failed")
    last = max(record.started_at for record in records if record.started_at)
    after = (last - failed.ended_at).total_seconds()
    report.add("budget: from the failure to the last start", "s", max(after, 0.0), at_most=AIM_STOP_SECONDS)
    later = sum(record.started_at > failed.ended_at for record in records if record.started_at)
    report.add("  targets that started after it", "", later)


# Helpers ----------------------------------------------------------------------------------------------------


async def _run(
    bond: Bondstone, name: str, label: str, to: str, options: argparse.Namespace
) -> CampaignDescription:
    await bond.campaigns.start(_campaign(name, label, to, options), "benchmark.yaml")
    handle = bond.temporal.get_workflow_handle(names.campaign_workflow_id(name), result_type=CampaignDescription)
    ended: CampaignDescription = await handle.result()
    return ended


async def _until_started(bond: Bondstone, name: str, count: int) -> None:
    while True:
        found = await bond.campaigns.describe(name)
        if found.frozen and found.targets - found.counts.get("waiting", 0) >= count:
            return
        await asyncio.sleep(0.05)


async def _records(bond: Bondstone, name: str) -> list[TargetRecord]:
    found = await bond.campaigns.describe(name)
    kept = latest(await bond.store.campaigns.ledger(name))
    return list((kept | {record.target: record for record in found.recent}).values())


async def _history(client: Client, workflow_id: str) -> tuple[int, int, int]:
    """Runs, events and bytes of a workflow that continued as new."""
    runs = events = size = 0
    run_id = (await client.get_workflow_handle(workflow_id).describe()).run_id
    while run_id:
        handle = client.get_workflow_handle(workflow_id, run_id=run_id)
        info = (await handle.describe()).raw_description.workflow_execution_info
        first = await anext(aiter(handle.fetch_history_events(page_size=1)))
        runs, events, size = runs + 1, events + info.history_length, size + info.history_size_bytes
        run_id = first.workflow_execution_started_event_attributes.continued_execution_run_id
    return runs, events, size


async def _watch_memory(process: psutil.Process, seen: list[float]) -> None:
    while True:
        seen.append(processes.resident_mib(process))
        await asyncio.sleep(0.5)


def _campaign(name: str, label: str, to: str, options: argparse.Namespace) -> bytes:
    return CAMPAIGN.format(name=name, size=label, to=to, at_once=options.at_once).encode()


def _promise(directory: Path, patch: int) -> Path:
    version = f"1.0.{patch}"
    return processes.write_promise(directory / f"promise-{version}", "noop", {}, SPEC, version=version)


def main() -> None:
    options = parser(__doc__)
    options.add_argument(
        "--targets", default="1000,10000", help="sizes, the smaller one first (default: %(default)s)"
    )
    options.add_argument("--at-once", type=int, default=20, help="targets at once (default: %(default)s)")
    options.add_argument("--in-flight", type=int, default=20, help="provisions at once (default: %(default)s)")
    run(options.parse_args(), measure)


if __name__ == "__main__":
    main()
