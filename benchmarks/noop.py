"""The sides that benchmarks compare and their floors, as worker processes: `python -m benchmarks.noop SIDE`."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta
from typing import Any, ClassVar

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from benchmarks.durable import TOOL_QUEUE, WORKFLOW_QUEUE, DurableOperation, DurableService, Kept
from benchmarks.durable_stacks import Stacks
from bondstone.activities.executors import executor_activities
from bondstone.base.models import Manifest
from bondstone.base.names import DEFAULT_POOL, pool_queue
from bondstone.base.process_identity import poller_identity
from bondstone.base.processes import leave
from bondstone.base.settings import Settings
from bondstone.executors.protocol import Drifted, Executor, Outcome, Planned, SectionReport, StepContext
from bondstone.model.plan import Change
from bondstone.store import Store
from bondstone.workers import control, executor, runtime

ON_WORKFLOW_QUEUE = (True, False, True, False, True, True)
"""Where the bare workflow's activities run, as Bondstone's do: resolve, plan, check, apply, outputs, ledger."""

FLEET_RUN = 400
"""Children of one run of a bare fleet."""


class NoopSection(Manifest):
    """The section of a step that does nothing."""


class NoopExecutor(Executor):
    """A tool that does nothing: what is left is Bondstone."""

    kind: ClassVar[str] = "noop"
    section: ClassVar[type[Manifest]] = NoopSection

    def check(self, section: Any, promise: Any) -> SectionReport:  # noqa: ARG002 - the interface
        """Everything is fine."""
        return SectionReport()

    async def plan(self, context: StepContext) -> Planned:  # noqa: ARG002 - the interface
        """One change, of nothing."""
        change = Change(address="noop", action="create")
        return Planned(artefact=b"-", document={}, changes=[change], empty=False, position=0, tool="noop")

    async def apply(self, context: StepContext, artefact: bytes, position: int) -> Outcome:  # noqa: ARG002
        """Done."""
        return Outcome(outputs={})

    async def plan_destroy(self, context: StepContext) -> Planned:
        """As `plan`."""
        return await self.plan(context)

    async def detect_drift(self, context: StepContext) -> Drifted:  # noqa: ARG002 - the interface
        """Nothing can."""
        return Drifted(changes=[])


@workflow.defn
class Bare:
    """The same number of activities, by the SDK alone."""

    @workflow.run
    async def run(self) -> None:
        """One activity after the other."""
        for here in ON_WORKFLOW_QUEUE:
            await workflow.execute_activity(
                noop,
                task_queue=WORKFLOW_QUEUE if here else TOOL_QUEUE,
                start_to_close_timeout=timedelta(seconds=30),
            )


@workflow.defn
class BareFleet:
    """So many `Bare` children, so many at a time."""

    @workflow.run
    async def run(self, name: str, first: int, count: int, at_once: int) -> None:
        """All of them; after some hundreds by a new run of its own, as a campaign does."""
        places = asyncio.Semaphore(at_once)

        async def one(number: int) -> None:
            async with places:
                await workflow.execute_child_workflow(Bare.run, id=f"{name}/{number}")

        last = min(first + FLEET_RUN, count)
        await asyncio.gather(*map(one, range(first, last)))
        if last < count:
            workflow.continue_as_new(args=[name, last, count, at_once])


@activity.defn
async def noop() -> None:
    """Do nothing."""


async def build_executor(client: Client, store: Store, settings: Settings) -> runtime.Serving:
    """As `bondstone.workers.executor`, with the executor that does nothing."""
    queue = pool_queue(DEFAULT_POOL)
    worker = Worker(
        client,
        task_queue=queue,
        identity=poller_identity("executor"),
        activities=executor_activities(store, settings, {"noop": NoopExecutor()}),
        max_concurrent_activities=executor.MAX_ACTIVITIES,
    )
    return runtime.Serving(workers=[worker], queues={queue: False})


async def build_bare_control(client: Client, store: Store, settings: Settings) -> runtime.Serving:
    """As `bondstone.workers.control`, with the bare workflow."""
    del store
    worker = Worker(
        await plain(client),
        task_queue=WORKFLOW_QUEUE,
        identity=poller_identity("bare-control"),
        workflows=[Bare, BareFleet, DurableService, DurableOperation],
        activities=[noop, Kept(settings.data / "floor").record],
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_concurrent_workflow_tasks=control.MAX_WORKFLOW_TASKS,
        max_concurrent_activities=control.MAX_ACTIVITIES,
    )
    return runtime.Serving(workers=[worker], queues={WORKFLOW_QUEUE: True})


async def build_bare_executor(client: Client, store: Store, settings: Settings) -> runtime.Serving:
    """As `build_executor`, with the bare activity."""
    del store
    kept = Kept(settings.data / "floor")
    worker = Worker(
        await plain(client),
        task_queue=TOOL_QUEUE,
        identity=poller_identity("bare-executor"),
        activities=[noop, kept.plan, kept.apply],
        max_concurrent_activities=executor.MAX_ACTIVITIES,
    )
    return runtime.Serving(workers=[worker], queues={TOOL_QUEUE: False})


async def build_bare_stacks(client: Client, store: Store, settings: Settings) -> runtime.Serving:
    """As `build_bare_executor`, with Terraform in its activities."""
    del store
    stacks = Stacks(settings)
    worker = Worker(
        await plain(client),
        task_queue=TOOL_QUEUE,
        identity=poller_identity("bare-stacks"),
        activities=[noop, stacks.plan, stacks.apply],
        max_concurrent_activities=executor.MAX_ACTIVITIES,
    )
    return runtime.Serving(workers=[worker], queues={TOOL_QUEUE: False})


async def plain(client: Client) -> Client:
    """A connection as the SDK makes it when nothing is said about data."""
    return await Client.connect(client.service_client.config.target_host, namespace=client.namespace)


BUILDS = {
    "executor": build_executor,
    "bare-control": build_bare_control,
    "bare-executor": build_bare_executor,
    "bare-stacks": build_bare_stacks,
}

if __name__ == "__main__":
    leave(runtime.main(sys.argv[1], BUILDS[sys.argv[1]]))
