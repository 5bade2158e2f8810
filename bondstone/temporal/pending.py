"""What a running operation does now, and what it tries again and why: Temporal keeps both of its activities."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from temporalio.api.enums.v1 import PendingActivityState
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.client import Client, RPCError

from bondstone.base.errors import ErrorInfo, NotFound
from bondstone.model.step import Progress
from bondstone.temporal import calls
from bondstone.temporal.failures import info_of


@dataclass(frozen=True, slots=True)
class Retrying:
    """An activity whose last attempt failed, and that will have another or has it now."""

    activity: str
    """As in `terraform.plan`."""
    attempt: int
    """The one that is to come, or runs."""
    at_most: int
    """Attempts in all; 0 for as many as it takes."""
    error: ErrorInfo
    """What the last one failed with."""
    next_at: datetime | None = None
    """When the next one is due; None while it runs."""


@dataclass(frozen=True, slots=True)
class Working:
    """An activity that says how far it is."""

    activity: str
    """As in `health.probe`."""
    progress: Progress
    since: datetime | None = None
    """When this attempt began."""


@dataclass(frozen=True, slots=True)
class Pending:
    """The activities of an operation that have not ended."""

    retrying: tuple[Retrying, ...] = ()
    working: tuple[Working, ...] = ()


async def pending(client: Client, workflow_id: str) -> Pending:
    """What a workflow waits for; nothing for one that is not there.

    Args:
        client: A connection that opens what Temporal keeps.
        workflow_id: Of the operation.

    Raises:
        Unreachable: Temporal does not answer.
    """
    try:
        described = await client.get_workflow_handle(workflow_id).describe(rpc_timeout=calls.QUERY_TIMEOUT)
    except RPCError as error:
        refusal = calls.as_ours(error, workflow_id)
        if isinstance(refusal, NotFound):
            return Pending()
        raise refusal from error
    activities = described.raw_description.pending_activities
    return Pending(
        tuple([await _retrying(client, each) for each in activities if each.HasField("last_failure")]),
        tuple([each for each in [await _working(client, each) for each in activities] if each is not None]),
    )


async def _retrying(client: Client, activity: PendingActivityInfo) -> Retrying:
    due = activity.HasField("next_attempt_schedule_time")
    return Retrying(
        activity=activity.activity_type.name,
        attempt=activity.attempt,
        at_most=activity.maximum_attempts,
        error=info_of(await client.data_converter.decode_failure(activity.last_failure)),
        next_at=activity.next_attempt_schedule_time.ToDatetime(tzinfo=UTC) if due else None,
    )


async def _working(client: Client, activity: PendingActivityInfo) -> Working | None:
    if activity.state != PendingActivityState.PENDING_ACTIVITY_STATE_STARTED or not activity.HasField(
        "heartbeat_details"
    ):
        return None
    try:
        [progress] = await client.data_converter.decode(activity.heartbeat_details.payloads, [Progress])
    except (ValueError, TypeError, RuntimeError):  # of another kind of activity
        return None
    began = activity.last_started_time.ToDatetime(tzinfo=UTC) if activity.HasField("last_started_time") else None
    return Working(activity.activity_type.name, progress, began)
