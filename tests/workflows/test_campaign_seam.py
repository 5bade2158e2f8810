"""Between a campaign and its services everything goes wrong, by seed: the report must be what the services did.

A stand-in takes the place of `Service`. It forgets submissions, and loses, doubles, delays and so reorders what it
says; it refuses, is busy, fails, and hangs until it is told to stop. What it did, and when, it tells when asked.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import pytest
from campaign_fakes import CampaignPlatform, Fleet
from fakes import Caller
from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from bondstone.base import names
from bondstone.base.models import Wire
from bondstone.model.campaign.events import AttemptAccepted, AttemptDeclined, AttemptFinished
from bondstone.model.campaign.run import Reply, SubmitCall, TargetEntry, TargetRecord, WithdrawCall
from bondstone.model.campaign.state import CampaignStatus, Rules, TargetOutcome, WaveRules
from bondstone.model.service import (
    OperationStatus,
    Phase,
    ServiceId,
    ServiceState,
    Submission,
)
from bondstone.workflows.campaign.workflow import Campaign

pytestmark = pytest.mark.stand_ins

SEED = 1
SIZE = 32
AT_ONCE = 10


class Mischief(Wire):
    """Argument of the stand-in."""

    service: ServiceId
    seed: int


class Done(Wire):
    """One attempt, as the service knows it."""

    attempt: int
    begins: list[datetime] = []
    ended_at: datetime | None = None
    status: OperationStatus | None = None


class Deeds(Wire):
    """All that a stand-in did."""

    done: dict[str, Done] = {}


@workflow.defn(name=names.SERVICE_WORKFLOW)
class StandIn:
    @workflow.init
    def __init__(self, mischief: Mischief) -> None:
        self.service = mischief.service
        self.random = random.Random(f"{mischief.seed}/{mischief.service.name[:3]}")  # noqa: S311 - mischief
        self.done: dict[str, Done] = {}
        self.known: dict[str, Submission] = {}
        self.stopped: set[str] = set()
        self.refused: set[str] = set()

    @workflow.run
    async def run(self, mischief: Mischief) -> None:
        del mischief  # taken by __init__
        await workflow.wait_condition(lambda: False)

    @workflow.query(name=names.QUERY_DESCRIBE)
    def describe(self) -> ServiceState:
        return ServiceState(
            service=self.service,
            phase=Phase.READY,
            submissions=tuple(self.known.values()),
            created_at=workflow.now(),
            created_by="ada",
        )

    @workflow.query
    def deeds(self) -> Deeds:
        return Deeds(done=self.done)

    @workflow.signal(name=names.SIGNAL_SUBMIT)
    async def submit(self, call: SubmitCall) -> None:
        request_id = call.request.request_id
        about: dict[str, Any] = {"target": call.target, "attempt": call.attempt}
        known = self.known.get(request_id)
        chance = self.random.random()
        if known is not None:
            await self.say(call.reply_to, self.last_answer(known))
        elif request_id in self.refused:
            await self.say(call.reply_to, AttemptDeclined(**about, why="refused", reason="no"))
        elif chance < 0.15:
            pass  # never came
        elif chance < 0.25:
            await self.say(call.reply_to, AttemptDeclined(**about, why="busy", reason="at lunch"))
        elif chance < 0.3:
            self.refused.add(request_id)
            await self.say(call.reply_to, AttemptDeclined(**about, why="refused", reason="no"))
        else:
            number = len(self.known) + 1
            self.known[request_id] = Submission(
                request_id=request_id, reply_to=call.reply_to, number=number, **about
            )
            await asyncio.gather(
                self.say(call.reply_to, self.last_answer(self.known[request_id])),
                self.work(request_id, call.reply_to),
            )

    async def work(self, request_id: str, reply_to: str) -> None:
        known = self.known[request_id]
        done = self.done.setdefault(request_id, Done(attempt=known.attempt))
        done = done.changed(begins=[*done.begins, workflow.now()])
        self.done[request_id] = done
        chance = self.random.random()
        if chance < 0.1:
            await workflow.wait_condition(lambda: request_id in self.stopped)
        else:
            await asyncio.sleep(self.random.random() / 2)
        status = OperationStatus.FAILED if 0.1 < chance < 0.35 else OperationStatus.SUCCEEDED
        status = OperationStatus.CANCELLED if request_id in self.stopped else status
        self.known[request_id] = known.changed(status=status)
        self.done[request_id] = done.changed(status=status, ended_at=workflow.now())
        await self.say(reply_to, self.last_answer(self.known[request_id]))

    @workflow.signal(name=names.SIGNAL_WITHDRAW)
    async def withdraw(self, call: WithdrawCall) -> None:
        self.stopped.add(call.request_id)
        known = self.known.get(call.request_id) or Submission(
            request_id=call.request_id,
            target=call.target,
            attempt=call.attempt,
            reply_to=call.reply_to,
            number=0,
            status=OperationStatus.CANCELLED,
        )
        self.known[call.request_id] = known
        await self.say(call.reply_to, self.last_answer(known))

    @staticmethod
    def last_answer(known: Submission) -> AttemptAccepted | AttemptFinished:
        about = {"target": known.target, "attempt": known.attempt, "operation": known.number}
        return AttemptAccepted(**about) if known.status is None else AttemptFinished(**about, status=known.status)

    async def say(self, campaign: str, text: AttemptAccepted | AttemptDeclined | AttemptFinished) -> None:
        """Say it twice, once or never, each time when it pleases."""
        copies = self.random.choice([0, 0, 1, 1, 1, 1, 2, 2])
        pauses = [self.random.choice([0.0, 0.0, self.random.random()]) for _ in range(copies)]

        async def late(pause: float) -> None:
            if pause:
                await asyncio.sleep(pause)
            await workflow.get_external_workflow_handle(campaign).signal(names.SIGNAL_REPLY, Reply(said=text))

        await asyncio.gather(*map(late, pauses), return_exceptions=True)  # the campaign may be over


async def standing_fleet(client: Client, platform: CampaignPlatform, seed: int, size: int, **rules: Any) -> Fleet:
    """Stand-ins, and a campaign over them that is not started yet."""
    run = uuid.uuid4().hex[:8]
    callers = [Caller(client, f"s{number:02}-{run}") for number in range(size)]
    platform.client = client
    platform.rules = Rules.model_validate({"campaign": "x", "requested_by": "ada", "page_size": 5} | rules)
    platform.targets = [TargetEntry(service=str(caller.service), version="1.0.0") for caller in callers]
    for caller in callers:
        mischief = Mischief(service=caller.service, seed=seed)
        await client.start_workflow(names.SERVICE_WORKFLOW, mischief, id=caller.id, task_queue=names.CONTROL_QUEUE)
    handle = client.get_workflow_handle(names.campaign_workflow_id(f"c-{run}"))
    return Fleet(client, platform, callers, f"c-{run}", handle)


@asynccontextmanager
async def standing(client: Client, platform: CampaignPlatform) -> AsyncIterator[None]:
    async with Worker(
        client,
        task_queue=names.CONTROL_QUEUE,
        workflows=[Campaign, StandIn],
        activities=platform.activities(),
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        try:
            yield
        finally:
            await Caller.terminate_all()


async def test_whatever_is_lost_doubled_late_or_out_of_order_the_report_is_what_was_done(temporal: Client) -> None:
    platform = CampaignPlatform(continue_after=8)
    town = await standing_fleet(
        temporal,
        platform,
        SEED,
        SIZE,
        max_concurrent=AT_ONCE,
        retries=1,
        check_seconds=1,
        busy_seconds=1,
        timeout_seconds=6,
        cancel_grace_seconds=120,
        on_failure="continue",
        waves=(WaveRules(name="first", size=12), WaveRules(name="rest", size=SIZE - 12)),
    )
    async with standing(temporal, platform):
        await town.start()
        result = await town.result()
        deeds = [await caller.handle.query("deeds", result_type=Deeds) for caller in town.callers]
        runs = await town.histories()
    records = await town.records()
    assert result.status is CampaignStatus.COMPLETED_WITH_FAILURES
    assert result.running == 0
    assert sorted(records) == list(range(SIZE))
    outcomes = Counter(record.outcome.value for record in records.values())
    assert result.counts == outcomes
    assert {"succeeded", "failed", "timed-out"} <= set(outcomes), "the seed is one that does a bit of everything"
    assert len(runs) > 1
    for target, did in enumerate(deeds):
        check(records[target], {done.attempt: done for done in did.done.values()})
    assert most_at_once(deeds) <= AT_ONCE


def check(record: TargetRecord, attempts: dict[int, Done]) -> None:
    """The report says of a target what its service did."""
    last = attempts.get(record.attempt)
    assert all(len(done.begins) == 1 for done in attempts.values()), "each attempt is begun once"
    assert all(done.ended_at for done in attempts.values()), "nothing is left running"
    succeeded = [done for done in attempts.values() if done.status is OperationStatus.SUCCEEDED]
    assert len(succeeded) == (record.outcome is TargetOutcome.SUCCEEDED)
    statuses: dict[TargetOutcome, set[OperationStatus | None]] = {
        TargetOutcome.SUCCEEDED: {OperationStatus.SUCCEEDED},
        TargetOutcome.FAILED: {OperationStatus.FAILED},
        TargetOutcome.TIMED_OUT: {
            OperationStatus.CANCELLED,
            OperationStatus.FAILED,
            None,
        },  # failed, and told too late
        TargetOutcome.REFUSED: {None},
        TargetOutcome.UNREACHABLE: {OperationStatus.CANCELLED, None},
    }
    assert (last.status if last else None) in statuses[record.outcome]


def most_at_once(deeds: Sequence[Deeds]) -> int:
    """How many attempts ran at the same time, at most."""
    every = [done for did in deeds for done in did.done.values() if done.ended_at is not None]
    return max(
        sum(other.begins[0] <= done.begins[0] < (other.ended_at or done.begins[0]) for other in every)
        for done in every
    )
