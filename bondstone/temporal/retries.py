"""What a running operation tries again and again, and why: Temporal keeps the failure of the last attempt."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from temporalio.client import Client, RPCError

from bondstone.base.errors import ErrorInfo, NotFound
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


async def retrying(client: Client, workflow_id: str) -> list[Retrying]:
    """The activities of a workflow that are tried again; of one that is not there, none.

    Args:
        client: A connection that opens what Temporal keeps.
        workflow_id: Of the operation.

    Raises:
        Unreachable: Temporal does not answer.
    """
    try:
        described = await client.get_workflow_handle(workflow_id).describe(rpc_timeout=calls.QUERY_TIMEOUT)
    except RPCError as error:
        found = calls.as_ours(error, workflow_id)
        if isinstance(found, NotFound):
            return []
        raise found from error
    return [
        Retrying(
            activity=pending.activity_type.name,
            attempt=pending.attempt,
            at_most=pending.maximum_attempts,
            error=info_of(await client.data_converter.decode_failure(pending.last_failure)),
            next_at=(
                pending.next_attempt_schedule_time.ToDatetime(tzinfo=UTC)
                if pending.HasField("next_attempt_schedule_time")
                else None
            ),
        )
        for pending in described.raw_description.pending_activities
        if pending.HasField("last_failure")
    ]
