"""Fleets of many teams and pools, and services and campaigns that get into each other's way: real workflows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from campaign_fakes import TO, WITHIN_SECONDS, CampaignPlatform, Fleet
from fakes import Caller, serving
from temporalio import activity
from temporalio.client import Client

from bondstone.activities.failures import speaks_failures
from bondstone.base import names
from bondstone.base.errors import Refused
from bondstone.campaign.awaited import awaits
from bondstone.campaign.report.content import Kept, build
from bondstone.model.campaign.events import Abort, Supersede
from bondstone.model.campaign.run import CampaignHeader, CampaignInput, TargetEntry
from bondstone.model.campaign.state import CampaignStatus, TargetOutcome, WaveRules
from bondstone.model.service import (
    OperationKind,
    OperationStatus,
    Resolution,
    ResolveCall,
    Resolved,
    RevisionRef,
    ServiceId,
    StepSpec,
)
from bondstone.model.step import ApplyCall
from bondstone.temporal.fleet import fleet as listed
from harness.waiting import until_async

TEAMS = 20
POOLS = ("default", "eu", "far")
"""Nobody serves the last."""


def resolved(version: str, pool: str = "default") -> Resolved:
    return Resolved(
        revision=RevisionRef(promise="postgres", version=version, digest=version[-1] * 64),
        steps=(StepSpec(id="main", executor="fake", pool=pool),),
    )


@dataclass
class Pooled(CampaignPlatform):
    """Services that each have a pool of their own, and refuse to go back to an older version."""

    pool_of: dict[str, str] = field(default_factory=dict)

    def activities(self) -> list[Callable[..., Any]]:
        @activity.defn(name=names.PROMISE_RESOLVE)
        @speaks_failures
        async def resolve(call: ResolveCall) -> Resolution:
            version = call.request.version or "1.0.0"
            if call.current is not None and version < call.current.version:
                raise Refused(f"{version} is older than {call.current.version}, which it stands on")
            return Resolution(resolved=resolved(version, self.pool_of.get(str(call.service), "default")))

        others = [each for each in super().activities() if getattr(each, "__name__", "") != "resolve"]
        return [*others, resolve]


class Member(Caller):
    """A service of some team."""

    def __init__(self, client: Client, team: str) -> None:
        super().__init__(client)
        self.service = ServiceId(team=team, name=self.service.name)
        self.id = names.service_workflow_id(team, self.service.name)
        self.handle = client.get_workflow_handle(self.id)


async def test_twenty_teams_in_three_pools_of_which_nobody_serves_one(temporal: Client) -> None:
    platform = Pooled(client=temporal)
    waves = (WaveRules(name="all", size=TEAMS),)
    fleet = await Fleet.of(
        temporal, platform, [], waves=waves, max_concurrent=8, check_seconds=2, on_failure="continue"
    )
    fleet.callers = [Member(temporal, f"team-{number}") for number in range(TEAMS)]
    platform.pool_of = {
        name: POOLS[2 if number % 7 == 4 else number % 2] for number, name in enumerate(fleet.services)
    }
    for caller in fleet.callers:
        pool = platform.pool_of[str(caller.service)]
        here = resolved("1.0.0", pool)
        await fleet.ready(temporal, caller, resolved=here, healthy=(here,))
    async with serving(temporal, platform, pools=POOLS[:2]):
        await asyncio.gather(
            *(caller.update(names.UPDATE_SET_LABELS, {"set": {"a": "b"}}) for caller in fleet.callers)
        )

        async def all_listed() -> bool:
            services = await listed(temporal, platform.store)
            return {it.id: it.pool for it in services if it.id in platform.pool_of} == platform.pool_of

        await until_async(all_listed, "visibility lists all", seconds=WITHIN_SECONDS)
        pools = dict(platform.pool_of)
        platform.targets = [
            TargetEntry(service=name, version="1.0.0", to=TO, pool=pools[name]) for name in fleet.services
        ]
        await fleet.start()
        await fleet.until(lambda observed: sum("pool far" in flight.stalled for flight in observed.flights) == 3)
        await fleet.until(lambda observed: observed.counts == {"succeeded": TEAMS - 3, "running": 3})
        await fleet.verb(Abort, running="cancel", reason="they are not coming")
        result = await fleet.result()
    unserved = sorted(name for name, pool in pools.items() if pool == "far")
    assert len(unserved) == 3
    assert result.counts == {"succeeded": TEAMS - 3, "failed": 3}
    # By one operation each; a busy server may lose the answer of an activity, and ask for it again.
    done = {(str(call.service), call.operation) for call in platform.calls if isinstance(call, ApplyCall)}
    assert done == {(name, 1) for name, pool in pools.items() if pool != "far"}
    start = CampaignInput(requested_by="ada")
    report = build(
        Kept(
            header=CampaignHeader(name=fleet.name, run_id="1", start=start, at=datetime.now(UTC)),
            manifest={},
            description=result,
            state=(await platform.store.campaigns.end(fleet.name)),
            targets=platform.targets,
            batches=await platform.store.campaigns.ledger(fleet.name),
        ),
        as_of=datetime.now(UTC),
    )
    failed = [target for target in report.targets if target.failed]
    assert sorted(target.service for target in failed) == unserved
    assert {target.pool for target in failed} == {"far"}
    assert all("no worker serves pool far" in target.reason for target in failed)
    assert len({target.team for target in report.targets}) == TEAMS


async def test_a_target_whose_pool_nobody_serves_in_time_is_unreachable(temporal: Client) -> None:
    platform = Pooled()
    fleet = await Fleet.of(temporal, platform, [1], timeout_seconds=10, check_seconds=1, retries=1)
    platform.pool_of = {fleet.services[0]: "far"}
    platform.targets = [platform.targets[0].changed(pool="far")]
    async with serving(temporal, platform):
        await fleet.start()
        result = await fleet.result()
    assert result.counts == {"unreachable": 1}
    assert "no worker serves pool far" in (await fleet.records())[0].reason
    assert platform.log.count("plan main") == 0


async def test_what_others_do_to_services_meanwhile_is_seen_when_their_turn_comes(temporal: Client) -> None:
    platform = Pooled(holding=asyncio.Event())
    fleet = await Fleet.of(temporal, platform, [1, 3], max_failures=0)
    assert platform.holding is not None
    first, upgraded, gone, *others = fleet.callers
    async with serving(temporal, platform):
        await fleet.start()
        await platform.until_applying(1)
        await upgraded.request(kind=OperationKind.UPGRADE, version="1.1.0")
        assert (await upgraded.ended(1)).status is OperationStatus.SUCCEEDED
        await gone.request(kind=OperationKind.DECOMMISSION)
        await gone.handle.result()
        platform.holding.set()
        result = await fleet.result()
        versions = {str(it.service): (await it.state()).resolved for it in (first, upgraded, *others)}
    records = await fleet.records()
    assert result.status is CampaignStatus.COMPLETED
    assert result.counts == {"succeeded": 2, "refused": 1, "skipped": 1}
    assert records[1].outcome is TargetOutcome.REFUSED
    assert "older than 1.1.0" in records[1].reason
    assert records[2].reason == "decommissioned meanwhile"
    assert [it.revision.version for it in versions.values() if it] == [TO, "1.1.0", TO]


async def test_a_service_that_another_has_failed_to_patch_is_brought_there(temporal: Client) -> None:
    platform = CampaignPlatform()
    fleet = await Fleet.of(temporal, platform, [1], max_failures=0)
    platform.failing.add(fleet.services[0])
    async with serving(temporal, platform):
        await fleet.callers[0].request(kind=OperationKind.PATCH, version=TO)
        assert (await fleet.callers[0].ended(1)).status is OperationStatus.FAILED
        platform.failing.clear()
        await fleet.start()
        result = await fleet.result()
        versions = await fleet.versions()
    assert result.counts == {"succeeded": 1}
    assert versions == [TO]


async def test_two_campaigns_on_the_same_services_take_turns_and_each_effect_is_there_once(
    temporal: Client,
) -> None:
    platform = CampaignPlatform(holding=asyncio.Event())
    one = await Fleet.of(temporal, platform, [3], busy_seconds=1, check_seconds=1, max_concurrent=3)
    other = Fleet(
        temporal, platform, one.callers, f"{one.name}-b", temporal.get_workflow_handle(f"campaign/{one.name}-b")
    )
    assert platform.holding is not None
    async with serving(temporal, platform):
        await one.start()
        await platform.until_applying(3)
        await other.start()
        waiting = await other.until(lambda now: sum(flight.phase == "between" for flight in now.flights) == 3)
        platform.holding.set()
        results = [await one.result(), await other.result()]
        versions = await one.versions()
    assert {flight.stalled for flight in waiting.flights} == {
        f"waits for its turn: its patch {service}/op/1 has not ended" for service in other.services
    }
    [awaited] = awaits(waiting)
    assert awaited.startswith("the next attempt of 3 targets: ")
    assert [result.counts for result in results] == [{"succeeded": 3}, {"skipped": 3}]
    assert {record.reason for record in (await other.records()).values()} == {"compliant"}
    assert versions == [TO] * 3
    assert platform.done() == ["main"] * 3


async def test_a_campaign_that_is_superseded_lets_what_runs_finish_and_the_other_does_the_rest(
    temporal: Client,
) -> None:
    platform = CampaignPlatform(holding=asyncio.Event())
    old = await Fleet.of(temporal, platform, [4], busy_seconds=1, check_seconds=1, max_concurrent=2)
    new = Fleet(
        temporal, platform, old.callers, f"{old.name}-b", temporal.get_workflow_handle(f"campaign/{old.name}-b")
    )
    assert platform.holding is not None
    async with serving(temporal, platform):
        await old.start()
        await platform.until_applying(2)
        await new.start(supersedes=old.name)
        verb = {"campaign": new.name, "request_id": "over-to-you"}
        await asyncio.gather(*(old.verb(Supersede, **verb) for _ in range(3)))
        platform.holding.set()
        results = [await old.result(), await new.result()]
        versions = await old.versions()
    assert [result.status for result in results] == [CampaignStatus.SUPERSEDED, CampaignStatus.COMPLETED]
    assert results[0].counts == {"succeeded": 2, "not-attempted": 2}
    assert results[1].counts == {"succeeded": 2, "skipped": 2}
    assert new.name in results[0].ending
    assert (await old.notes()).count("supersede") == 1
    assert versions == [TO] * 4
    assert platform.done() == ["main"] * 4
