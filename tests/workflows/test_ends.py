"""Decommission, retention and abandon; real workflows on a real server, fake tools."""

from __future__ import annotations

import asyncio
import itertools
from functools import partial

import pytest
from fakes import Caller, FakePlatform, raising, serving, spec
from operation_kit import ask, in_phase, ready
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

from bondstone.base import names
from bondstone.base.errors import AttestationInvalid, BondError, ObjectCorrupt, Refused
from bondstone.model.plan import Decision, Finding
from bondstone.model.service import (
    AbandonCall,
    CancelCall,
    DayTwo,
    Health,
    OperationKind,
    OperationRecord,
    OperationStatus,
    PartChanged,
    Phase,
    ServiceId,
)
from harness.waiting import until_async


async def test_policies_are_not_asked_about_taking_down_nothing(temporal: Client) -> None:
    platform = FakePlatform(steps=[spec("main"), spec("bare")], empty_destroys={"bare"})
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await ready(caller)
        platform.log.clear()
        platform.decisions["bare"] = Decision(outcome="deny", findings=(Finding(level="deny", message="no"),))
        accepted = await ask(caller, OperationKind.DECOMMISSION)
        await caller.handle.result()
    assert platform.done("check") == ["main"]
    assert platform.ledger[-1].operation == accepted.number
    assert platform.ledger[-1].status is OperationStatus.SUCCEEDED


async def test_a_retention_hold_can_be_taken_back(temporal: Client) -> None:
    platform = FakePlatform(
        health_seconds=120, day_two=DayTwo(retain_seconds=3600, hooks=(spec("backup"),), final=("backup",))
    )
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await ready(caller)
        accepted = await ask(caller, OperationKind.DECOMMISSION)
        await in_phase(caller, Phase.DECOMMISSIONING)
        call = CancelCall(number=accepted.number, requested_by="bob", reason="still needed")
        await caller.update(names.UPDATE_CANCEL_OPERATION, call, OperationRecord)
        record = await caller.ended(accepted.number)
        state = await caller.state()
    assert record.status is OperationStatus.CANCELLED
    assert (state.phase, state.health) == (Phase.READY, Health.HEALTHY)
    assert platform.done("plan_destroy") == []


async def test_the_last_backup_is_made_before_anything_is_destroyed(temporal: Client) -> None:
    platform = FakePlatform(
        day_two=DayTwo(retain_seconds=1, hooks=(spec("backup"),), final=("backup",)), steps=[spec("main")]
    )
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await ready(caller)
        platform.log.clear()
        await ask(caller, OperationKind.DECOMMISSION)
        await caller.handle.result()
    assert platform.done("apply") == ["backup", "main"]
    assert platform.log.index("apply backup") < platform.log.index("plan_destroy main")


async def test_a_service_outlives_a_cancel_of_its_workflow(temporal: Client) -> None:
    gate = asyncio.Event()

    async def wait() -> None:
        await asyncio.wait_for(gate.wait(), 30)

    platform = FakePlatform(scripts={"apply main": [wait]})
    async with serving(temporal, platform):
        caller = Caller(temporal)
        accepted = await caller.request()
        await in_phase(caller, Phase.PROVISIONING)
        await caller.handle.cancel()
        gate.set()
        record = await caller.ended(accepted.number)
        state = await caller.state()
    assert record.status is OperationStatus.SUCCEEDED
    assert state.phase is Phase.READY


async def test_abandon_forgets_the_service_and_destroys_nothing(temporal: Client) -> None:
    platform = FakePlatform()
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await ready(caller)
        call = AbandonCall(requested_by="bob", reason="moved elsewhere")
        await caller.update(names.UPDATE_ABANDON, call, type(None))
        await caller.handle.result()
    assert platform.done("plan_destroy") == []
    assert (platform.ledger[-1].kind, platform.ledger[-1].reason) == ("abandon", "moved elsewhere")


@pytest.mark.parametrize("problem", [AttestationInvalid("of another change"), ObjectCorrupt("state/x is damaged")])
async def test_a_service_that_cannot_be_abandoned_lives_on_until_it_can(
    temporal: Client, problem: BondError
) -> None:
    platform = FakePlatform(scripts={"put away": [raising(problem)]})
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await ready(caller)
        call = AbandonCall(requested_by="bob", reason="moved")
        with pytest.raises(type(problem), match=problem.message):
            await caller.update(names.UPDATE_ABANDON, call, type(None))
        updated = await ask(caller, OperationKind.UPDATE, inputs={"a": 1})
        assert (await caller.ended(updated.number)).status is OperationStatus.SUCCEEDED
        await caller.update(names.UPDATE_ABANDON, call, type(None))
        await caller.handle.result()
    assert platform.ledger[-1].kind == "abandon"


async def test_a_part_that_changes_while_its_parent_cannot_be_abandoned_is_not_forgotten(temporal: Client) -> None:
    platform = FakePlatform()
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await ready(caller)

        async def part_changes() -> None:
            changed = PartChanged(part=ServiceId(team="payments", name="part"), operation="payments/part/op/7")
            await caller.handle.signal(names.SIGNAL_PART_CHANGED, changed)
            raise ObjectCorrupt("state/x is damaged")

        platform.scripts["put away"] = [part_changes]
        call = AbandonCall(requested_by="bob", reason="moved")
        with pytest.raises(ObjectCorrupt):
            await caller.update(names.UPDATE_ABANDON, call, type(None))
        record = await asyncio.wait_for(caller.ended(2), 60)
    assert (record.kind, record.cause) == (OperationKind.UPDATE, "payments/part/op/7")


async def test_a_service_that_is_being_abandoned_looks_for_drift_no_more(temporal: Client) -> None:
    platform = FakePlatform(day_two=DayTwo(reconcile_seconds=2))
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await ready(caller)

        async def times_due() -> int:
            events = (await caller.handle.fetch_history()).events
            return sum(event.event_type == EventType.EVENT_TYPE_TIMER_FIRED for event in events)

        async def until_due_again(before: int) -> None:
            async def is_due() -> bool:
                return await times_due() > before

            await until_async(is_due, "its drift check is due")

        call = AbandonCall(requested_by="bob", reason="moved")
        for number in itertools.count(2):
            platform.scripts["put away"] = [partial(until_due_again, await times_due())]
            try:
                await caller.update(names.UPDATE_ABANDON, call, type(None))
                break
            except Refused:  # it was looking for drift
                await caller.ended(number)
        state = await caller.handle.result()
    assert len(state["operations"]) == number - 1
    assert state["queue"] == []
