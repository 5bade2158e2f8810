"""Drift, health and pauses of a service that is ready; real workflows on a real server, fake tools."""

from __future__ import annotations

import pytest
from fakes import Caller, FakePlatform, serving, spec
from operation_kit import ask, ready
from temporalio.client import Client
from temporalio.common import SearchAttributeKey

from bondstone.base import names
from bondstone.base.errors import Refused
from bondstone.model.plan import ChangeCounts
from bondstone.model.service import DayTwo, Health, OperationKind, OperationStatus, PauseCall, Phase
from bondstone.model.step import Drift


async def test_who_paused_a_service_and_why_is_shown_and_in_the_ledger(temporal: Client) -> None:
    platform = FakePlatform()
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await ready(caller)
        await caller.update(names.UPDATE_PAUSE, PauseCall(requested_by="bob", reason="moving house"), type(None))
        paused = await caller.state()
        with pytest.raises(Refused, match="paused already, by bob: moving house"):
            await caller.update(names.UPDATE_PAUSE, PauseCall(requested_by="eve"), type(None))
        await caller.update(names.UPDATE_RESUME, PauseCall(requested_by="eve", reason="moved"), type(None))
        resumed = await caller.state()
    assert (paused.paused_by, paused.pause_reason, paused.paused_at is None) == ("bob", "moving house", False)
    assert (resumed.paused_by, resumed.pause_reason, resumed.paused_at) == ("", "", None)
    *_, first, second = platform.ledger
    assert (first.kind, first.by, first.reason) == ("pause", "bob", "moving house")
    assert (second.kind, second.by, second.reason) == ("resume", "eve", "moved")
    assert second.previous, "a link of the chain"


async def test_reconcile_reports_drift_and_changes_nothing_unless_asked(temporal: Client) -> None:
    platform = FakePlatform(steps=[spec("a"), spec("b")])
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await ready(caller)
        platform.log.clear()
        platform.drift["a"] = Drift(addresses=("x.y",), count=1, counts=ChangeCounts(update=1))
        looked = await caller.ended((await ask(caller, OperationKind.RECONCILE)).number)
        reported, shown = await caller.state(), await drift_in_lists(caller)
        assert platform.done("apply") == []
        repaired = await caller.ended((await ask(caller, OperationKind.RECONCILE, repair=True)).number)
        state, no_longer = await caller.state(), await drift_in_lists(caller)
    assert (shown, no_longer) == (1, None)
    assert (looked.status, looked.drift, looked.steps[0].drift) == (OperationStatus.SUCCEEDED, 1, ("x.y",))
    assert (reported.drift, reported.phase) == (1, Phase.READY)
    assert (repaired.status, repaired.drift, state.drift) == (OperationStatus.SUCCEEDED, 0, 0)
    assert platform.done("apply") == ["a"]


async def drift_in_lists(caller: Caller) -> int | None:
    """What lists show of the service's drift."""
    description = await caller.handle.describe()
    return description.typed_search_attributes.get(SearchAttributeKey.for_int(names.SA_DRIFT))


async def test_a_failed_check_is_in_the_operation_and_in_the_health_of_the_service_until_it_passes(
    temporal: Client,
) -> None:
    platform = FakePlatform(
        steps=[spec("a"), spec("b")],
        failed_checks={"a": ("check.c: down",)},
        warnings={"b": ("web/Touch it is not idempotent",)},
        health_seconds=1,
    )
    async with serving(temporal, platform):
        caller = Caller(temporal)
        record = await caller.ended((await caller.request()).number)
        failing = await caller.state()
        await caller.ended((await ask(caller, OperationKind.RECONCILE)).number)  # the fake finds no fault
        mended = await caller.state()
        platform.drift["b"] = Drift(failed_checks=("check.d: late",))
        await caller.ended((await ask(caller, OperationKind.RECONCILE)).number)
        again = await caller.state()
        last = await caller.ended((await ask(caller, OperationKind.DECOMMISSION)).number)
    assert record.status is OperationStatus.SUCCEEDED, "a check stops nothing"
    assert [step.warnings for step in record.steps] == [(), ("web/Touch it is not idempotent",)]
    assert {step.id: step.warnings for step in last.steps} == {"a": (), "b": ("web/Touch it is not idempotent",)}
    assert [step.failed_checks for step in record.steps] == [("check.c: down",), ()]
    assert (failing.failed_checks, failing.health) == ({"a": ("check.c: down",)}, Health.HEALTHY)
    assert failing.condition is Health.UNHEALTHY
    assert (mended.failed_checks, mended.condition) == ({}, Health.HEALTHY)
    assert (again.failed_checks, again.condition) == ({"b": ("check.d: late",)}, Health.UNHEALTHY)


async def test_a_service_looks_for_drift_by_its_own_timer_and_a_pause_stops_it(temporal: Client) -> None:
    platform = FakePlatform(day_two=DayTwo(reconcile_seconds=1))
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await ready(caller)
        first = await caller.ended(2)
        second = await caller.ended(3)
        await caller.update(names.UPDATE_PAUSE, PauseCall(requested_by="bob"), type(None))
        with pytest.raises(Refused, match="paused already, by bob"):
            await caller.update(names.UPDATE_PAUSE, PauseCall(), type(None))
        paused = await caller.state()
        assert paused.next_due is None
        updated = await ask(caller, OperationKind.UPDATE, inputs={"a": 1})  # what people ask for still runs
        await caller.ended(updated.number)
        assert (await caller.state()).next_due is None
        await caller.update(names.UPDATE_RESUME, PauseCall(), type(None))
        again = await caller.ended(updated.number + 1)
    assert {record.kind for record in (first, second, again)} == {OperationKind.RECONCILE}
    assert {record.requested_by for record in (first, second, again)} == {"bondstone"}
