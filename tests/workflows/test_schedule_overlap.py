"""A schedule that comes due while its campaign goes on leaves the run out, and the next run has it on record."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from campaign_fakes import WITHIN_SECONDS, CampaignPlatform, Fleet
from fakes import serving
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionExecutionStartWorkflow,
    ScheduleActionStartWorkflow,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleState,
)

from bondstone.activities.schedules import ScheduleActivities
from bondstone.base import names
from bondstone.model.campaign.run import CampaignInput
from bondstone.model.campaign.schedule import ScheduledRun, ScheduleEntry
from bondstone.store.schedules import ScheduleStore
from harness.waiting import until_async

SECOND = timedelta(seconds=1)


@dataclass
class Recording(CampaignPlatform):
    """The fake platform, with the real record of runs."""

    def activities(self) -> list[Callable[..., Any]]:
        assert self.client is not None
        others = [each for each in super().activities() if each.__name__ != "record_run"]
        return [*others, ScheduleActivities(self.store, self.client).record]


async def test_runs_left_out_because_another_went_on_are_on_record(temporal: Client) -> None:
    platform = Recording(holding=asyncio.Event())
    fleet = await Fleet.of(temporal, platform, [1])
    assert platform.holding is not None
    name = f"often-{uuid.uuid4().hex[:8]}"
    run = ScheduledRun(
        schedule=name,
        cron="* * * * *",
        time_zone="UTC",
        strategy="patches",
        campaign=CampaignInput(requested_by="ada", reason="patches"),
    )
    ledger = ScheduleStore(platform.store.objects)

    async def runs() -> list[ScheduleEntry]:
        return [entry for entry in await ledger.entries(name) if entry.kind == "run"]

    async with serving(temporal, platform):
        handle = await temporal.create_schedule(
            names.schedule_id(name),
            Schedule(
                action=ScheduleActionStartWorkflow(
                    names.SCHEDULED_CAMPAIGN_WORKFLOW,
                    run,
                    id=names.schedule_id(name),
                    task_queue=names.CONTROL_QUEUE,
                ),
                spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(2 * SECOND)], jitter=SECOND),
                policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP),
                state=ScheduleState(
                    limited_actions=True, remaining_actions=2
                ),  # no third for another test's worker
            ),
        )

        async def two_skipped() -> bool:
            return (await handle.describe()).info.num_actions_skipped_overlap >= 2

        async def two_started() -> Any:
            actions = (await handle.describe()).info.recent_actions
            return actions if len(actions) >= 2 else ()

        try:
            await platform.until_applying(1)
            await until_async(two_skipped, "two are skipped", seconds=WITHIN_SECONDS)
            assert len(await runs()) == 1
            platform.holding.set()
            started = await until_async(two_started, "the second one starts", seconds=WITHIN_SECONDS)
            async with asyncio.timeout(WITHIN_SECONDS):
                for each in started:
                    assert isinstance(each.action, ScheduleActionExecutionStartWorkflow)
                    await temporal.get_workflow_handle(each.action.workflow_id).result()
        finally:
            await handle.delete()
    first, second = await runs()
    assert first.overlaps == 0
    assert second.overlaps >= 2
    assert first.campaign != second.campaign
    assert first.planned_at is not None
    assert second.planned_at is not None
    assert second.planned_at - first.planned_at >= 4 * SECOND
    assert platform.most_applying == 1
    assert fleet.services
