"""What a long life costs: history events of each operation, and how long a service takes to replay when it is old.

One service of a tool that does nothing gets a thousand updates, one after the other. A service continues as new
after each operation, so the history that a worker replays is that of one operation, and what is carried over is
bounded: both are shown after 10, 100 and 1000 operations.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from temporalio.client import Client, WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

from benchmarks import processes
from benchmarks.report import Report, parser, run, say
from bondstone import workflows
from bondstone.base import names
from bondstone.client import Operation
from bondstone.client.direct.client import DirectClient
from bondstone.model.service import OperationKind
from bondstone.temporal.connection import DATA_CONVERTER

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
        "events of an operation: its own workflow's and those of the service's run that carried it; one step; "
        f"a replay is the whole of that run of the service, without a server, {REPLAYS} of them in one worker"
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
    for kind, ask in requests.items():
        operation = await ask()
        await operation.result()
        own, run_of_service = await _events((await bond.connection.temporal()), operation)
        total = len(own.events) + len(run_of_service.events)
        report.add(f"events of a {kind}", "", total)
        report.add("  of them in the service", "", len(run_of_service.events))


async def _grow_old(options: argparse.Namespace, report: Report, bond: DirectClient) -> None:
    operation = await bond.services.request(PROMISE, SERVICE, {"number": 1}, version="1.0.0")
    began = time.monotonic()
    for number in range(1, options.operations + 1):
        if number > 1:
            operation = await bond.services.update(SERVICE, {"number": number})
        await operation.result()
        if number in {1, 10, 100, 1000, options.operations}:
            say(f"{number} operations after {time.monotonic() - began:.0f} s")
            _, history = await _events((await bond.connection.temporal()), operation)
            milliseconds = [await _replayed(history) for _ in range(TURNS)]
            report.add(f"after {number} operations: events to replay", "", len(history.events))
            report.add("  replay", "ms", *milliseconds)
            report.add("  size of that history", "KiB", _size(history) / 1024)
    report.add("an update, from request to committed", "s", (time.monotonic() - began) / options.operations)


async def _events(client: Client, operation: Operation) -> tuple[WorkflowHistory, WorkflowHistory]:
    """The history of an operation's own workflow, and of the run of its service that carried it."""
    own = await client.get_workflow_handle(_workflow_id(operation)).fetch_history()
    workflow_id = names.service_workflow_id(operation.team, operation.name)
    carried = await client.get_workflow_handle(workflow_id).fetch_history()
    # a service that continues is in its next run already
    while not _carries(carried, operation):
        before = carried.events[0].workflow_execution_started_event_attributes.continued_execution_run_id
        carried = await client.get_workflow_handle(workflow_id, run_id=before).fetch_history()
    return own, carried


def _workflow_id(operation: Operation) -> str:
    return names.operation_workflow_id(operation.team, operation.name, operation.number)


def _carries(history: WorkflowHistory, operation: Operation) -> bool:
    return any(
        event.start_child_workflow_execution_initiated_event_attributes.workflow_id == _workflow_id(operation)
        for event in history.events
    )


async def _replayed(history: WorkflowHistory) -> float:
    """Milliseconds of one replay, of many in one worker: its start costs more than they do."""
    replayer = Replayer(
        workflows=workflows.ALL, data_converter=DATA_CONVERTER, workflow_runner=UnsandboxedWorkflowRunner()
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
