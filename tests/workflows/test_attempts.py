"""What all attempts of a step changed, added up; real workflows on a real server, fake tools."""

from __future__ import annotations

from fakes import Caller, FakePlatform, raising, serving
from temporalio.client import Client

from bondstone.base.errors import PlanStale, ToolFailed
from bondstone.model.plan import ChangeCounts
from bondstone.model.service import OperationStatus


async def test_what_all_attempts_changed_is_added_up_and_why_they_ended_is_told(temporal: Client) -> None:
    died = PlanStale("the state has moved")
    died.earlier_attempts = ("the worker stopped reporting",)
    platform = FakePlatform(
        counts={"main": ChangeCounts(create=2, replace=1)},
        carried_out=ChangeCounts(create=5),
        scripts={
            "apply main": [raising(died), raising(died), raising(PlanStale("somebody else moved the state"))]
        },
    )
    async with serving(temporal, platform):
        caller = Caller(temporal)
        record = await caller.ended((await caller.request()).number)
    assert record.steps[0].changes == ChangeCounts(create=12, replace=1), "what somebody else did is not ours"
    assert record.steps[0].earlier_attempts == (
        "the worker stopped reporting",
        "the worker stopped reporting",
        "somebody else moved the state",
    )
    assert platform.ledger[-1].steps == record.steps


async def test_a_failed_step_counts_what_its_attempts_did_and_not_what_they_were_to_do(temporal: Client) -> None:
    died = PlanStale("the state has moved")
    died.earlier_attempts = ("the worker stopped reporting",)
    broken = ToolFailed("the third thing could not be made")
    platform = FakePlatform(
        counts={"main": ChangeCounts(create=9)},
        carried_out=ChangeCounts(create=2),
        scripts={"apply main": [raising(died), raising(broken)]},
    )
    async with serving(temporal, platform):
        caller = Caller(temporal)
        record = await caller.ended((await caller.request()).number)
    assert record.status is OperationStatus.FAILED
    assert record.steps[0].changes == ChangeCounts(create=4), (
        "2 by the attempt that died, 2 by the one that failed"
    )
    assert record.steps[0].earlier_attempts == ("the worker stopped reporting",)
    assert platform.ledger[-1].steps == record.steps


async def test_a_failed_step_of_which_nothing_can_be_planned_claims_nothing(temporal: Client) -> None:
    broken = ToolFailed("the cluster is gone")
    platform = FakePlatform(
        counts={"main": ChangeCounts(create=9)},
        carried_out=ChangeCounts(create=2),
        scripts={"apply main": [raising(broken)], "plan main": [lambda: None, raising(broken)]},
    )
    async with serving(temporal, platform):
        caller = Caller(temporal)
        record = await caller.ended((await caller.request()).number)
    assert record.steps[0].changes == ChangeCounts()
    assert record.steps[0].error is not None
    assert record.steps[0].error.message == "the cluster is gone"
