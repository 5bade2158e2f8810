"""ScheduledCampaign: one run of a schedule. It names the campaign, records the run, and waits for its end.

It waits so that the schedule's overlap policy sees that the campaign still runs. Cancelling it aborts the
campaign: running targets finish, no others start.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from temporalio import workflow
from temporalio.common import SearchAttributeKey, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from bondstone.base import names
from bondstone.base.errors import AlreadyExists
from bondstone.base.printable import asked_by
from bondstone.model.campaign.run import CampaignDescription
from bondstone.model.campaign.schedule import RunCall, ScheduledRun, ScheduleEntry
from bondstone.temporal.failures import to_failure
from bondstone.workflows import activity_calls

RECORD_WITHIN: Final = timedelta(minutes=1)

_PLANNED: Final = SearchAttributeKey.for_datetime("TemporalScheduledStartTime")
"""Set by Temporal on what a schedule starts: when it was due."""


@workflow.defn(name=names.SCHEDULED_CAMPAIGN_WORKFLOW)
class ScheduledCampaign:
    """One run of a schedule: starts the campaign `<schedule>-<time>` and waits for its end."""

    @workflow.run
    async def run(self, run: ScheduledRun) -> ScheduleEntry:
        """Record the run, and see its campaign through; what was recorded is the result."""
        at = workflow.now()
        planned_at: datetime = workflow.info().typed_search_attributes.get(_PLANNED) or at
        campaign = names.scheduled_campaign(run.schedule, planned_at)
        call = RunCall(run=run, campaign=campaign, planned_at=planned_at, at=at)
        entry = await activity_calls.apart(
            names.SCHEDULE_RECORD, call, ScheduleEntry, within=RECORD_WITHIN, summary="record the run"
        )
        workflow.set_current_details(f"campaign `{campaign}` of schedule `{run.schedule}`")
        try:
            await workflow.execute_child_workflow(
                names.CAMPAIGN_WORKFLOW,
                run.campaign,
                id=names.campaign_workflow_id(campaign),
                result_type=CampaignDescription,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                cancellation_type=workflow.ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                static_summary=f"campaign {campaign}",
                static_details=f"schedule {run.schedule}, due {planned_at:%Y-%m-%d %H:%M} UTC. "
                + asked_by(run.campaign.requested_by, run.campaign.reason),
            )
        except WorkflowAlreadyStartedError:
            taken = AlreadyExists(
                f"there is, or was, a campaign {campaign}",
                where=f"schedule {run.schedule}",
                hint="that time has been run; `bond campaign retry` takes its targets up again",
            )
            raise to_failure(taken) from None
        return entry
