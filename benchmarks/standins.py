"""What stands in for services when the campaign alone is measured, and what the bare SDK has in its place.

Each is a worker process of its own, `python -m benchmarks.standins SIDE`, so that its CPU time is known.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from temporalio import workflow
from temporalio.client import Client, WorkflowHandle
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from benchmarks.noop import plain
from bondstone.base import names
from bondstone.base.process_identity import poller_identity
from bondstone.base.processes import leave
from bondstone.base.settings import Settings
from bondstone.model.campaign.events import AttemptAccepted, AttemptFinished
from bondstone.model.campaign.run import Reply, SubmitCall
from bondstone.model.service import Health, OperationStatus, Phase
from bondstone.store import Store
from bondstone.workers import control, runtime
from harness.waiting import until_async

STANDIN_QUEUE = "stand-ins"
PARENT_QUEUE = "bare-parents"
TARGET_QUEUE = "bare-targets"
RUN_TARGETS = 400
"""After so many targets the bare parent continues as new, about as a campaign does."""

STARTS_AT_ONCE = 50
CACHED = 20_000
"""Workflows that a worker keeps in memory: all of them, or else it were busy with putting them away."""

EVENTS_AT_REST = 4
"""Of a workflow that was started and waits."""


@workflow.defn(name=names.SERVICE_WORKFLOW)
class StandIn:
    """Takes `submit`, replies as a service does, that it has accepted and that it has finished, and ends."""

    def __init__(self) -> None:
        self._call: SubmitCall | None = None

    @workflow.run
    async def run(self) -> None:
        """Until it has replied."""
        await workflow.wait_condition(lambda: self._call is not None)
        if self._call is None:
            raise AssertionError  # it was waited for
        answer: dict[str, Any] = {"target": self._call.target, "attempt": self._call.attempt, "operation": 2}
        finished = AttemptFinished(**answer, status=OperationStatus.SUCCEEDED, evidence=_evidence())
        campaign = workflow.get_external_workflow_handle(self._call.reply_to)
        await asyncio.gather(
            *(
                campaign.signal(names.SIGNAL_REPLY, Reply(said=each))
                for each in (AttemptAccepted(**answer), finished)
            )
        )

    @workflow.signal(name=names.SIGNAL_SUBMIT)
    def submit(self, call: SubmitCall) -> None:
        """A campaign asks."""
        self._call = call


@dataclass(frozen=True)
class BareJob:
    """What the bare parent does."""

    name: str
    count: int
    at_once: int
    next: int = 0


@workflow.defn
class BareParent:
    """Signals each target, so many at a time, and hears of each twice: no rules, no records."""

    def __init__(self) -> None:
        self._running: set[int] = set()

    @workflow.run
    async def run(self, job: BareJob) -> None:
        """All of them; after some hundreds by a new run of its own."""
        last = min(job.next + RUN_TARGETS, job.count)
        signals = []
        for number in range(job.next, last):
            await workflow.wait_condition(lambda: len(self._running) < job.at_once)
            self._running.add(number)
            target = workflow.get_external_workflow_handle(f"bare/{job.name}/{number}")
            reply_to = workflow.info().workflow_id
            signals.append(asyncio.create_task(target.signal("submit", args=[reply_to, number])))
        await workflow.wait_condition(lambda: not self._running)
        await asyncio.gather(*signals)
        if last < job.count:
            workflow.continue_as_new(replace(job, next=last))

    @workflow.signal
    def reply(self, number: int, finished: bool) -> None:  # noqa: FBT001 - arguments of signals have places
        """What a target says."""
        if finished:
            self._running.discard(number)


@workflow.defn
class BareTarget:
    """As `StandIn`."""

    def __init__(self) -> None:
        self._request: tuple[str, int] | None = None

    @workflow.run
    async def run(self) -> None:
        """Until it has replied."""
        await workflow.wait_condition(lambda: self._request is not None)
        reply_to, number = self._request or ("", 0)
        parent = workflow.get_external_workflow_handle(reply_to)
        await asyncio.gather(*(parent.signal("reply", args=[number, finished]) for finished in (False, True)))

    @workflow.signal
    def submit(self, reply_to: str, number: int) -> None:
        """A parent asks."""
        self._request = (reply_to, number)


def _evidence() -> dict[str, Any]:
    """What a service of one step says of a patch: as many bytes as the real ones."""
    revision = {"promise": "noop", "version": "1.0.1", "digest": "0" * 64}
    return {
        "operation_id": "fleet/n10000-9999/op/2",
        "revision_before": revision,
        "revision_after": revision,
        "plans": {"main": "0" * 64},
        "changes": {"create": 1, "update": 0, "delete": 0, "replace": 0},
        "decisions": {"main": "allow"},
    }


async def seed(client: Client, label: str, count: int) -> None:
    """Stand-ins `fleet/<label>-<n>` that lists show as services in health of the first revision."""

    async def one(number: int) -> None:
        team, name = "fleet", f"{label}-{number}"
        shown = {
            names.SA_TEAM: team,
            names.SA_SERVICE: f"{team}/{name}",
            names.SA_PROMISE: "noop",
            names.SA_REVISION: "noop@1.0.0",
            names.SA_PHASE: Phase.READY,
            names.SA_HEALTH: Health.HEALTHY,
        }
        pairs: list[SearchAttributePair[Any]] = [
            SearchAttributePair(SearchAttributeKey.for_keyword(key), value) for key, value in shown.items()
        ]
        labels = SearchAttributeKey.for_keyword_list(names.SA_LABELS)
        await client.start_workflow(
            names.SERVICE_WORKFLOW,
            id=names.service_workflow_id(team, name),
            task_queue=STANDIN_QUEUE,
            search_attributes=TypedSearchAttributes([*pairs, SearchAttributePair(labels, [f"size={label}"])]),
        )

    await _all(one, count)
    await _at_rest(client, [names.service_workflow_id("fleet", f"{label}-{n}") for n in range(count)])


async def seed_bare(client: Client, name: str, count: int) -> None:
    """Targets of a bare parent of that name."""

    async def one(number: int) -> None:
        await client.start_workflow(BareTarget.run, id=f"bare/{name}/{number}", task_queue=TARGET_QUEUE)

    await _all(one, count)
    await _at_rest(client, [f"bare/{name}/{number}" for number in range(count)])


async def _all(one: Any, count: int) -> None:
    places = asyncio.Semaphore(STARTS_AT_ONCE)

    async def placed(number: int) -> None:
        async with places:
            await one(number)

    await asyncio.gather(*map(placed, range(count)))


async def _at_rest(client: Client, ids: Sequence[str]) -> None:
    """Wait until the last ones that were started, and so all of them, wait for a signal."""
    for workflow_id in ids[-STARTS_AT_ONCE:]:
        handle = client.get_workflow_handle(workflow_id)

        async def is_at_rest(handle: WorkflowHandle[Any, Any] = handle) -> bool:
            return (await handle.describe()).history_length >= EVENTS_AT_REST

        await until_async(is_at_rest, f"{workflow_id} at rest")


def _build(queue: str, workflows: Sequence[type], *, bare: bool) -> runtime.Build:
    async def build(client: Client, store: Store, settings: Settings) -> runtime.Serving:
        del store, settings
        worker = Worker(
            await plain(client) if bare else client,
            task_queue=queue,
            identity=poller_identity(queue),
            workflows=workflows,
            workflow_runner=UnsandboxedWorkflowRunner(),
            max_concurrent_workflow_tasks=control.MAX_WORKFLOW_TASKS,
            max_cached_workflows=CACHED,
        )
        return runtime.Serving(workers=[worker], queues={queue: True})

    return build


BUILDS = {
    STANDIN_QUEUE: _build(STANDIN_QUEUE, [StandIn], bare=False),
    PARENT_QUEUE: _build(PARENT_QUEUE, [BareParent], bare=True),
    TARGET_QUEUE: _build(TARGET_QUEUE, [BareTarget], bare=True),
}

if __name__ == "__main__":
    leave(runtime.main(sys.argv[1], BUILDS[sys.argv[1]]))
