"""Dry runs, which change nothing and ask nobody; real workflows on a real server, fake tools."""

from __future__ import annotations

from fakes import Caller, FakePlatform, serving, spec
from operation_kit import ASK, ask, ready
from temporalio.client import Client

from bondstone.base import names
from bondstone.model.plan import ChangeCounts
from bondstone.model.service import OperationKind, OperationStatus, Phase, StepStatus
from bondstone.temporal.fleet import past_seconds
from harness.waiting import until_async


async def test_a_dry_run_shows_whom_it_would_ask_and_asks_nobody(temporal: Client) -> None:
    platform = FakePlatform(
        steps=[spec("main"), spec("other")], counts={"other": ChangeCounts(delete=1)}, empty_plans={"main"}
    )
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await ready(caller, version="1.0.0")
        patched = await ask(caller, OperationKind.PATCH, version="1.0.1", dry_run=True)
        upgraded = await ask(caller, OperationKind.UPGRADE, version="2.0.0", dry_run=True, ask=True)
        platform.decisions["main"] = ASK
        gone = await ask(caller, OperationKind.DECOMMISSION, dry_run=True, ask=True)
        records = [await caller.ended(accepted.number) for accepted in (patched, upgraded, gone)]
    assert {record.status for record in records} == {OperationStatus.SUCCEEDED}
    shown = [
        sorted((gate.step, gate.status, [need.reason for need in gate.needs]) for gate in record.approvals)
        for record in records
    ]
    asks = "the request asks for an approval"
    assert shown == [
        [("other", "would-ask", ["the patch would delete or replace something: +0 ~0 ±0 -1"])],
        [("other", "would-ask", ["the upgrade crosses a major version: 1.0.0 to 2.0.0", asks])],
        [("main", "would-ask", ["big", asks]), ("other", "would-ask", [asks])],
    ]


async def test_a_dry_run_plans_what_is_known_defers_the_rest_and_changes_nothing(temporal: Client) -> None:
    platform = FakePlatform(steps=[spec("a"), spec("b", "a", uses=("a",)), spec("c", "a")])
    async with serving(temporal, platform):
        caller = Caller(temporal)
        accepted = await caller.request(dry_run=True)
        state = await caller.handle.result()
        record = await caller.ended(accepted.number)
        assert state["phase"] == "requested"
        again = await caller.request()  # the name is still free
        await caller.ended(again.number)
    assert record.status is OperationStatus.SUCCEEDED
    assert {step.id: step.status for step in record.steps} == {
        "a": StepStatus.SUCCEEDED,
        "b": StepStatus.DEFERRED,
        "c": StepStatus.SUCCEEDED,
    }
    assert platform.done("plan")[:2] == ["a", "c"]
    assert len(platform.done("apply")) == 3


async def test_dry_runs_say_nothing_of_how_long_an_operation_takes(temporal: Client) -> None:
    async with serving(temporal, FakePlatform()):
        caller = Caller(temporal)
        await ready(caller)
        for dry_run in (True, False):
            accepted = await ask(caller, OperationKind.UPDATE, inputs={"size": "large"}, dry_run=dry_run)
            await caller.ended(accepted.number)
        query = f"BondService = '{caller.service}' AND WorkflowType = '{names.OPERATION_WORKFLOWS['update']}'"

        async def both_are_listed() -> bool:
            return (await temporal.count_workflows(f"{query} AND ExecutionStatus = 'Completed'")).count == 2

        await until_async(both_are_listed, "both updates are listed as ended")
        listed = [execution async for execution in temporal.list_workflows(query)]
        past = await past_seconds(temporal, "update")
        everything = await temporal.count_workflows(
            f"WorkflowType = '{names.OPERATION_WORKFLOWS['update']}' AND ExecutionStatus = 'Completed'"
        )
    assert sorted(names.MEMO_DRY_RUN in each.raw_info.memo.fields for each in listed) == [False, True]
    assert 1 <= sum(number for _, number in past.values()) < everything.count


async def test_a_dry_run_of_a_change_leaves_the_service_as_it_was(temporal: Client) -> None:
    platform = FakePlatform()
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await ready(caller, inputs={"size": "small"})
        accepted = await ask(caller, OperationKind.UPDATE, inputs={"size": "large"}, dry_run=True)
        await caller.ended(accepted.number)
        state = await caller.state()
    assert state.resolved is not None
    assert (state.resolved.inputs, state.phase) == ({"size": "small"}, Phase.READY)
    assert platform.done("apply") == ["main"]


async def test_a_dry_run_shows_that_what_the_new_revision_no_longer_has_would_be_destroyed(
    temporal: Client,
) -> None:
    platform = FakePlatform(steps=[spec("main"), spec("old", "main")])
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await ready(caller, version="1.0.0")
        platform.steps = [spec("main")]
        platform.log.clear()
        accepted = await ask(caller, OperationKind.UPGRADE, version="1.1.0", dry_run=True)
        record = await caller.ended(accepted.number)
        state = await caller.state()
    assert [(step.id, step.part, step.changes.delete) for step in record.steps] == [
        ("main", "", 0),
        ("old", "removed", 1),
    ]
    assert record.before is not None
    assert (record.before.version, record.revision.version) == ("1.0.0", "1.1.0")
    assert platform.done("apply") == []
    assert sorted(state.step_outputs) == ["main", "old"]


async def test_a_dry_run_of_a_decommission_destroys_nothing(temporal: Client) -> None:
    platform = FakePlatform()
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await ready(caller)
        platform.log.clear()
        accepted = await ask(caller, OperationKind.DECOMMISSION, dry_run=True)
        record = await caller.ended(accepted.number)
        state = await caller.state()
    assert record.steps[0].changes == ChangeCounts(delete=1)
    assert platform.done("apply") == []
    assert state.phase is Phase.READY
