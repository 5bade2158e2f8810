"""The entity and its operations, with real workflows on a real server and fake tools."""

from __future__ import annotations

import asyncio

import pytest
from fakes import Caller, FakePlatform, raising, serving, spec
from temporalio import activity
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowFailureError
from temporalio.common import SearchAttributeKey

from bondstone.base import names
from bondstone.base.errors import (
    AlreadyExists,
    InputsInvalid,
    InvalidInput,
    KeyReused,
    NotFound,
    PlanStale,
    PolicyDenied,
    Refused,
    StoreUnavailable,
    ToolFailed,
)
from bondstone.model.plan import Decision, Finding
from bondstone.model.service import (
    CancelCall,
    Health,
    LabelsCall,
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


async def test_a_request_becomes_a_ready_service(temporal: Client) -> None:
    platform = FakePlatform()
    async with serving(temporal, platform):
        caller = Caller(temporal)
        accepted = await caller.request(labels={"tier": "prod"})
        assert (accepted.number, accepted.kind) == (1, OperationKind.PROVISION)
        record = await caller.ended(1)
        state = await caller.state()
    assert record.status is OperationStatus.SUCCEEDED
    assert platform.log == ["resolve", "plan main", "check main", "apply main", "outputs", "ledger op-1"]
    assert state.phase is Phase.READY
    assert state.outputs == {"main": {"id": "main-1"}}
    description = await caller.handle.describe()
    typed_search_attributes = description.typed_search_attributes
    assert typed_search_attributes[SearchAttributeKey.for_keyword(names.SA_PHASE)] == "ready"
    assert typed_search_attributes[SearchAttributeKey.for_keyword_list(names.SA_LABELS)] == ["tier=prod"]
    assert typed_search_attributes.get(SearchAttributeKey.for_keyword(names.SA_OPERATION)) is None


async def test_a_ledger_record_is_built_once_even_if_the_workflow_task_that_writes_it_is_lost(
    temporal: Client,
) -> None:
    async with serving(temporal, FakePlatform()):
        caller = Caller(temporal)
        await caller.request()
        await caller.ended(1)
        raw = (await caller.handle.describe()).raw_description.workflow_execution_info
        first = temporal.get_workflow_handle(caller.handle.id, run_id=raw.first_run_id)
        events = (await first.fetch_history()).events
    scheduled = [
        event.activity_task_scheduled_event_attributes.activity_type.name
        for event in events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    ]
    assert names.LEDGER_RECORD in scheduled, "its arguments are in the history before it runs"


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


async def test_rule_1_an_illegal_command_is_refused_and_leaves_no_trace(temporal: Client) -> None:
    async with serving(temporal, FakePlatform()):
        caller = Caller(temporal)
        await caller.request()
        await caller.ended(1)
        before = await _updates_in(caller)
        with pytest.raises(AlreadyExists, match="exists already, requested by ada"):
            await caller.request(requested_by="bob")
        with pytest.raises(NotFound):
            await caller.update(names.UPDATE_CANCEL_OPERATION, CancelCall(number=7))
        with pytest.raises(InvalidInput, match="cannot be a label's key"):
            await caller.update(names.UPDATE_SET_LABELS, LabelsCall(set={"Not Valid": "x"}))
        with pytest.raises(Refused, match="nothing to retry"):
            await caller.request(retry=True, promise="")
        refused = await _updates_in(caller)
        await caller.update(names.UPDATE_SET_LABELS, LabelsCall(set={"a": "1"}))
        accepted = await _updates_in(caller)
    assert refused == before
    assert len(accepted) > len(before)  # so the look into the history can tell


async def _updates_in(caller: Caller) -> list[str]:
    history = await caller.handle.fetch_history()
    result = [EventType.Name(event.event_type) for event in history.events]
    return [name for name in result if "UPDATE_ACCEPTED" in name or "UPDATE_COMPLETED" in name]


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


async def test_the_same_request_id_is_the_same_operation_also_after_continue_as_new(temporal: Client) -> None:
    platform = FakePlatform()
    async with serving(temporal, platform):
        caller = Caller(temporal)
        first, second = await asyncio.gather(caller.request(request_id="r-1"), caller.request(request_id="r-1"))
        await caller.ended(1)
        await caller.renewed()
        third = await caller.request(request_id="r-1")
    assert {first.number, second.number, third.number} == {1}
    assert third.repeated
    assert platform.done("apply") == ["main"]


async def test_a_run_of_a_service_carries_several_operations_and_the_next_continues_from_there(
    temporal: Client,
) -> None:
    async with serving(temporal, FakePlatform()):
        caller = Caller(temporal)
        await caller.request(labels={"tier": "prod"})
        await caller.ended(1)
        runs = [(await caller.handle.describe()).run_id]
        for number in (2, 3):
            await caller.request(kind=OperationKind.UPDATE, promise="", inputs={"size": str(number)})
            await caller.ended(number)
            runs.append((await caller.handle.describe()).run_id)
        await caller.renewed()
        last = (await caller.handle.describe()).run_id
        await caller.request(kind=OperationKind.UPDATE, promise="", inputs={"size": "4"})
        await caller.ended(4)
        state = await caller.state()
    assert len(set(runs)) == 1
    assert last != runs[0]
    assert [record.number for record in state.operations] == [1, 2, 3, 4]
    assert state.labels["tier"] == "prod"


async def test_a_refused_request_does_not_keep_a_service_from_its_next_run(temporal: Client) -> None:
    """A local activity that fails in the handler of an update, in the task that ends the run."""
    platform = FakePlatform()
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await caller.request()
        await caller.ended(1)
        run = (await caller.handle.describe()).run_id
        platform.scripts["resolve"] = [raising(InputsInvalid("size: 3 is not a size"))] * 40
        for _ in range(40):
            with pytest.raises(InputsInvalid):
                await caller.request(kind=OperationKind.UPDATE, promise="", inputs={"size": 3})
            if (await caller.handle.describe()).run_id != run:
                break
        else:
            pytest.fail("it never continued as new")
        platform.scripts.clear()
        await caller.request(kind=OperationKind.UPDATE, promise="", inputs={"size": "4"})
        record = await caller.ended(2)
    assert record.status is OperationStatus.SUCCEEDED


async def test_a_request_id_of_another_request_is_refused_and_changes_nothing(
    temporal: Client,
) -> None:
    async with serving(temporal, FakePlatform()):
        caller = Caller(temporal)
        await caller.request(request_id="r-1", labels={"tier": "prod"})
        with pytest.raises(KeyReused, match="r-1"):
            await caller.request(request_id="r-1", labels={"tier": "test"})
        await caller.ended(1)
        with pytest.raises(KeyReused, match="r-1"):
            await caller.request(request_id="r-1", labels={"tier": "test"})
        state = await caller.state()
    assert state.labels == {"tier": "prod"}
    assert state.next_number == 2


async def test_two_people_asking_for_one_name_at_once_get_one_service_and_one_refusal(temporal: Client) -> None:
    platform = FakePlatform()
    async with serving(temporal, platform):
        caller = Caller(temporal)
        answers = await asyncio.gather(
            caller.request(requested_by="ada"), caller.request(requested_by="bob"), return_exceptions=True
        )
        await caller.ended(1)
    refused = [answer for answer in answers if isinstance(answer, BaseException)]
    assert len(refused) == 1
    assert isinstance(refused[0], AlreadyExists)
    assert platform.done("apply") == ["main"]


async def test_a_refused_first_request_leaves_the_name_free(temporal: Client) -> None:
    platform = FakePlatform(scripts={"resolve": [raising(InputsInvalid("size: 3 is not a size"))]})
    async with serving(temporal, platform):
        caller = Caller(temporal)
        with pytest.raises(InputsInvalid, match="size: 3 is not a size"):
            await caller.request()
        with pytest.raises(WorkflowFailureError):
            await caller.handle.result()
        accepted = await caller.request()
        record = await caller.ended(accepted.number)
    assert record.status is OperationStatus.SUCCEEDED


async def test_a_service_that_never_became_ready_can_be_requested_again(temporal: Client) -> None:
    platform = FakePlatform(decisions={"main": DENY})
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await caller.request(inputs={"size": "small"})
        await caller.ended(1)
        with pytest.raises(AlreadyExists, match="is a failed postgres"):
            await caller.request(promise="queue")
        platform.decisions.clear()
        again = await caller.request(inputs={"size": "large"})
        record = await caller.ended(again.number)
        state = await caller.state()
    assert record.status is OperationStatus.SUCCEEDED
    assert state.resolved is not None
    assert state.resolved.inputs == {"size": "large"}


async def test_cancel_stops_the_running_operation_and_says_who_and_why(temporal: Client) -> None:
    started, stopped = asyncio.Event(), asyncio.Event()

    async def until_cancelled() -> None:
        started.set()
        try:
            while True:
                activity.heartbeat()
                await asyncio.sleep(0.1)
        finally:
            stopped.set()

    platform = FakePlatform(steps=[spec("a"), spec("b", "a")], scripts={"apply a": [until_cancelled]})
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await caller.request()
        await asyncio.wait_for(started.wait(), 20)
        call = CancelCall(number=1, requested_by="bob", reason="wrong team")
        await caller.update(names.UPDATE_CANCEL_OPERATION, call, OperationRecord)
        record = await caller.ended(1)
        with pytest.raises(Refused, match="has ended: cancelled"):
            await caller.update(names.UPDATE_CANCEL_OPERATION, CancelCall(number=1), OperationRecord)
    assert stopped.is_set()
    assert record.status is OperationStatus.CANCELLED
    assert record.error is not None
    assert record.error.message == "cancelled by bob: wrong team"
    assert {step.id: step.status for step in record.steps} == {
        "a": StepStatus.CANCELLED,
        "b": StepStatus.CANCELLED,
    }
    assert [entry.sequence for entry in platform.ledger] == ["op-1-cancel", "op-1"]
    assert platform.ledger[1].previous


async def test_an_operation_that_waits_can_be_cancelled(temporal: Client) -> None:
    gate = asyncio.Event()

    async def wait() -> None:
        await asyncio.wait_for(gate.wait(), 30)

    platform = FakePlatform(scripts={"apply main": [wait]})
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await caller.request()
        waiting = await caller.request(kind=OperationKind.DECOMMISSION, promise="")
        with pytest.raises(Refused, match="is being decommissioned"):
            await caller.request(kind=OperationKind.DECOMMISSION, promise="")
        await caller.update(names.UPDATE_CANCEL_OPERATION, CancelCall(number=waiting.number), OperationRecord)
        gate.set()
        first = await caller.ended(1)
        second = await caller.ended(waiting.number)
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
    assert "quota exceeded (what was made was taken down again)" in record.error.message
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


async def test_labels_are_set_and_removed_without_an_operation(temporal: Client) -> None:
    async with serving(temporal, FakePlatform()):
        caller = Caller(temporal)
        await caller.request(labels={"a": "1", "b": "2"})
        await caller.ended(1)
        labels = await caller.update(names.UPDATE_SET_LABELS, LabelsCall(set={"c": "3"}, remove=("a",)))
    assert labels == {"b": "2", "c": "3"}


async def test_labels_set_while_a_request_is_resolved_are_not_lost(temporal: Client) -> None:
    request, go = asyncio.Event(), asyncio.Event()

    async def slowly() -> None:
        request.set()
        await asyncio.wait_for(go.wait(), 20)

    platform = FakePlatform()
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await caller.request()
        await caller.ended(1)
        platform.scripts["resolve"] = [slowly]
        update = asyncio.create_task(
            caller.request(kind=OperationKind.UPDATE, promise="", inputs={"n": 1}, labels={"b": "2"})
        )
        await asyncio.wait_for(request.wait(), 20)
        await caller.update(names.UPDATE_SET_LABELS, LabelsCall(set={"a": "1"}))
        go.set()
        await update
        state = await caller.state()
    assert state.labels == {"a": "1", "b": "2"}
