"""The steps of an operation: their order, failures, retries and cancels; real workflows, fake tools."""

from __future__ import annotations

import asyncio

import pytest
from fakes import Caller, FakePlatform, raising, serving, spec, works_on
from operation_kit import ASK, listed, operation, waiting
from temporalio.client import Client, WorkflowFailureError

from bondstone.base import names
from bondstone.base.errors import InvalidInput, PlanStale, PolicyDenied, Refused, StoreUnavailable, ToolFailed
from bondstone.model.plan import Decision, Finding
from bondstone.model.service import (
    CancelCall,
    Health,
    OperationKind,
    OperationRecord,
    OperationStatus,
    Phase,
    StepStatus,
)
from bondstone.model.step import HealthReport

DENY = Decision(
    outcome="deny", findings=(Finding(level="deny", message="prod must not be small", policy="main.deny"),)
)


async def test_rule_1_steps_run_in_dependency_order_and_independent_ones_at_once(temporal: Client) -> None:
    together = asyncio.Barrier(2)
    platform = FakePlatform(
        steps=[spec("network"), spec("left", "network"), spec("right", "network"), spec("top", "left", "right")],
        scripts={"apply left": [lambda: _meet(together)], "apply right": [lambda: _meet(together)]},
    )
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await caller.request()
        record = await caller.ended(1)
    assert record.status is OperationStatus.SUCCEEDED
    applied = platform.done("apply")
    assert applied[0] == "network"
    assert set(applied[1:3]) == {"left", "right"}
    assert applied[3] == "top"


async def _meet(barrier: asyncio.Barrier) -> None:
    async with asyncio.timeout(120):
        await barrier.wait()


async def test_rule_4_a_denied_plan_is_never_applied(temporal: Client) -> None:
    platform = FakePlatform(decisions={"main": DENY})
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await caller.request()
        record = await caller.ended(1)
        state = await caller.state()
    assert record.status is OperationStatus.FAILED
    assert record.error is not None
    assert record.error.code == PolicyDenied.code
    assert "prod must not be small" in record.error.message
    assert platform.done("apply") == []
    assert state.phase is Phase.FAILED
    assert platform.ledger[-1].steps[0].decision == DENY


async def test_a_failed_step_blocks_what_needs_it_and_retry_resumes_there(temporal: Client) -> None:
    platform = FakePlatform(
        steps=[spec("a"), spec("b", "a"), spec("c", "b"), spec("other")],
        scripts={"apply b": [raising(ToolFailed("no space in the rack"))]},
    )
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await caller.request()
        failed = await caller.ended(1)
        assert {step.id: step.status for step in failed.steps} == {
            "a": StepStatus.SUCCEEDED,
            "b": StepStatus.FAILED,
            "c": StepStatus.BLOCKED,
            "other": StepStatus.SUCCEEDED,
        }
        assert failed.error is not None
        assert (failed.error.code, failed.error.where) == (ToolFailed.code, "step b")
        with pytest.raises(InvalidInput, match="takes no inputs"):
            await caller.request(retry=True, promise="", inputs={"size": 1})
        retried = await caller.request(retry=True, promise="")
        record = await caller.ended(retried.number)
    assert record.retry_of == 1
    assert {step.id: step.status for step in record.steps} == {
        "a": StepStatus.KEPT,
        "b": StepStatus.SUCCEEDED,
        "c": StepStatus.SUCCEEDED,
        "other": StepStatus.KEPT,
    }
    assert sorted(platform.done("apply")) == ["a", "b", "b", "c", "other"]


async def test_rule_3_a_stale_plan_is_planned_and_checked_again_before_it_is_applied(temporal: Client) -> None:
    platform = FakePlatform(scripts={"apply main": [raising(PlanStale("the state moved"))]})
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await caller.request()
        record = await caller.ended(1)
    assert record.status is OperationStatus.SUCCEEDED
    assert [entry for entry in platform.log if entry.endswith("main")] == [
        "plan main",
        "check main",
        "apply main",
        "plan main",
        "check main",
        "apply main",
    ]
    first, second = (
        call.plan.digest for call in platform.calls if hasattr(call, "plan") and "apply" in _verb(platform, call)
    )
    assert first != second


def _verb(platform: FakePlatform, call: object) -> str:
    return platform.log[platform.calls.index(call)]


async def test_a_transient_failure_is_tried_again_and_wrong_input_never_is(temporal: Client) -> None:
    platform = FakePlatform(
        steps=[spec("flaky"), spec("wrong")],
        scripts={
            "plan flaky": [raising(StoreUnavailable("try later"))],
            "plan wrong": [raising(ToolFailed("no such variable"))],
        },
    )
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await caller.request()
        record = await caller.ended(1)
    assert record.status is OperationStatus.FAILED
    assert platform.done("plan").count("flaky") == 2
    assert platform.done("plan").count("wrong") == 1


async def test_cancel_stops_the_running_operation_and_says_who_and_why(temporal: Client) -> None:
    started, stopped = asyncio.Event(), asyncio.Event()

    async def until_cancelled() -> None:
        started.set()
        try:
            await works_on()
        finally:
            stopped.set()

    platform = FakePlatform(steps=[spec("a"), spec("b", "a")], scripts={"apply a": [until_cancelled]})
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await caller.request()
        await asyncio.wait_for(started.wait(), 60)
        call = CancelCall(number=1, requested_by="bob", reason="wrong team")
        await caller.update(names.UPDATE_CANCEL_OPERATION, call, OperationRecord)
        record = await caller.ended(1)
        with pytest.raises(Refused, match="has ended: cancelled"):
            await caller.update(names.UPDATE_CANCEL_OPERATION, CancelCall(number=1), OperationRecord)
    assert stopped.is_set()
    assert record.status is OperationStatus.CANCELLED
    assert await listed(temporal, record.id) == "cancelled"
    assert record.error is not None
    assert record.error.message == "cancelled by bob: wrong team"
    assert {step.id: step.status for step in record.steps} == {
        "a": StepStatus.CANCELLED,
        "b": StepStatus.CANCELLED,
    }
    assert [entry.sequence for entry in platform.ledger] == ["op-1-cancel", "op-1"]
    assert platform.ledger[1].previous


