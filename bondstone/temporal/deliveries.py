"""Deliveries of notifications, as visibility lists them."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal

from temporalio.client import Client, RPCError, WorkflowExecution, WorkflowExecutionStatus

from bondstone.base import names
from bondstone.base.errors import NotFound, Refused, Unreachable
from bondstone.base.models import Document
from bondstone.model.notification import DeliverCall
from bondstone.temporal.announcing import deliver
from bondstone.temporal.connection import reason

MAX_ROWS: Final = 200
MAX_LOOKED_INTO: Final = 20
"""Deliveries under way of which the last failure is read."""


class DeliveryDocument(Document):
    """One event on its way to one subscription."""

    subscription: str
    event: str
    """Id of the event; a message carries it as `webhook-id`"""
    status: Literal["pending", "delivered", "failed"]
    """failed: it was tried for a day, or the receiver is gone"""
    started_at: datetime
    ended_at: datetime | None = None
    attempts: int = 0
    """Of one that is pending"""
    error: str = ""
    """Why the last attempt did not arrive"""
    workflow: str
    """Id of its workflow in Temporal"""


async def list_deliveries(client: Client, subscription: str = "", status: str = "") -> list[DeliveryDocument]:
    """Deliveries within Temporal's retention, the newest first, at most `MAX_ROWS`.

    Args:
        client: The connection.
        subscription: To this one only.
        status: `pending`, `delivered` or `failed` only.

    Raises:
        Unreachable: Temporal does not answer.
    """
    query = f"WorkflowType = '{names.NOTIFICATION_WORKFLOW}'"
    if subscription:
        query += f" AND WorkflowId STARTS_WITH '{names.NOTIFICATION_PREFIX}{subscription}/'"
    statuses = {"pending": "Running", "delivered": "Completed", "failed": "Failed"}
    if status:
        query += f" AND ExecutionStatus = '{statuses[status]}'"
    rows, looked = [], 0
    try:
        async for execution in client.list_workflows(query, limit=MAX_ROWS):
            row = _row(execution)
            if row.status != "delivered" and looked < MAX_LOOKED_INTO:
                looked += 1
                row = await _looked_into(client, execution, row)
            rows.append(row)
    except RPCError as error:
        raise Unreachable(f"Temporal did not list the deliveries: {reason(error.message)}") from error
    return sorted(rows, key=lambda row: row.started_at, reverse=True)


async def deliver_again(client: Client, subscription: str, event: str) -> str:
    """Send an event again that did not arrive; the id of the workflow.

    Raises:
        NotFound: there is no such delivery.
        Refused: it has arrived, or is on its way.
    """
    workflow_id = names.notification_workflow_id(subscription, event)
    handle = client.get_workflow_handle(workflow_id)
    try:
        described = await handle.describe()
        if described.status is not WorkflowExecutionStatus.FAILED:
            state = "is on its way" if described.status is WorkflowExecutionStatus.RUNNING else "has arrived"
            raise Refused(f"the notification {state}", where=workflow_id)
        first = await anext(aiter(handle.fetch_history_events()))
    except RPCError as error:
        raise NotFound("there is no such delivery", where=workflow_id) from error
    started = first.workflow_execution_started_event_attributes
    [call] = await client.data_converter.decode(started.input.payloads, [DeliverCall])
    return await deliver(client, call, again=True)


def _row(execution: WorkflowExecution) -> DeliveryDocument:
    subscription, _, event = execution.id.removeprefix(names.NOTIFICATION_PREFIX).partition("/")
    status: Literal["pending", "delivered", "failed"] = "failed"
    if execution.status is WorkflowExecutionStatus.RUNNING:
        status = "pending"
    elif execution.status is WorkflowExecutionStatus.COMPLETED:
        status = "delivered"
    return DeliveryDocument(
        subscription=subscription,
        event=event,
        status=status,
        started_at=execution.start_time,
        ended_at=execution.close_time,
        workflow=execution.id,
    )


async def _looked_into(client: Client, execution: WorkflowExecution, row: DeliveryDocument) -> DeliveryDocument:
    handle = client.get_workflow_handle(execution.id, run_id=execution.run_id)
    if row.status == "pending":
        pending = (await handle.describe()).raw_description.pending_activities
        for activity in pending:
            return row.changed(attempts=activity.attempt, error=activity.last_failure.message[:300])
        return row
    async for event in handle.fetch_history_events():
        if event.HasField("activity_task_failed_event_attributes"):
            failure = event.activity_task_failed_event_attributes.failure
            row = row.changed(error=failure.message[:300])
        if event.HasField("activity_task_started_event_attributes"):
            row = row.changed(attempts=event.activity_task_started_event_attributes.attempt)
    return row
