"""What a long life costs: history events of each operation, and how long a service takes to replay when it is old.

One service of a tool that does nothing gets a thousand updates, one after the other. A service continues as new
after some operations, so the history that a worker replays is that of a few, and what is carried over is bounded:
both are shown after 10, 100 and 1000 operations.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

from benchmarks.histories import runs_of
from benchmarks.report import Report, parser, run, say
from bondstone.base import names
from bondstone.client import Operation
from bondstone.client.direct.client import DirectClient
from bondstone.model.service import OperationKind
from bondstone.temporal.payloads import DATA_CONVERTER
from bondstone.workflows import served
from harness import processes

PROMISE, SERVICE = "noop", "bench/old"
SPEC = """\
  inputs:
    type: object
    properties:
      number: {type: integer, default: 0}
  outputs:
    name: {value: "${service.name}"}
  steps:
    - id: main
      noop: {}
"""
REPLAYS, TURNS = 50, 5


async def measure(options: argparse.Namespace) -> Report:
    report = Report("longevity")
    with processes.scratch() as directory:
        settings = processes.settings_for(directory / "data")
        settings.data.mkdir()
        commands = [
            processes.server_command(settings),
            processes.module_command("control", "bondstone.workers.control", settings),
            processes.module_command("executor", "benchmarks.noop", settings, "executor"),
        ]
        async with processes.running(commands, directory / "log"):
            for patch in range(2):
                await processes.publish(settings, _promise(directory, patch))
            async with DirectClient.connect(settings, by="benchmark") as bond:
                await _kinds(report, bond)
                await _grow_old(options, report, bond)
    report.notes.append(
        "events of an operation: its own workflow's and the service's; one step; a replay is the whole of the "
        f"service's run as it is then, without a server, {REPLAYS} of them in one worker"
    )
    return report


async def _kinds(report: Report, bond: DirectClient) -> None:
    """Events of one operation of each kind."""
    service = "bench/each"
    requests: dict[OperationKind, Callable[[], Awaitable[Operation]]] = {
        OperationKind.PROVISION: lambda: bond.services.request(PROMISE, service, version="1.0.0"),
        OperationKind.UPDATE: lambda: bond.services.update(service, {"number": 1}),
        OperationKind.PATCH: lambda: bond.services.patch(service),
        OperationKind.ROLLBACK: lambda: bond.services.rollback(service),
        OperationKind.RECONCILE: lambda: bond.services.reconcile(service),
        OperationKind.DECOMMISSION: lambda: bond.services.decommission(service),
    }
    before = 0
    for kind, ask in requests.items():
        operation = await ask()
        await operation.result()
        temporal = await bond.connection.temporal()
        history = await temporal.get_workflow_handle(_workflow_id(operation)).fetch_history()
        workflow_id = names.service_workflow_id(operation.team, operation.name)
        of_service = sum([len(events) async for events in runs_of(temporal, workflow_id)])
        report.add(f"events of a {kind}", "", len(history.events) + of_service - before)
        report.add("  of them in the service", "", of_service - before)
        before = of_service


async def _grow_old(options: argparse.Namespace, report: Report, bond: DirectClient) -> None:
    operation = await bond.services.request(PROMISE, SERVICE, {"number": 1}, version="1.0.0")
    began = time.monotonic()
    for number in range(1, options.operations + 1):
        if number > 1:
            operation = await bond.services.update(SERVICE, {"number": number})
        await operation.result()
        if number in {1, 10, 100, 1000, options.operations}:
            say(f"{number} operations after {time.monotonic() - began:.0f} s")
            workflow_id = names.service_workflow_id(operation.team, operation.name)
            history = await (await bond.connection.temporal()).get_workflow_handle(workflow_id).fetch_history()
            milliseconds = [await _replayed(history) for _ in range(TURNS)]
            report.add(f"after {number} operations: events to replay", "", len(history.events))
            report.add("  replay", "ms", *milliseconds)
            report.add("  size of that history", "KiB", _size(history) / 1024)
    report.add("an update, from request to committed", "s", (time.monotonic() - began) / options.operations)


def _workflow_id(operation: Operation) -> str:
    return names.operation_workflow_id(operation.team, operation.name, operation.number)


async def _replayed(history: WorkflowHistory) -> float:
    """Milliseconds of one replay, of many in one worker: its start costs more than they do."""
    replayer = Replayer(
        workflows=served.ALL, data_converter=DATA_CONVERTER, workflow_runner=UnsandboxedWorkflowRunner()
    )

    async def copies() -> AsyncIterator[WorkflowHistory]:
        for _ in range(REPLAYS):
            yield history

    began = time.monotonic()
    await replayer.replay_workflows(copies())
    return 1000 * (time.monotonic() - began) / REPLAYS


def _size(history: WorkflowHistory) -> int:
    return sum(event.ByteSize() for event in history.events)


def _promise(directory: Path, patch: int) -> Path:
    version = f"1.0.{patch}"
    return processes.write_promise(directory / f"promise-{version}", PROMISE, {}, SPEC, version=version)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--operations", type=int, default=1000, help="of the old service (default: %(default)s)")
    run(options.parse_args(), measure)


if __name__ == "__main__":
    main()
