"""Campaigns in lists, by visibility alone."""

from __future__ import annotations

from typing import Final

from temporalio.client import Client, RPCError, WorkflowExecution, WorkflowExecutionStatus

from bondstone.base import names
from bondstone.client.documents.campaign import CampaignRow
from bondstone.temporal import calls
from bondstone.temporal.listing import keyword

FAILED: Final = {
    WorkflowExecutionStatus.FAILED: "failed",
    WorkflowExecutionStatus.TIMED_OUT: "failed",
    WorkflowExecutionStatus.TERMINATED: "terminated",
    WorkflowExecutionStatus.CANCELED: "terminated",
}
"""What lists say of a campaign whose workflow did not end by itself."""


async def campaigns(client: Client, *, running: bool = False) -> list[CampaignRow]:
    """Every campaign within Temporal's retention, newest first.

    Args:
        client: The connection to Temporal.
        running: Only those that have not ended.

    Raises:
        Unreachable: Temporal does not answer.
    """
    status = "= 'Running'" if running else "!= 'ContinuedAsNew'"
    query = f"WorkflowType = '{names.CAMPAIGN_WORKFLOW}' AND ExecutionStatus {status}"
    try:
        rows = [_row(execution) async for execution in client.list_workflows(query)]
    except RPCError as error:
        raise calls.as_ours(error, names.campaign_workflow_id("")) from error
    return sorted(rows, key=lambda row: row.started_at, reverse=True)


def _row(execution: WorkflowExecution) -> CampaignRow:
    attributes = execution.typed_search_attributes
    status = FAILED.get(execution.status) if execution.status else None
    return CampaignRow(
        name=names.campaign_of(execution.id),
        status=status or keyword(attributes, names.SA_PHASE) or "running",
        owner=keyword(attributes, names.SA_TEAM),
        promise=keyword(attributes, names.SA_PROMISE),
        revision=keyword(attributes, names.SA_REVISION),
        started_at=execution.start_time,
        ended_at=execution.close_time,
    )
