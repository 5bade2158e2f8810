"""What takes days, in the time-skipping server: approvals that wait and expire, retention, the look for drift.

That server (1.40) has a defect. When a query reaches a workflow during the very task that continues it as new,
the server tries to add one more task to the run it has just closed. It then refuses the worker's answer ("workflow
execution already completed"), counts the task as under way for ever, and skips no time from then on:
`environment.sleep` runs into its deadline. (In its TestWorkflowMutableStateImpl, `completeWorkflowTask` leaves
CONTINUED_AS_NEW out of the states that need no further task.) A query sent in that moment stops the clock every
time; a signal does not. A service continues as new when an operation has ended, so nothing here asks one about to
do so: `Onlooker.ended` first reads from the history that it waits for something else, which asks nothing of the
workflow.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from fakes import Caller, FakePlatform, serving
from operation_kit import in_phase, waiting
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment
from time_skipping import time_skipping

from bondstone.base import names
from bondstone.model.plan import Decision, Finding
from bondstone.model.service import (
    Approval,
    CancelCall,
    DayTwo,
    OperationKind,
    OperationRecord,
    OperationStatus,
    Phase,
    VoteCall,
)
from bondstone.temporal import calls
from bondstone.workflows.service import MAX_RUN_EVENTS
from harness.waiting import until, until_async

CLOSED = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
}
CHILD_BEGAN = EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED
CHILD_CLOSED = {
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED,
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED,
}
IDLE = {
    EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
    EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES,
    EventType.EVENT_TYPE_TIMER_STARTED,
    EventType.EVENT_TYPE_TIMER_CANCELED,
}
"""The last event of a workflow that waits for somebody else than its own activities."""


def asks(expires: timedelta = timedelta(0)) -> Decision:
    finding = Finding(
        level="approval", message="big", roles=("dba",), expires_seconds=int(expires.total_seconds())
    )
    return Decision(outcome="approval", findings=(finding,))


@pytest.fixture
async def skipping() -> AsyncIterator[WorkflowEnvironment]:
    """A server whose clock moves only when a test says so."""
    async with time_skipping() as environment:
        yield environment


class Onlooker(Caller):
    """A caller that never queries a service while it continues as new (see above)."""

    async def ended(self, number: int) -> OperationRecord:
        """The record of an operation, once the service has nothing more to do for it."""

        async def rests() -> bool:
            return not await self._works_on(f"{self.id}/op/{number}")

        await until_async(rests, f"nothing is to be done for operation {number}")
        return await super().ended(number)

    async def _works_on(self, operation: str) -> bool:
        """Whether the operation has not ended, or its end has not been worked off by the newest run."""
        try:
            operation_events = (await self.client.get_workflow_handle(operation).fetch_history()).events
        except RPCError:
            return True
        service_events = (await self.handle.fetch_history()).events
        if operation_events[-1].event_type not in CLOSED or service_events[-1].event_type not in IDLE | CLOSED:
            return True
        began = [event for event in service_events if event.event_type == CHILD_BEGAN and operation in str(event)]
        ended = [event for event in service_events if event.event_type in CHILD_CLOSED and operation in str(event)]
        return bool(began) and not ended


async def events(client: Client, workflow_id: str) -> int:
    return len((await client.get_workflow_handle(workflow_id).fetch_history()).events)


async def test_an_approval_waits_thirty_days_and_holds_nothing(skipping):
    platform = FakePlatform(decisions={"main": asks()})
    async with serving(skipping.client, platform):
        caller = Onlooker(skipping.client)
        accepted = await caller.request()
        gate = await waiting(skipping.client, accepted)
        await in_phase(caller, Phase.AWAITING_APPROVAL)
        await skipping.sleep(timedelta(minutes=1))  # returns when nothing is under way any more
        before = await events(skipping.client, f"service/{accepted.id}")
        await skipping.sleep(timedelta(days=30))
        assert await events(skipping.client, f"service/{accepted.id}") == before, "nobody did anything meanwhile"
        assert platform.done() == []
        call = VoteCall(step="main", digest=gate.digest, by="grace", roles=("dba",))
        await calls.update(skipping.client, f"service/{accepted.id}", names.UPDATE_APPROVE, call, Approval)
        record = await caller.ended(accepted.number)
    assert record.status is OperationStatus.SUCCEEDED
    assert platform.done() == ["main"]
    (approval,) = record.approvals
    assert approval.votes[0].at - approval.asked_at >= timedelta(days=30)


async def test_an_approval_that_nobody_gives_in_time_is_a_rejection(skipping):
    platform = FakePlatform(decisions={"main": asks(timedelta(days=3))})
    async with serving(skipping.client, platform):
        caller = Onlooker(skipping.client)
        accepted = await caller.request()
        gate = await waiting(skipping.client, accepted)
        assert gate.expires_at == gate.asked_at + timedelta(days=3)
        await skipping.sleep(timedelta(days=2))
        assert (await waiting(skipping.client, accepted)).status == "waiting"
        await skipping.sleep(timedelta(days=1, hours=1))
        record = await caller.ended(accepted.number)
    assert record.status is OperationStatus.REJECTED
    assert record.approvals[0].status == "expired"
    assert record.error is not None
    assert "in time" in record.error.message
    assert platform.done() == []


async def test_a_decommission_waits_for_its_retention_and_can_be_taken_back_till_then(skipping):
    platform = FakePlatform(day_two=DayTwo(retain_seconds=7 * 86400))
    async with serving(skipping.client, platform):
        caller = Onlooker(skipping.client)
        accepted = await caller.request()
        await caller.ended(accepted.number)
        for take_back in (True, False):
            accepted = await caller.request(kind=OperationKind.DECOMMISSION, promise="")
            await in_phase(caller, Phase.DECOMMISSIONING)
            await skipping.sleep(timedelta(days=6))
            assert platform.done("plan_destroy") == []
            if take_back:
                call = CancelCall(number=accepted.number, requested_by="ada", reason="still needed")
                await caller.update(names.UPDATE_CANCEL_OPERATION, call, OperationRecord)
                assert (await caller.ended(accepted.number)).status is OperationStatus.CANCELLED
                assert (await caller.state()).phase is Phase.READY
        await skipping.sleep(timedelta(days=1, hours=1))
        record = await caller.ended(accepted.number)
    assert record.status is OperationStatus.SUCCEEDED
    assert platform.done("plan_destroy") == ["main"]
    assert platform.log[-2:] == ["put away", f"ledger op-{accepted.number}"]


async def test_a_service_looks_for_drift_for_a_fortnight_without_growing(skipping):
    platform = FakePlatform(day_two=DayTwo(reconcile_seconds=86400))
    async with serving(skipping.client, platform):
        caller = Onlooker(skipping.client)
        accepted = await caller.request()
        await caller.ended(accepted.number)
        for _ in range(14):
            looked = len(platform.done("drift"))
            await skipping.sleep(timedelta(days=1, minutes=1))
            await until(lambda looked=looked: len(platform.done("drift")) > looked, "a drift check")
            await caller.ended(accepted.number + looked + 1)
        assert platform.done("drift") == ["main"] * 14
        assert await events(skipping.client, caller.id) < MAX_RUN_EVENTS + 50
