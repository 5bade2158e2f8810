"""Updates, patches, upgrades and rollbacks; real workflows on a real server, fake tools."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest
from fakes import Caller, FakePlatform, raising, serving, spec, works_on
from operation_kit import ask, listed, ready
from temporalio.client import Client

from bondstone.base import names
from bondstone.base.errors import InputsInvalid, InvalidInput, NotFound, Refused, ToolFailed, Unhealthy
from bondstone.model.plan import Decision, Finding
from bondstone.model.service import (
    Accepted,
    CancelCall,
    DayTwo,
    Health,
    OperationKind,
    OperationRecord,
    OperationStatus,
    Phase,
)
from bondstone.model.step import HealthCall, HealthReport


async def test_an_update_changes_the_inputs_and_keeps_the_revision_before(temporal: Client) -> None:
    platform = FakePlatform()
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await ready(caller, inputs={"size": "small"})
        accepted = await ask(caller, OperationKind.UPDATE, inputs={"size": "large"})
        record = await caller.ended(accepted.number)
        state = await caller.state()
    assert record.status is OperationStatus.SUCCEEDED
    assert state.resolved is not None
    assert state.resolved.inputs == {"size": "large"}
    assert [past.inputs for past in state.healthy] == [{"size": "small"}, {"size": "large"}]
    assert (platform.ledger[-1].inputs_before, platform.ledger[-1].inputs_after) == (
        {"size": "small"},
        {"size": "large"},
    )


@pytest.mark.parametrize("kind", [OperationKind.UPDATE, OperationKind.PATCH, OperationKind.RECONCILE])
async def test_changes_need_a_service_that_was_once_ready(temporal: Client, kind: OperationKind) -> None:
    platform = FakePlatform(scripts={"apply main": [raising(ToolFailed("no"))]})
    async with serving(temporal, platform):
        caller = Caller(temporal)
        with pytest.raises(NotFound, match="there is no service"):
            await ask(caller, kind, inputs={"a": 1} if kind is OperationKind.UPDATE else {})
        accepted = await caller.request()
        await caller.ended(accepted.number)
        with pytest.raises(Refused, match="never became ready"):
            await ask(caller, kind, inputs={"a": 1} if kind is OperationKind.UPDATE else {})


async def test_what_an_operation_does_not_take_is_refused_in_words(temporal: Client) -> None:
    async with serving(temporal, FakePlatform()):
        caller = Caller(temporal)
        await ready(caller)
        for kind, fields, words in [
            (OperationKind.UPDATE, {}, "names no input to change"),
            (OperationKind.UPDATE, {"inputs": {"a": 1}, "version": "2.0.0"}, "update takes no version"),
            (OperationKind.PATCH, {"inputs": {"a": 1}}, None),
            (OperationKind.ROLLBACK, {"inputs": {"a": 1}}, "rollback takes no inputs"),
            (OperationKind.ROLLBACK, {}, "nothing to roll back to"),
            (OperationKind.RECONCILE, {"dry_run": True}, "changes nothing unless"),
        ]:
            if words is None:
                continue
            with pytest.raises((InvalidInput, Refused), match=words):
                await ask(caller, kind, **fields)
        with pytest.raises(Refused, match="is a postgres, not a queue"):
            await caller.request(kind=OperationKind.PATCH, promise="queue")


async def test_a_patch_that_fails_health_is_back_on_the_old_revision_and_says_both(temporal: Client) -> None:
    platform = FakePlatform(health_seconds=120)
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await ready(caller, version="1.0.0")
        platform.health = [HealthReport(health=Health.UNHEALTHY, message="health: 503")]
        platform.log.clear()
        accepted = await ask(caller, OperationKind.PATCH, version="1.0.1")
        record = await caller.ended(accepted.number)
        state = await caller.state()
    assert record.status is OperationStatus.ROLLED_BACK
    assert await listed(temporal, accepted.id) == "rolled-back"
    assert record.error is not None
    assert record.error.code == Unhealthy.code
    assert record.error.message == "health: 503 (rolled back to postgres@1.0.0)"
    assert [(step.id, step.part) for step in record.steps] == [("main", ""), ("main", "rollback")]
    assert state.resolved is not None
    assert (state.resolved.revision.version, state.phase, state.health) == ("1.0.0", Phase.READY, Health.HEALTHY)
    versions = [
        call.revision.version for call in platform.calls if hasattr(call, "plan") and hasattr(call, "before")
    ]
    assert versions[-2:] == ["1.0.1", "1.0.0"]


async def test_rule_8_a_service_stays_on_its_revision_until_an_operation_moves_it_and_can_go_back(
    temporal: Client,
) -> None:
    platform = FakePlatform()

    async def stands(kind: OperationKind, **fields: Any) -> str:
        await caller.ended((await caller.request(kind=kind, **fields)).number)
        resolved = (await caller.state()).resolved
        assert resolved is not None
        return str(resolved.revision)

    async with serving(temporal, platform):
        caller = Caller(temporal)
        await ready(caller, version="1.0.0")
        assert await stands(OperationKind.RECONCILE, repair=True) == "postgres@1.0.0"
        assert await stands(OperationKind.PATCH, version="1.0.1", dry_run=True) == "postgres@1.0.0"
        assert await stands(OperationKind.PATCH, version="1.0.1") == "postgres@1.0.1"
        assert await stands(OperationKind.RECONCILE) == "postgres@1.0.1"
        assert await stands(OperationKind.ROLLBACK) == "postgres@1.0.0"


@pytest.mark.parametrize(
    ("kind", "version", "probes"),
    [(OperationKind.PATCH, "1.0.1", "patch"), (OperationKind.UPGRADE, "1.1.0", "upgrade")],
)
async def test_probes_of_its_own_decide_about_a_change_and_those_of_the_service_about_going_back(
    temporal: Client, kind: OperationKind, version: str, probes: str
) -> None:
    platform = FakePlatform(
        health_seconds=60,
        day_two=DayTwo(patch_health_seconds=30, upgrade_health_seconds=30, upgrade_approval=False),
    )
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await ready(caller, version="1.0.0")
        platform.calls.clear()
        platform.health = [HealthReport(health=Health.UNHEALTHY, message="health: 503")]
        accepted = await ask(caller, kind, version=version)
        record = await caller.ended(accepted.number)
    assert record.status is OperationStatus.ROLLED_BACK
    probed = [(call.probes, call.revision.version) for call in platform.calls if isinstance(call, HealthCall)]
    assert probed == [(probes, version), ("", "1.0.0")]


async def test_probes_of_its_own_count_for_a_promise_that_has_no_others(temporal: Client) -> None:
    platform = FakePlatform(day_two=DayTwo(patch_health_seconds=30, patch_on_failure="hold"))
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await ready(caller, version="1.0.0")
        platform.health = [HealthReport(health=Health.UNHEALTHY, message="health: 503")]
        accepted = await ask(caller, OperationKind.PATCH, version="1.0.1")
        record = await caller.ended(accepted.number)
        state = await caller.state()
    assert (record.status, record.error and record.error.code) == (OperationStatus.FAILED, Unhealthy.code)
    assert (state.phase, state.health) == (Phase.DEGRADED, Health.UNHEALTHY)
    assert state.resolved is not None
    assert state.resolved.revision.version == "1.0.1", "held where it is"


async def test_a_promise_may_say_hold_instead_of_rolling_back(temporal: Client) -> None:
    platform = FakePlatform(day_two=DayTwo(patch_on_failure="hold"))
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await ready(caller, version="1.0.0")
        platform.scripts["apply main"] = [raising(ToolFailed("half way"))]
        accepted = await ask(caller, OperationKind.PATCH, version="1.0.1")
        record = await caller.ended(accepted.number)
        degraded = await caller.state()
        rolled = await ask(caller, OperationKind.ROLLBACK)
        await caller.ended(rolled.number)
        state = await caller.state()
    assert record.status is OperationStatus.FAILED
    assert (degraded.phase, degraded.resolved and degraded.resolved.revision.version) == (Phase.DEGRADED, "1.0.1")
    assert (state.phase, state.resolved and state.resolved.revision.version) == (Phase.READY, "1.0.0")


async def test_a_change_that_is_refused_before_anything_changed_leaves_the_service_as_it_was(
    temporal: Client,
) -> None:
    platform = FakePlatform()
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await ready(caller, inputs={"size": "small"})
        platform.decisions["main"] = Decision(outcome="deny", findings=(Finding(level="deny", message="no"),))
        accepted = await ask(caller, OperationKind.UPDATE, inputs={"size": "large"})
        record = await caller.ended(accepted.number)
        state = await caller.state()
    assert record.status is OperationStatus.FAILED
    assert state.phase is Phase.READY
    assert state.resolved is not None
    assert state.resolved.inputs == {"size": "small"}


async def test_a_step_that_the_new_revision_no_longer_has_is_destroyed(temporal: Client) -> None:
    platform = FakePlatform(steps=[spec("main"), spec("old", "main")])
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await ready(caller, version="1.0.0")
        platform.steps = [spec("main"), spec("new", "main")]
        platform.log.clear()
        accepted = await ask(caller, OperationKind.UPGRADE, version="1.1.0")
        record = await caller.ended(accepted.number)
        state = await caller.state()
    assert record.status is OperationStatus.SUCCEEDED
    assert platform.done("plan_destroy") == ["old"]
    assert sorted(state.step_outputs) == ["main", "new"]


async def test_hooks_run_before_and_after_and_not_in_a_provision(temporal: Client) -> None:
    hooks = DayTwo(hooks=(spec("backup"), spec("notify")), patch_before=("backup",), patch_after=("notify",))
    platform = FakePlatform(day_two=hooks)
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await ready(caller, version="1.0.0")
        assert platform.done("apply") == ["main"]
        platform.log.clear()
        accepted = await ask(caller, OperationKind.PATCH, version="1.0.1")
        await caller.ended(accepted.number)
    assert platform.done("apply") == ["backup", "main", "notify"]


async def test_requests_at_once_are_served_in_order_each_once(temporal: Client) -> None:
    """More than a workflow takes at a time; `BOND_REQUESTS_AT_ONCE=50 pytest -k requests_at_once` queues fifty."""
    count = int(os.environ.get("BOND_REQUESTS_AT_ONCE", "15"))
    platform = FakePlatform()
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await ready(caller)
        wanted = [ask(caller, OperationKind.UPDATE, inputs={"n": n}, request_id=f"r-{n}") for n in range(count)]
        accepted: list[Accepted] = []
        for batch in range(0, count, 10):  # a workflow takes ten updates at a time
            accepted += await asyncio.gather(*wanted[batch : batch + 10])
        assert sorted(one.number for one in accepted) == list(range(2, count + 2))
        await caller.ended(count + 1)
    ended = [record.operation for record in platform.ledger]
    assert ended == list(range(1, count + 2))
    assert platform.done("apply").count("main") == count + 1


async def test_an_operation_behind_one_that_fails_does_not_rest_on_what_did_not_come_about(
    temporal: Client,
) -> None:
    gate = asyncio.Event()

    async def fail_later() -> None:
        await asyncio.wait_for(gate.wait(), 30)
        raise ToolFailed("no")

    platform = FakePlatform()
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await ready(caller, inputs={"base": 1})
        platform.scripts["plan main"] = [fail_later]
        first = await ask(caller, OperationKind.UPDATE, inputs={"a": 1})
        second = await ask(caller, OperationKind.UPDATE, inputs={"b": 2})
        platform.calls.clear()
        gate.set()
        await caller.ended(second.number)
        failed = await caller.ended(first.number)
    resolved_again = [call for call in platform.calls if hasattr(call, "current_inputs")]
    assert failed.status is OperationStatus.FAILED
    assert [call.current_inputs for call in resolved_again] == [{"base": 1}]


async def test_a_change_that_cannot_be_resolved_is_refused_and_nothing_starts(temporal: Client) -> None:
    platform = FakePlatform()
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await ready(caller)
        platform.scripts["resolve"] = [raising(InputsInvalid("tier: no longer known"))]
        with pytest.raises(InputsInvalid, match="tier: no longer known"):
            await ask(caller, OperationKind.UPGRADE, version="2.0.0")
        state = await caller.state()
    assert state.queue == ()
    assert state.phase is Phase.READY


async def test_a_change_that_is_cancelled_while_it_plans_leaves_the_service_where_it_was(temporal: Client) -> None:
    planning = asyncio.Event()

    async def until_cancelled() -> None:
        planning.set()
        await works_on()

    platform = FakePlatform()
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await caller.request()
        await caller.ended(1)
        platform.scripts["plan main"] = [until_cancelled]
        await caller.request(kind=OperationKind.PATCH, promise="postgres", version="1.0.1")
        await asyncio.wait_for(planning.wait(), 60)
        await caller.update(
            names.UPDATE_CANCEL_OPERATION, CancelCall(number=2, requested_by="bob"), OperationRecord
        )
        record = await caller.ended(2)
        state = await caller.state()
    assert record.status is OperationStatus.CANCELLED
    assert state.phase is Phase.READY
    assert state.resolved is not None
    assert state.resolved.revision.version == "1.0.0"