async def test_an_operation_that_is_terminated_by_hand_has_failed_wherever_it_is_read(temporal: Client) -> None:
    platform = FakePlatform(decisions={"main": ASK})
    async with serving(temporal, platform):
        caller = Caller(temporal)
        accepted = await caller.request()
        await waiting(temporal, accepted)
        await operation(temporal, accepted).terminate()
        record = await caller.ended(accepted.number)
    assert record.status is OperationStatus.FAILED
    assert await listed(temporal, record.id) == "failed"


async def test_an_operation_that_waits_can_be_cancelled(temporal: Client) -> None:
    gate = asyncio.Event()

    async def wait() -> None:
        await asyncio.wait_for(gate.wait(), 30)

    platform = FakePlatform(scripts={"apply main": [wait]})
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await caller.request()
        behind = await caller.request(kind=OperationKind.DECOMMISSION, promise="")
        with pytest.raises(Refused, match="is being decommissioned"):
            await caller.request(kind=OperationKind.DECOMMISSION, promise="")
        await caller.update(names.UPDATE_CANCEL_OPERATION, CancelCall(number=behind.number), OperationRecord)
        gate.set()
        first = await caller.ended(1)
        second = await caller.ended(behind.number)
        state = await caller.state()
    assert (first.status, second.status) == (OperationStatus.SUCCEEDED, OperationStatus.CANCELLED)
    assert state.phase is Phase.READY
    assert "plan_destroy main" not in platform.log


async def test_decommission_destroys_in_reverse_order_and_ends_the_service(temporal: Client) -> None:
    platform = FakePlatform(steps=[spec("a"), spec("b", "a"), spec("c", "b")])
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await caller.request()
        await caller.ended(1)
        platform.log.clear()
        await caller.request(kind=OperationKind.DECOMMISSION, promise="")
        await caller.handle.result()
        state = await caller.state()
        assert platform.done("apply") == ["c", "b", "a"]
        assert platform.log[-2:] == ["put away", "ledger op-2"]
        assert state.phase is Phase.DECOMMISSIONED
        # The name is free, and numbers are never used twice.
        platform.last_number = 2
        again = await caller.request()
        await caller.ended(again.number)
    assert again.number == 3


async def test_a_failed_provision_that_was_asked_to_clean_up_takes_everything_down(temporal: Client) -> None:
    platform = FakePlatform(
        steps=[spec("a"), spec("b", "a")], scripts={"apply b": [raising(ToolFailed("quota exceeded"))]}
    )
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await caller.request(on_failure="destroy")
        record = await caller.ended(1)
    assert record.error is not None
    assert "quota exceeded (what it had created was destroyed again)" in record.error.message
    assert platform.done("plan_destroy") == ["b", "a"]


async def test_an_unhealthy_service_is_not_ready(temporal: Client) -> None:
    platform = FakePlatform(
        health_seconds=120, health=[HealthReport(health=Health.UNHEALTHY, message="http: 503 from the endpoint")]
    )
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await caller.request()
        record = await caller.ended(1)
        state = await caller.state()
        retried = await caller.request(retry=True, promise="")
        second = await caller.ended(retried.number)
    assert record.error is not None
    assert record.error.message == "http: 503 from the endpoint"
    assert (state.phase, state.health) == (Phase.FAILED, Health.UNHEALTHY)
    assert second.status is OperationStatus.SUCCEEDED
    assert platform.done("apply") == ["main"]


async def test_a_skipped_step_is_neither_planned_nor_blocks_what_needs_it(temporal: Client) -> None:
    platform = FakePlatform(steps=[spec("a", skip=True), spec("b", "a")])
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await caller.request()
        record = await caller.ended(1)
    assert record.status is OperationStatus.SUCCEEDED
    assert platform.done("plan") == ["b"]


async def test_an_empty_plan_of_a_step_whose_outputs_are_known_is_not_applied(temporal: Client) -> None:
    platform = FakePlatform(steps=[spec("a"), spec("b")], scripts={"apply b": [raising(ToolFailed("no"))]})
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await caller.request()
        await caller.ended(1)
        platform.empty_plans.add("a")
        again = await caller.request(inputs={"x": 1})  # requested anew: every step is planned again
        record = await caller.ended(again.number)
    assert {step.id: step.status for step in record.steps}["a"] is StepStatus.UNCHANGED
    assert platform.done("apply").count("a") == 1


async def test_the_operation_failed_in_temporal_when_it_failed_for_people(temporal: Client) -> None:
    platform = FakePlatform(scripts={"apply main": [raising(ToolFailed("no"))]})
    async with serving(temporal, platform):
        caller = Caller(temporal)
        accepted = await caller.request()
        await caller.ended(1)
        operation = temporal.get_workflow_handle(f"service/{accepted.id}")
        with pytest.raises(WorkflowFailureError):
            await operation.result()
        live = await operation.query(names.QUERY_DESCRIBE, result_type=OperationRecord)
    assert live.steps[0].status is StepStatus.FAILED
