"""Requests to a service and what they become; real workflows on a real server, fake tools."""

from __future__ import annotations

import asyncio

import pytest
from fakes import Caller, FakePlatform, raising, serving
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowFailureError
from temporalio.common import SearchAttributeKey

from bondstone.base import names
from bondstone.base.errors import AlreadyExists, InputsInvalid, InvalidInput, KeyReused, NotFound, Refused
from bondstone.model.plan import Decision, Finding
from bondstone.model.service import CancelCall, LabelsCall, OperationKind, OperationStatus, Phase

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
        await asyncio.wait_for(go.wait(), 60)

    platform = FakePlatform()
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await caller.request()
        await caller.ended(1)
        platform.scripts["resolve"] = [slowly]
        update = asyncio.create_task(
            caller.request(kind=OperationKind.UPDATE, promise="", inputs={"n": 1}, labels={"b": "2"})
        )
        await asyncio.wait_for(request.wait(), 60)
        await caller.update(names.UPDATE_SET_LABELS, LabelsCall(set={"a": "1"}))
        go.set()
        await update
        state = await caller.state()
    assert state.labels == {"a": "1", "b": "2"}
