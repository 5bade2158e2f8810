"""Services that are away, busy, done or gone, and lost messages; real workflows on a real server, fake tools."""

from __future__ import annotations

import asyncio

from campaign_fakes import TO, CampaignPlatform, Fleet
from fakes import serving
from temporalio.client import Client

from bondstone.base import names
from bondstone.model.campaign.events import AttemptAccepted
from bondstone.model.campaign.state import CampaignStatus
from bondstone.model.service import OperationKind


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
