"""What people do to a campaign while it runs; real workflows on a real server, fake tools."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from campaign_fakes import TO, CampaignPlatform, Fleet
from fakes import serving
from temporalio.client import Client
from temporalio.service import RPCError

from bondstone.base import names
from bondstone.base.errors import Refused
from bondstone.model.campaign.events import (
    Abort,
    Approve,
    NextWave,
    Pause,
    Reject,
    Resume,
    RollbackTargets,
    SetConcurrency,
    Skip,
)
from bondstone.model.campaign.state import CampaignStatus, WaveRules
from bondstone.model.service import Need, OperationKind


def wave(number: int, size: int, **fields: Any) -> WaveRules:
    return WaveRules(name=f"wave-{number}", size=size, **fields)


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
