"""Sealed payloads find their workflow by every way that Temporal carries one, and open nowhere else."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from temporalio import activity, workflow
from temporalio.api.common.v1 import Payloads, WorkflowExecution
from temporalio.api.workflowservice.v1 import SignalWorkflowExecutionRequest
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleSpec,
    WithStartWorkflowOperation,
    WorkflowUpdateFailedError,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, Worker

from bondstone.base.settings import Settings
from bondstone.store.crypto import KeyRing
from bondstone.temporal.payloads import ENCODING, data_converter
from harness.waiting import until_async

pytestmark = pytest.mark.integration

QUEUE = "contexts"


@activity.defn
async def echo(text: str) -> str:
    """Beats, fails once with a detail, and gives back what it was given."""
    activity.heartbeat(f"beat {text}")
    if activity.info().attempt == 1:
        raise ApplicationError("not at the first time", f"detail {text}")
    return f"{activity.info().heartbeat_details or ('none',)} {text}"


@workflow.defn
class Child:
    """Ends with what it was told."""

    def __init__(self) -> None:
        self.told = ""

    @workflow.run
    async def run(self, text: str) -> str:
        await workflow.wait_condition(lambda: bool(self.told))
        return f"{text} {self.told}"

    @workflow.signal
    def tell(self, text: str) -> None:
        self.told = text


@workflow.defn
class Whole:
    """Uses everything that carries a payload."""

    def __init__(self) -> None:
        self.told: list[str] = []

    @workflow.run
    async def run(self, text: str, runs: int) -> str:
        ran = await workflow.execute_activity(echo, text, start_to_close_timeout=timedelta(seconds=10))
        child = await workflow.start_child_workflow(
            Child.run, f"child {text}", id=f"{workflow.info().workflow_id}/child"
        )
        await workflow.get_external_workflow_handle(child.id).signal("tell", f"from outside {text}")
        ended = await child
        if runs:
            workflow.continue_as_new(args=[f"{text}+", runs - 1])
        await workflow.wait_condition(lambda: bool(self.told))
        return " | ".join([ran, ended, *self.told])

    @workflow.signal
    def tell(self, text: str) -> None:
        self.told.append(text)

    @workflow.update
    def change(self, text: str) -> str:
        return f"changed {text}"

    @workflow.query
    def ask(self, text: str) -> str:
        return f"asked {text} {self.told}"


@pytest.fixture
async def strict(temporal: Client, tmp_path) -> AsyncIterator[Client]:
    """A client whose payloads must be sealed, on a real server, with a worker beside it."""
    ring = tmp_path / "payload-keys.json"
    KeyRing.load_or_create(ring)
    converter = data_converter(Settings(payload_keys=ring, payloads_require_sealed=True))
    config = temporal.config()
    config["data_converter"] = converter
    client = Client(**config)
    async with Worker(
        client,
        task_queue=QUEUE,
        workflows=[Whole, Child],
        activities=[echo],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        yield client


async def test_everything_arrives_where_it_was_sent(strict: Client) -> None:
    name = f"whole/{uuid.uuid4().hex[:6]}"
    start = WithStartWorkflowOperation(
        Whole.run,
        args=["a", 1],
        id=name,
        task_queue=QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
    )
    changed = await strict.execute_update_with_start_workflow(Whole.change, "b", start_workflow_operation=start)
    assert changed == "changed b"
    handle = strict.get_workflow_handle_for(Whole.run, name)
    assert await handle.execute_update(Whole.change, "c") == "changed c"
    assert (await handle.query(Whole.ask, "d")).startswith("asked d")
    first = (await start.workflow_handle()).result_run_id

    async def another_run() -> bool:
        return (await handle.describe()).run_id != first

    await until_async(another_run, "it continues as new")
    await handle.signal(Whole.tell, "e")
    async with asyncio.timeout(60):
        assert await handle.result() == "['beat a+'] a+ | child a+ from outside a+ | e"
    history = await handle.fetch_history()
    kept = b"".join(event.SerializeToString() for event in history.events)
    assert ENCODING in kept
    assert b"from outside" not in kept
    replayer = Replayer(
        workflows=[Whole, Child], data_converter=strict.data_converter, workflow_runner=UnsandboxedWorkflowRunner()
    )
    await replayer.replay_workflow(history)


async def test_what_a_schedule_starts_opens_its_arguments(strict: Client) -> None:
    action = ScheduleActionStartWorkflow(Child.run, "scheduled", id="contexts/nightly", task_queue=QUEUE)
    schedule = await strict.create_schedule("contexts-nightly", Schedule(action=action, spec=ScheduleSpec()))
    await schedule.trigger()

    async def recent_actions() -> Any:
        return (await schedule.describe()).info.recent_actions

    recent = await until_async(recent_actions, "it starts something")
    started = recent[0].action.workflow_id  # type: ignore[union-attr] # of a started workflow
    assert started != "contexts/nightly"
    handle = strict.get_workflow_handle_for(Child.run, started)
    await handle.signal(Child.tell, "now")
    assert await handle.result() == "scheduled now"


async def test_a_copy_and_a_plain_payload_are_refused_and_the_workflow_goes_on(strict: Client) -> None:
    one, other = [
        await strict.start_workflow(Whole.run, args=[name, 0], id=f"{name}/x", task_queue=QUEUE)
        for name in ("contexts-one", "contexts-other")
    ]
    await one.execute_update(Whole.change, "for one")
    bare = await Client.connect(strict.service_client.config.target_host)
    history = await one.fetch_history()
    [sealed] = [
        event.workflow_execution_update_accepted_event_attributes.accepted_request.input.args.payloads[0]
        for event in history.events
        if event.HasField("workflow_execution_update_accepted_event_attributes")
    ]
    await forward(bare, other.id, sealed)
    with pytest.raises(WorkflowUpdateFailedError):
        await bare.get_workflow_handle(other.id).execute_update("change", "in plain")
    await bare.get_workflow_handle(other.id).signal("tell", "in plain")
    await other.signal(Whole.tell, "sealed")
    async with asyncio.timeout(60):
        assert (await other.result()).endswith("| sealed")
    await one.terminate()


async def forward(bare: Client, workflow_id: str, payload) -> None:
    """Signal a workflow with the very payload that was sealed for another."""
    await bare.workflow_service.signal_workflow_execution(
        SignalWorkflowExecutionRequest(
            namespace="default",
            workflow_execution=WorkflowExecution(workflow_id=workflow_id),
            signal_name="tell",
            input=Payloads(payloads=[payload]),
            identity="attacker",
            request_id=str(uuid.uuid4()),
        )
    )
