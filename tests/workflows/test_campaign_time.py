"""What takes days: soaks, gates that nobody opens, and windows across changes of the clocks.

Starts are checked against an oracle that walks through the minutes by Python's `zoneinfo` and shares nothing with
`bondstone.campaign.windows`. The services are stand-ins that do not continue as new: see `test_time`.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from campaign_fakes import CampaignPlatform, Fleet
from fakes import Caller
from temporalio import activity, workflow
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker
from time_skipping import time_skipping

import bondstone.activities.campaign.activities
from bondstone.activities.campaign.activities import calendar_at
from bondstone.base import names
from bondstone.campaign.windows import Windows
from bondstone.model.campaign.events import AttemptFinished
from bondstone.model.campaign.manifest import Window, WindowsSpec
from bondstone.model.campaign.run import (
    CalendarCall,
    CampaignDescription,
    CampaignInput,
    Reply,
    SightingsCall,
    SubmitCall,
    TargetEntry,
    UnhealthyTargets,
)
from bondstone.model.campaign.state import Calendar, CampaignStatus, Rules, TargetOutcome, WaveRules
from bondstone.model.service import Need, OperationStatus, ServiceState
from bondstone.workflows.campaign.workflow import Campaign

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@workflow.defn(name=names.SERVICE_WORKFLOW)
class Quick:
    """A service that has done what it is asked as soon as it is asked; it remembers when."""

    @workflow.init
    def __init__(self, state: ServiceState) -> None:
        self.state = state
        self.at: list[datetime] = []

    @workflow.run
    async def run(self, state: ServiceState) -> None:
        del state  # taken by __init__
        await workflow.wait_condition(lambda: False)

    @workflow.query
    def requested_at(self) -> list[datetime]:
        return self.at

    @workflow.signal(name=names.SIGNAL_SUBMIT)
    async def submit(self, call: SubmitCall) -> None:
        self.at.append(workflow.now())
        finished = AttemptFinished(
            target=call.target, attempt=call.attempt, operation=1, status=OperationStatus.SUCCEEDED
        )
        await workflow.get_external_workflow_handle(call.reply_to).signal(names.SIGNAL_REPLY, Reply(said=finished))


@dataclass
class SlowPlatform(CampaignPlatform):
    """The fake platform by the server's clock."""

    environment: WorkflowEnvironment | None = None
    windows: Windows = field(default_factory=lambda: Windows(WindowsSpec()))
    turns_unhealthy_after: timedelta = timedelta.max
    """From the start of the campaign; its targets then."""
    probed: list[datetime] = field(default_factory=list)
    began: datetime | None = None

    async def now(self) -> datetime:
        assert self.environment is not None
        return await self.environment.get_current_time()

    def activities(self) -> list[Callable[..., Any]]:
        @activity.defn(name=names.CAMPAIGN_CALENDAR)
        async def calendar(_: CalendarCall) -> Calendar:
            return calendar_at(await self.now(), self.windows, [], cancels=False)

        @activity.defn(name=names.CAMPAIGN_PROBE)
        async def probe(call: SightingsCall) -> UnhealthyTargets:
            now = await self.now()
            self.probed.append(now)
            assert self.began is not None
            sick = now - self.began >= self.turns_unhealthy_after
            return UnhealthyTargets(
                unhealthy={call.targets[0].target: "it fell over in the night"} if sick else {}
            )

        replaced = {names.CAMPAIGN_CALENDAR: calendar, names.CAMPAIGN_PROBE: probe}
        others = [each for each in super().activities() if _name(each) not in replaced]
        return [*others, *replaced.values()]


def _name(function: Callable[..., Any]) -> str:
    return function.__temporal_activity_definition.name or ""  # type: ignore[attr-defined] # the SDK's own mark


@asynccontextmanager
async def town(**rules: Any) -> AsyncIterator[tuple[WorkflowEnvironment, SlowPlatform, Fleet]]:
    """A server of its own, quick services on it, and a campaign over them that is not started yet."""
    async with time_skipping() as environment:
        platform = SlowPlatform(client=environment.client, environment=environment)
        platform.rules = Rules.model_validate({"campaign": "x", "requested_by": "ada", "page_size": 20} | rules)
        callers = [Caller(environment.client) for _ in range(platform.rules.size)]
        platform.targets = [TargetEntry(service=str(caller.service), version="1.0.0") for caller in callers]
        name = f"c-{uuid.uuid4().hex[:8]}"
        handle = environment.client.get_workflow_handle(names.campaign_workflow_id(name))
        async with Worker(
            environment.client,
            task_queue=names.CONTROL_QUEUE,
            workflows=[Campaign, Quick],
            activities=platform.activities(),
            workflow_runner=UnsandboxedWorkflowRunner(),
        ):
            for caller in callers:
                state = ServiceState(service=caller.service)
                await environment.client.start_workflow(
                    names.SERVICE_WORKFLOW, state, id=caller.id, task_queue=names.CONTROL_QUEUE
                )
            yield environment, platform, Fleet(environment.client, platform, callers, name, handle)
            await Caller.terminate_all()


async def ended(fleet: Fleet) -> CampaignDescription:
    """Start the campaign and see it through; the clock moves while a result is waited for, and for none other."""
    handle = await fleet.client.start_workflow(
        names.CAMPAIGN_WORKFLOW,
        CampaignInput(requested_by="ada"),
        id=fleet.handle.id,
        task_queue=names.CONTROL_QUEUE,
        result_type=CampaignDescription,
    )
    return await handle.result()


