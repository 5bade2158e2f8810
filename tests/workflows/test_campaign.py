"""A campaign over a fleet: real workflows on a real server, fake tools."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from campaign_fakes import TO, CampaignPlatform, Fleet
from fakes import SANDBOX, serving
from temporalio.client import Client, WorkflowFailureError
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError
from temporalio.worker import Replayer

from bondstone import workflows
from bondstone.base import names
from bondstone.base.errors import CampaignInvalid, Refused
from bondstone.model.campaign.events import (
    Abort,
    Approve,
    AttemptAccepted,
    NextWave,
    Pause,
    Reject,
    Resume,
    Retry,
    RollbackTargets,
    SetConcurrency,
    Skip,
)
from bondstone.model.campaign.run import CampaignInput
from bondstone.model.campaign.schedule import ScheduledRun, ScheduleEntry
from bondstone.model.campaign.state import Calendar, CampaignStatus, TargetOutcome, WaveRules
from bondstone.model.plan import ChangeCounts
from bondstone.model.service import Need, OperationKind, OperationRecord, VoteCall
from bondstone.temporal.failures import info_of


def wave(number: int, size: int, **fields: Any) -> WaveRules:
    return WaveRules(name=f"wave-{number}", size=size, **fields)


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


async def test_a_resume_accepts_the_failures_so_far(temporal: Client) -> None:
    platform = CampaignPlatform()
    fleet = await Fleet.of(temporal, platform, [1, 1], max_failures=0)
    platform.failing.add(fleet.services[0])
    async with serving(temporal, platform):
        await fleet.start()
        await fleet.until(lambda observed: observed.status is CampaignStatus.PAUSED)
        with pytest.raises(Refused):
            await fleet.verb(NextWave)
        await fleet.verb(Resume)
        result = await fleet.result()
    assert result.status is CampaignStatus.COMPLETED_WITH_FAILURES
    assert result.counts == {"failed": 1, "succeeded": 1}
    record = (await fleet.records())[0]
    assert record.error is not None
    assert record.error.message == "it does not apply"


async def test_people_pause_skip_and_change_the_concurrency_while_targets_run(temporal: Client) -> None:
    platform = CampaignPlatform(holding=asyncio.Event())
    fleet = await Fleet.of(temporal, platform, [5], max_concurrent=1)
    assert platform.holding is not None
    async with serving(temporal, platform):
        await fleet.start()
        await fleet.until(lambda _: len(platform.applying) == 1)
        await fleet.verb(Pause, reason="lunch", request_id="pause-1")
        again = await fleet.verb(Pause, reason="lunch", request_id="pause-1")
        assert again.status is CampaignStatus.PAUSED
        with pytest.raises(Refused, match="paused it already"):
            await fleet.verb(Pause)
        await fleet.verb(Skip, target=4, reason="not this one")
        await fleet.verb(SetConcurrency, max_concurrent=3)
        await fleet.verb(Resume)
        await fleet.until(lambda _: len(platform.applying) == 3)
        platform.holding.set()
        result = await fleet.result()
        versions = await fleet.versions()
    assert result.counts == {"succeeded": 4, "skipped": 1}
    assert versions == [TO, TO, TO, TO, "1.0.0"]
    assert platform.most_applying == 3
    assert (await fleet.notes()).count("pause") == 1


async def test_an_abort_lets_running_targets_finish_and_starts_no_other(temporal: Client) -> None:
    platform = CampaignPlatform(holding=asyncio.Event())
    fleet = await Fleet.of(temporal, platform, [3], max_concurrent=1)
    assert platform.holding is not None
    async with serving(temporal, platform):
        await fleet.start()
        await fleet.until(lambda _: len(platform.applying) == 1)
        aborting = await fleet.verb(Abort, reason="wrong fleet")
        assert aborting.status is CampaignStatus.ABORTING
        platform.holding.set()
        result = await fleet.result()
    assert result.status is CampaignStatus.ABORTED
    assert result.counts == {"succeeded": 1, "not-attempted": 2}


async def test_an_abort_that_cancels_stops_what_runs(temporal: Client) -> None:
    platform = CampaignPlatform(holding=asyncio.Event())
    fleet = await Fleet.of(temporal, platform, [2], max_concurrent=1)
    async with serving(temporal, platform):
        await fleet.start()
        await fleet.until(lambda _: len(platform.applying) == 1)
        await fleet.verb(Abort, running="cancel", reason="stop")
        result = await fleet.result()
        record = await fleet.callers[0].ended(1)
    assert result.status is CampaignStatus.ABORTED
    assert result.counts == {"failed": 1, "not-attempted": 1}
    assert record.error is not None
    assert fleet.name in record.error.message


async def test_a_rollback_takes_back_all_that_succeeded(temporal: Client) -> None:
    platform = CampaignPlatform()
    fleet = await Fleet.of(temporal, platform, [2, 1])
    assert platform.rules is not None
    needs = (Need(roles=("sre",)),)
    platform.rules = platform.rules.changed(waves=(wave(0, 2), wave(1, 1, needs=needs)))
    async with serving(temporal, platform):
        await fleet.start()
        await fleet.until(lambda observed: observed.status is CampaignStatus.AWAITING_APPROVAL)
        await fleet.verb(RollbackTargets, which="all", reason="it leaks")
        result = await fleet.result()
        versions = await fleet.versions()
    assert result.status is CampaignStatus.ROLLED_BACK
    assert result.counts == {"rolled-back": 2, "not-attempted": 1}
    assert versions == ["1.0.0"] * 3


async def test_a_rollback_leaves_alone_what_others_have_changed_since(temporal: Client) -> None:
    platform = CampaignPlatform()
    fleet = await Fleet.of(temporal, platform, [1, 1])
    assert platform.rules is not None
    needs = (Need(roles=("sre",)),)
    platform.rules = platform.rules.changed(waves=(wave(0, 1), wave(1, 1, needs=needs)))
    async with serving(temporal, platform):
        await fleet.start()
        await fleet.until(lambda observed: observed.status is CampaignStatus.AWAITING_APPROVAL)
        await fleet.callers[0].request(kind=OperationKind.PATCH, version="1.0.2")
        await fleet.callers[0].ended(2)
        await fleet.verb(RollbackTargets, which="all", reason="it leaks")
        result = await fleet.result()
        versions = await fleet.versions()
    assert versions[0] == "1.0.2"
    assert result.counts == {"failed": 1, "not-attempted": 1}
    assert "changed since by ada" in (await fleet.records())[0].reason


async def test_a_wave_waits_for_people_who_name_the_frozen_targets(temporal: Client) -> None:
    platform = CampaignPlatform()
    fleet = await Fleet.of(temporal, platform, [1])
    assert platform.rules is not None
    needs = (Need(roles=("sre",)),)
    platform.rules = platform.rules.changed(waves=(wave(0, 1, needs=needs),))
    async with serving(temporal, platform):
        await fleet.start()
        waiting = await fleet.until(lambda observed: observed.waiting_for is not None)
        with pytest.raises(Refused, match="not ffff"):
            await fleet.verb(Approve, wave="wave-0", digest="f" * 64, roles=("sre",))
        with pytest.raises(Refused, match="another person must approve"):
            await fleet.verb(Approve, wave="wave-0", digest=waiting.targets_digest, roles=("sre",), by="ada")
        await fleet.verb(Approve, wave="wave-0", digest=waiting.targets_digest, roles=("sre",))
        result = await fleet.result()
    assert result.status is CampaignStatus.COMPLETED
    assert "approve" in await fleet.notes()


async def test_a_rejected_wave_ends_the_campaign(temporal: Client) -> None:
    platform = CampaignPlatform()
    fleet = await Fleet.of(temporal, platform, [1])
    assert platform.rules is not None
    needs = (Need(roles=("sre",)),)
    platform.rules = platform.rules.changed(waves=(wave(0, 1, needs=needs),))
    async with serving(temporal, platform):
        await fleet.start()
        waiting = await fleet.until(lambda observed: observed.waiting_for is not None)
        await fleet.verb(Reject, wave="wave-0", digest=waiting.targets_digest, roles=("sre",), reason="no")
        result = await fleet.result()
    assert result.status is CampaignStatus.ABORTED
    assert platform.done() == []


async def test_a_soak_ends_early_by_hand_and_an_unhealthy_target_counts_as_failed(temporal: Client) -> None:
    platform = CampaignPlatform(unhealthy={0: "it answers 500"})
    fleet = await Fleet.of(temporal, platform, [1, 1], max_failures=0)
    assert platform.rules is not None
    waves = (wave(0, 1, soak_seconds=3600), wave(1, 1))
    platform.rules = platform.rules.changed(waves=waves)
    async with serving(temporal, platform):
        await fleet.start()
        await fleet.until(lambda observed: observed.status is CampaignStatus.SOAKING)
        await fleet.verb(NextWave, reason="we are in a hurry")
        paused = await fleet.until(lambda observed: observed.status is CampaignStatus.PAUSED)
        await fleet.verb(Abort, reason="enough")
        result = await fleet.result()
    assert paused.counts == {"failed": 1, "waiting": 1}
    assert result.status is CampaignStatus.ABORTED
    assert "it answers 500" in (await fleet.records())[0].reason


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
    replayer = Replayer(workflows=workflows.ALL, data_converter=temporal.data_converter, workflow_runner=SANDBOX)
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


async def test_a_verb_during_a_continuation_is_done_once(temporal: Client) -> None:
    platform = CampaignPlatform(continue_after=1)
    fleet = await Fleet.of(temporal, platform, [6], max_concurrent=2)
    async with serving(temporal, platform):
        await fleet.start()
        await fleet.until(lambda observed: observed.counts.get("succeeded", 0) >= 1)
        await asyncio.gather(
            *(fleet.verb(SetConcurrency, max_concurrent=1, request_id="one") for _ in range(3)),
            return_exceptions=True,
        )
        result = await fleet.result()
    assert result.counts == {"succeeded": 6}
    assert (await fleet.notes()).count("set-concurrency") <= 1


async def test_a_submission_that_comes_twice_is_one_operation(temporal: Client) -> None:
    platform = CampaignPlatform(holding=asyncio.Event())
    fleet = await Fleet.of(temporal, platform, [1])
    assert platform.holding is not None
    async with serving(temporal, platform):
        await fleet.start()
        await fleet.until(lambda _: bool(platform.applying))
        await fleet.callers[0].handle.signal(names.SIGNAL_SUBMIT, fleet.submission(0))
        platform.holding.set()
        await fleet.callers[0].ended(1)
        await fleet.callers[0].handle.signal(names.SIGNAL_SUBMIT, fleet.submission(0))
        result = await fleet.result()
        state = await fleet.callers[0].state()
    assert result.counts == {"succeeded": 1}
    assert len(state.operations) == 1
    assert platform.done() == ["main"]


async def test_replies_to_a_campaign_that_is_gone_do_not_hold_up_the_service(temporal: Client) -> None:
    platform = CampaignPlatform(holding=asyncio.Event())
    fleet = await Fleet.of(temporal, platform, [1])
    assert platform.holding is not None
    async with serving(temporal, platform):
        await fleet.start()
        await fleet.until(lambda _: bool(platform.applying))
        await fleet.handle.terminate()
        platform.holding.set()
        record = await fleet.callers[0].ended(1)
        accepted = await fleet.callers[0].request(kind=OperationKind.PATCH, version="1.0.2")
        after = await fleet.callers[0].ended(accepted.number)
    assert (record.status, after.status) == ("succeeded", "succeeded")


async def test_lost_replies_are_found_by_looking_and_lost_submissions_are_sent_again(
    temporal: Client,
) -> None:
    platform = CampaignPlatform()
    fleet = await Fleet.of(temporal, platform, [3], check_seconds=1)
    async with serving(temporal, platform):
        # One has finished and one has begun, and told somebody who is not there; one was never asked.
        await fleet.callers[0].handle.signal(names.SIGNAL_SUBMIT, fleet.submission(0, reply_to="campaign/nobody"))
        await fleet.callers[0].ended(1)
        platform.holding = asyncio.Event()
        await fleet.callers[1].handle.signal(names.SIGNAL_SUBMIT, fleet.submission(1, reply_to="campaign/nobody"))
        await platform.until_applying(1)
        carried = await fleet.carried([AttemptAccepted(target=0, attempt=1, operation=1)])
        await fleet.start(carried=carried)
        await fleet.until(lambda observed: observed.counts.get("succeeded") == 1)
        await platform.until_applying(2)
        platform.holding.set()
        await fleet.callers[1].ended(1)
        result = await fleet.result()
    assert result.counts == {"succeeded": 3}
    assert platform.done() == ["main"] * 3
    assert platform.looks
    record = (await fleet.records())[0]
    assert (record.operation, list(record.plans)) == (1, ["main"])


async def test_a_service_that_is_decommissioned_meanwhile_is_skipped(temporal: Client) -> None:
    platform = CampaignPlatform()
    fleet = await Fleet.of(temporal, platform, [1, 1], max_failures=0)
    async with serving(temporal, platform):
        await fleet.callers[0].request(kind=OperationKind.DECOMMISSION)
        await fleet.callers[0].handle.result()
        await fleet.start()
        result = await fleet.result()
    assert result.status is CampaignStatus.COMPLETED
    assert result.counts == {"skipped": 1, "succeeded": 1}
    assert (await fleet.records())[0].reason == "decommissioned meanwhile"


async def test_a_service_that_never_was_is_unreachable(temporal: Client) -> None:
    platform = CampaignPlatform()
    fleet = await Fleet.of(temporal, platform, [1], max_failures=1)
    async with serving(temporal, platform):
        await fleet.callers[0].handle.terminate()
        platform.targets = [platform.targets[0].changed(service="payments/never-was")]
        await fleet.start()
        result = await fleet.result()
    assert result.counts == {"unreachable": 1}


async def test_a_busy_service_is_skipped_where_the_rules_say_so(temporal: Client) -> None:
    platform = CampaignPlatform(holding=asyncio.Event())
    fleet = await Fleet.of(temporal, platform, [2], busy="skip")
    assert platform.holding is not None
    async with serving(temporal, platform):
        await fleet.callers[0].request(kind=OperationKind.PATCH, version=TO)
        await platform.until_applying(1)
        await fleet.start()
        await fleet.until(lambda observed: observed.counts.get("skipped") == 1)
        platform.holding.set()
        result = await fleet.result()
    assert result.counts == {"skipped": 1, "succeeded": 1}
    assert (await fleet.records())[0].reason.startswith("busy: its patch")


async def test_a_busy_service_is_waited_for(temporal: Client) -> None:
    platform = CampaignPlatform(holding=asyncio.Event())
    fleet = await Fleet.of(temporal, platform, [1], busy_seconds=1)
    assert platform.holding is not None
    platform.failing.add(fleet.services[0])
    async with serving(temporal, platform):
        await fleet.callers[0].request(kind=OperationKind.PATCH, version=TO)
        await platform.until_applying(1)
        await fleet.start()
        await fleet.until(lambda observed: any(flight.phase == "between" for flight in observed.flights))
        platform.holding.set()
        await fleet.callers[0].ended(1)
        platform.failing.clear()
        result = await fleet.result()
    assert result.counts == {"succeeded": 1}


async def test_what_is_there_already_is_skipped_as_compliant(temporal: Client) -> None:
    platform = CampaignPlatform()
    fleet = await Fleet.of(temporal, platform, [1])
    async with serving(temporal, platform):
        await fleet.callers[0].request(kind=OperationKind.PATCH, version=TO)
        await fleet.callers[0].ended(1)
        await fleet.start()
        result = await fleet.result()
    assert result.counts == {"skipped": 1}
    assert (await fleet.records())[0].reason == "compliant"


async def test_what_a_service_refuses_is_recorded_in_its_words(temporal: Client) -> None:
    platform = CampaignPlatform()
    fleet = await Fleet.of(temporal, platform, [1])
    platform.job = platform.job.changed(promise="mysql")
    async with serving(temporal, platform):
        await fleet.start()
        result = await fleet.result()
    assert result.counts == {"refused": 1}
    record = (await fleet.records())[0]
    assert record.error is not None
    assert record.error.message == "the service is a postgres, not a mysql"


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


async def test_what_comes_after_the_end_is_refused_or_without_effect(temporal: Client) -> None:
    platform = CampaignPlatform()
    fleet = await Fleet.of(temporal, platform, [1])
    async with serving(temporal, platform):
        await fleet.start()
        result = await fleet.result()
        with pytest.raises(RPCError):
            await fleet.handle.signal(
                names.SIGNAL_REPLY, {"said": {"kind": "accepted", "target": 0, "attempt": 1}}
            )
        await fleet.callers[0].handle.signal(names.SIGNAL_SUBMIT, fleet.submission(0))
        observed = await fleet.description()
    assert observed.counts == result.counts == {"succeeded": 1}
    assert platform.done() == ["main"]
