"""A campaign over a fleet, from its start to its end; real workflows on a real server, fake tools."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from campaign_fakes import TO, CampaignPlatform, Fleet
from fakes import SANDBOX, serving
from temporalio.client import Client, WorkflowFailureError
from temporalio.common import SearchAttributeKey
from temporalio.worker import Replayer

from bondstone.base import names
from bondstone.base.errors import CampaignInvalid
from bondstone.model.campaign.events import Resume, Retry, Skip
from bondstone.model.campaign.run import CampaignInput
from bondstone.model.campaign.schedule import ScheduledRun, ScheduleEntry
from bondstone.model.campaign.state import Calendar, CampaignStatus, TargetOutcome
from bondstone.model.plan import ChangeCounts
from bondstone.model.service import OperationRecord, VoteCall
from bondstone.temporal.failures import info_of
from bondstone.workflows import served


async def test_a_target_that_waits_for_an_approval_is_what_the_campaign_waits_for(temporal: Client) -> None:
    platform = CampaignPlatform()
    platform.counts["main"] = ChangeCounts(replace=1)
    fleet = await Fleet.of(temporal, platform, [2], max_failures=0)
    async with serving(temporal, platform):
        await fleet.start()
        observed = await fleet.until(lambda observed: observed.awaiting == 2)
        assert observed.status is CampaignStatus.AWAITING_APPROVAL
        assert all(flight.awaiting and flight.operation for flight in observed.flights)
        for service in fleet.services:
            handle = temporal.get_workflow_handle(f"service/{service}/op/1")
            record = await handle.query(names.QUERY_DESCRIBE, result_type=OperationRecord)
            vote = VoteCall(step="main", digest=record.approvals[-1].digest, by="eve")
            await handle.execute_update(names.UPDATE_APPROVE, vote)
        result = await fleet.result()
    assert result.counts == {"succeeded": 2}
    assert result.awaiting == 0


async def test_a_fleet_is_patched_wave_after_wave(temporal: Client) -> None:
    platform = CampaignPlatform()
    fleet = await Fleet.of(temporal, platform, [1, 3], max_failures=0)
    async with serving(temporal, platform):
        await fleet.start()
        result = await fleet.result()
        versions = await fleet.versions()
        description = await fleet.handle.describe()
    assert result.status is CampaignStatus.COMPLETED
    assert result.counts == {"succeeded": 4}
    assert versions == [TO] * 4
    records = await fleet.records()
    assert [record.outcome for _, record in sorted(records.items())] == [TargetOutcome.SUCCEEDED] * 4
    first = records[0]
    assert first.service == fleet.services[0]
    assert first.operation_id == f"{first.service}/op/1"
    assert first.revision_before is not None
    assert first.revision_after is not None
    assert (first.revision_before.version, first.revision_after.version) == ("1.0.0", TO)
    assert list(first.plans) == ["main"]
    waves = {record.target: record.wave for record in records.values()}
    assert waves == {0: "wave-0", 1: "wave-1", 2: "wave-1", 3: "wave-1"}
    assert (await fleet.notes()) == ["wave-started", "wave-ended", "wave-started", "wave-ended", "ended"]
    typed_search_attributes = description.typed_search_attributes
    assert typed_search_attributes[SearchAttributeKey.for_keyword(names.SA_PHASE)] == "completed"
    assert typed_search_attributes[SearchAttributeKey.for_keyword(names.SA_CAMPAIGN)] == fleet.name


async def test_a_run_of_a_schedule_starts_a_campaign_of_its_own_and_sees_it_through(temporal: Client) -> None:
    platform = CampaignPlatform()
    fleet = await Fleet.of(temporal, platform, [2])
    schedule = f"nightly-{uuid.uuid4().hex[:8]}"
    run = ScheduledRun(
        schedule=schedule,
        cron="0 1 * * *",
        time_zone="Europe/Berlin",
        strategy="patches",
        campaign=CampaignInput(requested_by="ada", reason="patches"),
    )
    async with serving(temporal, platform):
        entry = await temporal.execute_workflow(
            names.SCHEDULED_CAMPAIGN_WORKFLOW,
            run,
            id=f"run-of-{schedule}",
            task_queue=names.CONTROL_QUEUE,
            result_type=ScheduleEntry,
        )
        versions = await fleet.versions()
    assert entry.campaign.startswith(f"{schedule}-20")
    assert versions == [TO] * 2


async def test_the_operations_of_a_campaign_name_it_and_who_started_it(temporal: Client) -> None:
    platform = CampaignPlatform()
    fleet = await Fleet.of(temporal, platform, [1])
    async with serving(temporal, platform):
        await fleet.start()
        await fleet.result()
        record = await fleet.callers[0].ended(1)
        operation = await temporal.get_workflow_handle(record.workflow_id).describe()
    assert (record.campaign, record.requested_by) == (fleet.name, "ada")
    assert record.request_id == f"campaign/{fleet.name}/0/1"
    assert fleet.name in record.reason
    typed_search_attributes = operation.typed_search_attributes
    assert typed_search_attributes[SearchAttributeKey.for_keyword(names.SA_CAMPAIGN)] == fleet.name


async def test_rule_6_a_failing_canary_pauses_the_campaign_and_nothing_else_starts(temporal: Client) -> None:
    platform = CampaignPlatform()
    fleet = await Fleet.of(temporal, platform, [1, 2], max_failures=0)
    platform.failing.add(fleet.services[0])
    async with serving(temporal, platform):
        await fleet.start()
        paused = await fleet.until(lambda observed: observed.status is CampaignStatus.PAUSED)
        assert paused.paused is not None
        assert paused.paused.cause == "budget"
        assert paused.counts == {"failed": 1, "waiting": 2}
        assert platform.done() == ["main"]

        platform.failing.clear()
        await fleet.verb(Retry, which="failed", reason="fixed")
        result = await fleet.result()
        versions = await fleet.versions()
    assert result.status is CampaignStatus.COMPLETED
    assert result.counts == {"succeeded": 3}
    assert versions == [TO] * 3
    records = await fleet.records()
    assert [records[target].outcome for target in range(3)] == [TargetOutcome.SUCCEEDED] * 3
    assert records[0].attempt == 2
    assert {"budget-broken", "retry"} <= set(await fleet.notes())


async def test_a_campaign_that_cannot_be_frozen_fails_in_words(temporal: Client) -> None:
    platform = CampaignPlatform(refusal=CampaignInvalid("the campaign selects no service", hint="look"))
    fleet = await Fleet.of(temporal, platform, [1])
    async with serving(temporal, platform):
        await fleet.start()
        with pytest.raises(WorkflowFailureError) as failed:
            await fleet.result()
    error = info_of(failed.value.cause)
    assert (error.code, error.message) == (CampaignInvalid.code, "the campaign selects no service")


async def test_a_campaign_that_continues_as_new_loses_no_target(temporal: Client) -> None:
    platform = CampaignPlatform(continue_after=2)
    fleet = await Fleet.of(temporal, platform, [2, 6], max_concurrent=3)
    async with serving(temporal, platform):
        await fleet.start()
        result = await fleet.result()
        versions = await fleet.versions()
        first = await fleet.handle.describe()
    assert result.counts == {"succeeded": 8}
    assert versions == [TO] * 8
    assert len(platform.done()) == 8
    batches = await platform.store.campaigns.ledger(fleet.name)
    assert [batch.number for batch in batches] == list(range(1, len(batches) + 1))
    written = [record.target for batch in batches for record in batch.records]
    assert sorted(written) == list(range(8))
    state = await platform.store.campaigns.end(fleet.name)
    assert state is not None
    assert "".join(state.pages) == "S" * 8
    assert first.run_id != fleet.handle.first_execution_run_id


async def test_every_run_of_a_campaign_replays(temporal: Client) -> None:
    platform = CampaignPlatform(continue_after=3)
    fleet = await Fleet.of(temporal, platform, [1, 5], max_concurrent=2, max_failures=0)
    platform.failing.add(fleet.services[1])
    async with serving(temporal, platform):
        await fleet.start()
        await fleet.until(lambda observed: observed.status is CampaignStatus.PAUSED)
        await fleet.verb(Skip, target=5)
        await fleet.verb(Resume)
        await fleet.result()
        histories = await fleet.histories()
    assert len(histories) > 1
    replayer = Replayer(workflows=served.ALL, data_converter=temporal.data_converter, workflow_runner=SANDBOX)
    for history in histories:
        await replayer.replay_workflow(history)


async def test_a_freeze_binds_at_once_and_lets_go_at_once(temporal: Client) -> None:
    platform = CampaignPlatform(holding=asyncio.Event())
    fleet = await Fleet.of(temporal, platform, [2], max_concurrent=1, has_calendar=True)
    assert platform.holding is not None
    async with serving(temporal, platform):
        await fleet.start()
        await platform.until_applying(1)
        platform.calendar = Calendar(open=False)
        await fleet.handle.signal(names.SIGNAL_CALENDAR)
        await fleet.until(lambda observed: observed.calendar is not None and not observed.calendar.open)
        platform.holding.set()
        waiting = await fleet.until(lambda observed: observed.status is CampaignStatus.WAITING_WINDOW)
        platform.calendar = Calendar()
        await fleet.handle.signal(names.SIGNAL_CALENDAR)
        result = await fleet.result()
    assert waiting.counts == {"succeeded": 1, "waiting": 1}
    assert result.counts == {"succeeded": 2}


async def test_a_campaign_waits_for_its_window(temporal: Client) -> None:
    opens = datetime.now(UTC) + timedelta(seconds=3)
    platform = CampaignPlatform(calendar=Calendar(open=False, until=opens))
    fleet = await Fleet.of(temporal, platform, [1], has_calendar=True, check_seconds=1)
    async with serving(temporal, platform):
        await fleet.start()
        await fleet.until(lambda observed: observed.status is CampaignStatus.WAITING_WINDOW)
        platform.calendar = Calendar()
        result = await fleet.result()
    assert result.counts == {"succeeded": 1}
    started_at = (await fleet.records())[0].started_at
    assert started_at is not None
    assert started_at >= opens


async def test_a_cancelled_workflow_is_an_abort(temporal: Client) -> None:
    platform = CampaignPlatform(holding=asyncio.Event())
    fleet = await Fleet.of(temporal, platform, [2], max_concurrent=1)
    assert platform.holding is not None
    async with serving(temporal, platform):
        await fleet.start()
        await fleet.until(lambda _: bool(platform.applying))
        await fleet.handle.cancel()
        await fleet.until(lambda observed: observed.status is CampaignStatus.ABORTING)
        platform.holding.set()
        result = await fleet.result()
    assert result.status is CampaignStatus.ABORTED
    assert result.counts == {"succeeded": 1, "not-attempted": 1}
