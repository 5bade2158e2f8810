"""What a provision and a patch cost by cause: events, workflow tasks, bytes, calls, transactions, CPU.

One service after the other on an idle platform, with a tool that does nothing. Events and bytes are read from the
histories; calls and transactions from the server's own metrics, less what an idle platform makes in the same time.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
from temporalio.client import Client

from benchmarks.event_causes import Cause, Costs, causes_of
from benchmarks.histories import runs_of
from benchmarks.report import Report, parser, run, say
from bondstone.base import names
from bondstone.client import Operation
from bondstone.client.direct.client import DirectClient
from bondstone.workers.child import Command
from harness import processes
from harness.waiting import until_async

SPEC = "  outputs:\n    name: {value: '${service.name}'}\n  steps:\n    - id: main\n      noop: {}\n"
WARM_UP = 5
IDLE_SECONDS = 5.0
METRICS_SECONDS = 1.5
"""The server adds to what it shows once a second."""
SHOWN_CALLS = 12
"""Calls and transactions that are listed by name; the rest is one figure."""

_COUNTED = {"service_requests": "call", "persistence_requests": "transaction"}
_SAMPLE = re.compile(r"^(\w+)\{(.*)\} ([0-9.e+]+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_POLLS = ("Poll", "GetTaskQueueUserData", "Heartbeat", "DescribeTaskQueue")


@dataclass
class Spent:
    """What some operations cost the machine."""

    seconds: float = 0.0
    cpu: Mapping[str, float] = field(default_factory=dict)
    counts: Mapping[str, float] = field(default_factory=dict)
    """Calls and transactions, by `call NAME` and `transaction NAME`."""


@dataclass(frozen=True)
class Platform:
    """What is measured."""

    bond: DirectClient
    temporal: Client
    metrics: str
    watched: Mapping[str, psutil.Process]

    async def now(self) -> Spent:
        """Everything since the processes started."""
        await asyncio.sleep(METRICS_SECONDS)
        cpu = {name: processes.cpu_seconds(process) for name, process in self.watched.items()}
        return Spent(time.monotonic(), cpu, _counts(await asyncio.to_thread(self._metrics)))

    def _metrics(self) -> str:
        with urllib.request.urlopen(self.metrics, timeout=10) as answer:  # noqa: S310 - our own server
            return str(answer.read(), "utf-8")

    async def during(self, work: Callable[[], Awaitable[None]]) -> Spent:
        """What it costs to do something."""
        before = await self.now()
        await work()
        after = await self.now()
        return Spent(
            after.seconds - before.seconds,
            {name: value - before.cpu[name] for name, value in after.cpu.items()},
            {name: value - before.counts.get(name, 0) for name, value in after.counts.items()},
        )


async def measure(options: argparse.Namespace) -> Report:
    report = Report("cost")
    with processes.scratch() as directory:
        settings = processes.settings_for(directory / "data")
        settings.data.mkdir()
        port = int(settings.temporal_address.rpartition(":")[2]) + 1
        commands = [
            _with_metrics(processes.server_command(settings), port),
            processes.module_command("control", "bondstone.workers.control", settings),
            processes.module_command("executor", "benchmarks.noop", settings, "executor"),
        ]
        async with processes.running(commands, directory / "log") as watched:
            for patch in range(2):
                await processes.publish(settings, _promise(directory, patch))
            async with DirectClient.connect(settings, by="benchmark") as bond:
                temporal = await bond.connection.temporal()
                everybody = {**watched, "client": psutil.Process()}
                platform = Platform(bond, temporal, f"http://127.0.0.1:{port}/metrics", everybody)
                await _measure(options, report, platform)
    report.notes.append(
        f"{options.services} services, one after the other; of one step; what an idle platform costs in the same "
        "time is taken off; calls are those of clients, workers and the server's own parts to each other"
    )
    return report


async def _measure(options: argparse.Namespace, report: Report, platform: Platform) -> None:
    bond = platform.bond

    async def provision(name: str) -> None:
        await _through(await bond.services.request("noop", name, version="1.0.0"))

    async def patch(name: str) -> None:
        await _through(await bond.services.patch(name))

    for number in range(WARM_UP):
        await provision(f"warm/s{number}")
        await patch(f"warm/s{number}")
    idle = await platform.during(lambda: asyncio.sleep(IDLE_SECONDS))
    services = [f"bench/s{number}" for number in range(options.services)]
    before: Costs = Counter()
    for title, ask in (("provision", provision), ("patch", patch)):

        async def all_of_them(ask: Callable[[str], Awaitable[None]] = ask) -> None:
            for name in services:
                await ask(name)

        spent = await platform.during(all_of_them)
        costs = await _costs(platform.temporal, services[-1])
        _add_history(report, title, costs, before)
        _add_machine(report, title, spent, idle, len(services))
        before = costs
        say(f"{title}: measured")


async def _through(operation: Operation) -> None:
    await operation.result()


async def _costs(temporal: Client, service: str) -> Costs:
    """What the histories of a service and its operations hold, once no workflow task of theirs waits or runs."""
    team, name = names.parse_service(service)
    workflow_id = names.service_workflow_id(team, name)

    async def rests() -> bool:
        described = await temporal.get_workflow_handle(workflow_id).describe()
        return not described.raw_description.HasField("pending_workflow_task")

    await until_async(rests, f"{service} has no workflow task")
    costs: Costs = Counter()
    children: list[str] = []
    async for events in runs_of(temporal, workflow_id):
        costs += causes_of("service", events)
        children += [
            event.start_child_workflow_execution_initiated_event_attributes.workflow_id
            for event in events
            if event.HasField("start_child_workflow_execution_initiated_event_attributes")
        ]
    for child in children:
        history = await temporal.get_workflow_handle(child).fetch_history()
        costs += causes_of("operation", list(history.events))
    return costs


def _add_history(report: Report, title: str, costs: Costs, before: Costs) -> None:
    added = costs - before
    causes = sorted({(cause.workflow != "service", cause.workflow, cause.name) for cause in added})
    report.add(f"{title}: events", "", sum(added[cause] for cause in added if cause.what == "events"))
    report.add("  workflow tasks", "", sum(added[cause] for cause in added if cause.what == "tasks"))
    report.add("  history", "bytes", sum(added[cause] for cause in added if cause.what == "bytes"))
    for _, workflow, name in causes:
        events = added[Cause(workflow, name, "events")]
        size = added[Cause(workflow, name, "bytes")]
        report.add(f"    {workflow}: {name}, events of {size} bytes", "", events)


def _add_machine(report: Report, title: str, spent: Spent, idle: Spent, count: int) -> None:
    share = spent.seconds / idle.seconds
    each_time = {name: (spent.counts[name] - share * idle.counts.get(name, 0)) / count for name in spent.counts}
    for kind in _COUNTED.values():
        named = {name: value for name, value in each_time.items() if name.startswith(kind) and value >= 0.05}
        listed = sorted(named, key=lambda name: -named[name])[:SHOWN_CALLS]
        report.add(f"  {kind}s", "", sum(named.values()))
        for name in listed:
            report.add(f"    {name.removeprefix(kind).strip()}", "", named[name])
    cpu = {name: (value - share * idle.cpu[name]) / count for name, value in spent.cpu.items()}
    report.add(f"  CPU of a {title}", "CPU-s", sum(cpu.values()))
    for name, value in cpu.items():
        report.add(f"    {name}", "CPU-s", value)
    report.add("  seconds", "s", (spent.seconds - METRICS_SECONDS) / count)


def _counts(metrics: str) -> Mapping[str, float]:
    counts: dict[str, float] = defaultdict(float)
    for name, labels, value in _SAMPLE.findall(metrics):
        if name in _COUNTED:
            of = dict(_LABEL.findall(labels))
            if not of.get("operation", "").startswith(_POLLS):
                counts[f"{_COUNTED[name]} {of.get('service_name', '')} {of.get('operation', '')}"] += float(value)
    return counts


def _with_metrics(command: Command, port: int) -> Command:
    return replace(command, arguments=(*command.arguments, "--metrics-port", str(port)))


def _promise(directory: Path, patch: int) -> Path:
    version = f"1.0.{patch}"
    return processes.write_promise(directory / f"promise-{version}", "noop", {}, SPEC, version=version)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--services", type=int, default=20, help="how many (default: %(default)s)")
    run(options.parse_args(), measure)


if __name__ == "__main__":
    main()