# Soaks and gates -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sick", [False, True])
async def test_a_soak_of_a_day_is_kept_and_health_is_asked_at_its_end(*, sick: bool) -> None:
    waves = (WaveRules(name="canary", size=2, soak_seconds=86400, max_failures=0), WaveRules(name="rest", size=1))
    async with town(waves=waves, on_failure="abort") as (environment, platform, fleet):
        platform.turns_unhealthy_after = 23 * HOUR if sick else timedelta.max
        platform.began = await environment.get_current_time()
        result = await ended(fleet)
        request = [
            await caller.handle.query("requested_at", result_type=list[datetime]) for caller in fleet.callers
        ]
    records = await fleet.records()
    [probed] = platform.probed
    success = max(records[target].ended_at if not sick else request[target][0] for target in (0, 1))
    assert timedelta() <= probed - success - DAY < 10 * MINUTE
    if sick:
        assert result.status is CampaignStatus.ABORTED
        assert records[0].outcome is TargetOutcome.FAILED
        assert "fell over in the night" in records[0].reason
        assert request[2] == []
    else:
        assert result.counts == {"succeeded": 3}
        assert request[2][0] >= probed


async def test_a_gate_that_nobody_decides_for_three_days_ends_the_campaign() -> None:
    needs = (Need(roles=("sre",)),)
    waves = (WaveRules(name="one", size=1), WaveRules(name="two", size=1, needs=needs, expires_seconds=3 * 86400))
    async with town(waves=waves) as (_, _, fleet):
        result = await ended(fleet)
    assert result.started_at is not None
    assert result.ended_at is not None
    assert (result.status, result.counts) == (CampaignStatus.ABORTED, {"succeeded": 1, "not-attempted": 1})
    assert 3 * DAY <= result.ended_at - result.started_at < 3 * DAY + HOUR
    assert "in time" in result.ending
    assert "gate-expired" in await fleet.notes()


# Windows across changes of the clocks ---------------------------------------------------------------------


def oracle(
    where: ZoneInfo, at: time, lasts: timedelta, first: datetime, last: datetime
) -> list[tuple[datetime, datetime]]:
    """The daily windows that begin between two instants: every minute is looked at."""
    begun: set[date] = set()
    collected = []
    now = first
    before = (now - MINUTE).astimezone(where).replace(tzinfo=None)
    while now < last:
        here = now.astimezone(where).replace(tzinfo=None)
        wanted = datetime.combine(here.date(), at)
        if before < wanted <= here and here.date() not in begun:  # reached, or jumped over; the first of two
            begun.add(here.date())
            collected.append((now, now + lasts))
        before, now = here, now + MINUTE
    return collected


def offset(where: ZoneInfo, at: datetime) -> timedelta:
    return at.astimezone(where).utcoffset() or timedelta()


def next_change(where: ZoneInfo, now: datetime, *, forward: bool) -> datetime:
    """The day of the next change of the clocks; in a month where there is none."""
    days = (now + number * DAY for number in range(370))
    changes = (day for day in days if offset(where, day) != offset(where, day + DAY))
    return next(
        (day for day in changes if forward is (offset(where, day) < offset(where, day + DAY))), now + 30 * DAY
    )


@pytest.mark.parametrize(
    ("zone", "at", "forward"),
    [
        ("Europe/London", time(1, 30), True),
        ("Europe/London", time(1, 30), False),
        ("America/New_York", time(2, 30), True),
        ("America/New_York", time(1, 30), False),
        ("Australia/Lord_Howe", time(2, 15), True),
        ("Australia/Lord_Howe", time(1, 45), False),
        ("Asia/Kathmandu", time(2, 30), True),
    ],
)
async def test_targets_start_inside_their_windows_and_nowhere_else_whatever_the_clocks_do(
    zone: str, at: time, monkeypatch: pytest.MonkeyPatch, *, forward: bool
) -> None:
    monkeypatch.setattr(bondstone.activities.campaign.activities, "CALENDAR_SECONDS", int(DAY.total_seconds()))
    where, lasts, cutoff = ZoneInfo(zone), 2 * HOUR, timedelta(minutes=30)
    waves = (WaveRules(name="all", size=8),)
    rules = {"waves": waves, "has_calendar": True, "start_count": 1, "start_period_seconds": 3000}
    async with town(**rules, max_concurrent=1) as (environment, platform, fleet):
        now = await environment.get_current_time()
        change = next_change(where, now, forward=forward)
        await environment.sleep(change - now - 2 * DAY)
        window = Window(cron=f"{at.minute} {at.hour} * * *", duration="2h", time_zone=zone)
        platform.windows = Windows(WindowsSpec(allow=(window,), cutoff="30m"))
        began = await environment.get_current_time()
        result = await ended(fleet)
        request = [
            await caller.handle.query("requested_at", result_type=list[datetime]) for caller in fleet.callers
        ]
    assert result.counts == {"succeeded": 8}
    starts = sorted(at for each in request for at in each)
    assert len(starts) == 8
    windows = oracle(where, at, lasts, _minute(began - DAY), _minute(starts[-1] + DAY))
    for start in starts:
        assert any(opens <= start < closes - cutoff for opens, closes in windows), (start, windows)
    for opens, _ in windows:
        if began <= opens <= starts[-1]:
            assert any(opens <= start < opens + 2 * MINUTE for start in starts), f"late for {opens}: {starts}"
    offsets = {offset(where, start) for start in starts}
    assert len(offsets) == (1 if zone == "Asia/Kathmandu" else 2), "the clocks changed between two starts"


def _minute(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(second=0, microsecond=0)
