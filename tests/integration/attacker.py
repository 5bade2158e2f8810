"""A person who reaches Temporal and nothing else: it reads every history, starts workflows, polls queues."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from platforms import LocalPlatform
from temporalio import workflow
from temporalio.client import Client, WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from bondstone.base import names
from bondstone.client import Operation
from bondstone.model.attestation import Permit
from bondstone.model.service import (
    OperationRecord,
    ServiceId,
    ServiceState,
)
from harness.waiting import until_async

QUEUE = "stranger"


@workflow.defn(name="Stranger")
class Stranger:
    """Has any activity run with any argument."""

    @workflow.run
    async def run(self, name: str, queue: str, argument: Any) -> Any:
        return await workflow.execute_activity(
            name,
            argument,
            task_queue=queue,
            start_to_close_timeout=timedelta(seconds=60),
            heartbeat_timeout=timedelta(seconds=30),
            retry_policy=RetryPolicy(maximum_attempts=1),
        )


class Attacker:
    """Somebody with a connection to Temporal."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def run_activity(self, name: str, queue: str, argument: Any) -> Any:
        return await self.client.execute_workflow(
            "Stranger", args=[name, queue, argument], id=f"stranger-{uuid.uuid4()}", task_queue=QUEUE
        )

    async def refused(self, name: str, queue: str, argument: Any) -> str:
        """The code that an activity is refused with."""
        with pytest.raises(WorkflowFailureError) as failure:
            await self.run_activity(name, queue, argument)
        error: Any = failure.value
        while not isinstance(error, ApplicationError):
            error = error.cause
        return str(error.type)

    async def update_refused(self, workflow_id: str, name: str, argument: Any) -> str:
        """The code that an update is refused with."""
        with pytest.raises(WorkflowUpdateFailedError) as failure:
            await self.client.get_workflow_handle(workflow_id).execute_update(name, argument)
        return str(failure.value.cause.type)  # type: ignore[union-attr] # of an ApplicationError


async def requested(local: LocalPlatform, service: ServiceId, folder: Path, **inputs: Any) -> Operation:
    made = folder / "made.txt"
    async with local.client() as bond:
        return await bond.services.request("held", str(service), {"made": str(made), **inputs})


async def state_of(attacker: Attacker, service: ServiceId) -> ServiceState:
    handle = attacker.client.get_workflow_handle(names.service_workflow_id(service.team, service.name))
    return await handle.query(names.QUERY_DESCRIBE, result_type=ServiceState)


async def idle(attacker: Attacker, service: ServiceId) -> ServiceState:
    """The state of a service once it has nothing to do."""

    async def resting() -> ServiceState | None:
        state = await state_of(attacker, service)
        return None if state.queue else state

    return await until_async(resting, f"{service} has nothing to do")


async def at_the_gate(attacker: Attacker, operation: Operation) -> OperationRecord:
    handle = attacker.client.get_workflow_handle(names.operation_workflow_id(*names.parse_operation(operation.id)))

    async def waiting() -> OperationRecord | None:
        record: OperationRecord = await handle.query(names.QUERY_DESCRIBE, result_type=OperationRecord)
        return record if any(each.status == "waiting" for each in record.approvals) else None

    # accepted, and perhaps not started yet
    return await until_async(waiting, f"{operation.id} waits for people", not_yet=(RPCError,))


async def captured(attacker: Attacker, operation: Operation) -> tuple[Permit, dict[str, Any]]:
    """The permit of an operation and the argument of its plan, as everybody who reads its history has them."""
    handle = attacker.client.get_workflow_handle(names.operation_workflow_id(*names.parse_operation(operation.id)))
    converter = attacker.client.data_converter
    async for event in handle.fetch_history_events():
        scheduled = event.activity_task_scheduled_event_attributes
        if scheduled.activity_type.name == "terraform.plan":
            [call] = await converter.decode(scheduled.input.payloads, [dict])
            return Permit.model_validate(call["permit"]), call
    raise AssertionError("there is no plan in the history")


async def made_by_operation(local: LocalPlatform, operation: Operation) -> OperationRecord | Any:
    async with local.client() as bond, asyncio.timeout(120):
        return await bond.operation(operation.id).wait()


async def first_request(attacker: Attacker, handle: Any, history: list[Any], kind: type) -> list[Any]:
    """What the first request of a service was, as its history shows it."""
    started = history[0].workflow_execution_started_event_attributes
    first = attacker.client.get_workflow_handle(handle.id, run_id=started.first_execution_run_id)
    events = [event async for event in first.fetch_history_events()]
    accepted = [
        event.workflow_execution_update_accepted_event_attributes
        for event in events
        if event.HasField("workflow_execution_update_accepted_event_attributes")
    ]
    payloads = accepted[0].accepted_request.input.args.payloads
    return list(await attacker.client.data_converter.decode(payloads, [kind]))
