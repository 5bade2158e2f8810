"""Day two: changes, the gate, drift, pauses; real workflows on a real server, fake tools."""

from __future__ import annotations

import asyncio
import itertools
import os
from functools import partial
from typing import Any

import pytest
from fakes import Caller, FakePlatform, raising, serving, spec
from temporalio import activity
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle
from temporalio.common import SearchAttributeKey

from bondstone.base import names
from bondstone.base.errors import (
    ApprovalRejected,
    AttestationInvalid,
    InputsInvalid,
    InvalidInput,
    NotFound,
    PlanStale,
    Refused,
    ToolFailed,
    Unhealthy,
    VoteStale,
)
from bondstone.model.plan import ChangeCounts, Decision, Finding
from bondstone.model.service import (
    AbandonCall,
    Accepted,
    Approval,
    CancelCall,
    DayTwo,
    Health,
    OperationKind,
    OperationRecord,
    OperationStatus,
    PauseCall,
    Phase,
    StepStatus,
    VoteCall,
)
from bondstone.model.step import ApplyCall, Drift, HealthCall, HealthReport
from bondstone.temporal import calls
from harness.waiting import pauses

ASK = Decision(
    outcome="approval",
    findings=(Finding(level="approval", message="big", roles=("dba", "sre"), count=2),),
)


async def ready(caller: Caller, **request: Any) -> None:
    """A service that is ready, and of what is asked later only that is in the log."""
    accepted = await caller.request(**request)
    record = await caller.ended(accepted.number)
    assert record.status is OperationStatus.SUCCEEDED


def ask(caller: Caller, kind: OperationKind, **fields: Any) -> Any:
    return caller.request(kind=kind, promise="", **fields)


def operation(client: Client, accepted: Accepted) -> WorkflowHandle[Any, Any]:
    return client.get_workflow_handle(f"service/{accepted.id}")


async def waiting(client: Client, accepted: Accepted, step: str = "main") -> Approval:
    """The gate of a step, once it waits."""
    for pause in pauses():
        try:
            record = await calls.query(client, f"service/{accepted.id}", OperationRecord)
        except NotFound:
            record = None
        for approval in record.approvals if record else ():
            if approval.step == step and approval.status == "waiting":
                return approval
        await asyncio.sleep(pause)
    raise AssertionError


async def in_phase(caller: Caller, phase: Phase) -> None:
    """Return once the service says that it is in a phase."""
    for pause in pauses():
        if (await caller.state()).phase is phase:
            return
        await asyncio.sleep(pause)


async def vote(client: Client, accepted: Accepted, call: VoteCall, *, approve: bool = True) -> Approval:
    name = names.UPDATE_APPROVE if approve else names.UPDATE_REJECT
    return await calls.update(client, f"service/{accepted.id}", name, call, Approval)


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


@pytest.mark.parametrize(
    ("kind", "version", "own"),
    [(OperationKind.PATCH, "1.0.1", "patch"), (OperationKind.UPGRADE, "1.1.0", "upgrade")],
)
async def test_probes_of_its_own_decide_about_a_change_and_those_of_the_service_about_going_back(
    temporal: Client, kind: OperationKind, version: str, own: str
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
    assert probed == [(own, version), ("", "1.0.0")]


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


async def test_rule_3_the_gate_waits_for_n_of_m_by_role_and_applies_exactly_what_was_approved(
    temporal: Client,
) -> None:
    platform = FakePlatform(decisions={"main": ASK})
    async with serving(temporal, platform):
        caller = Caller(temporal)
        accepted = await caller.request(requested_by="ada")
        approval = await waiting(temporal, accepted)
        await in_phase(caller, Phase.AWAITING_APPROVAL)
        ballot = VoteCall(step="main", digest=approval.digest, by="bob", roles=("dba",))
        with pytest.raises(VoteStale, match=r"waits for approval of plan .*, and this vote names 0000"):
            await vote(temporal, accepted, ballot.changed(digest="0" * 64))
        for wrong, words in [
            (ballot.changed(step="other"), "waits for nobody"),
            (ballot.changed(roles=("intern",)), "none of the roles that are asked: dba, sre"),
            (ballot.changed(by="ada"), "another person must approve"),
        ]:
            with pytest.raises(Refused, match=words):
                await vote(temporal, accepted, wrong)
        assert (await vote(temporal, accepted, ballot)).status == "waiting"
        with pytest.raises(Refused, match="has voted on this plan already"):
            await vote(temporal, accepted, ballot)
        assert platform.done("apply") == []
        second = ballot.changed(by="eve", roles=("sre",))
        assert (await vote(temporal, accepted, second)).status == "approved"
        record = await caller.ended(accepted.number)
        with pytest.raises((NotFound, Refused)):
            await vote(temporal, accepted, second.changed(by="joe"))
    assert record.status is OperationStatus.SUCCEEDED
    applied = [call for call in platform.calls if isinstance(call, ApplyCall)]
    assert [call.plan.digest for call in applied] == [approval.digest]
    assert [entry.kind for entry in platform.ledger] == ["approval", "approval", "operation"]


async def test_a_rejection_ends_the_operation_with_its_reason(temporal: Client) -> None:
    platform = FakePlatform(decisions={"main": ASK})
    async with serving(temporal, platform):
        caller = Caller(temporal)
        accepted = await caller.request()
        approval = await waiting(temporal, accepted)
        ballot = VoteCall(step="main", digest=approval.digest, by="bob", roles=("dba",))
        with pytest.raises(InvalidInput, match="needs a reason"):
            await vote(temporal, accepted, ballot, approve=False)
        no = ballot.changed(comment="not this week")
        await vote(temporal, accepted, no, approve=False)
        record = await caller.ended(accepted.number)
    assert record.status is OperationStatus.REJECTED
    assert record.error is not None
    assert (record.error.code, record.error.message) == (
        ApprovalRejected.code,
        "bob rejected the plan of step main: not this week",
    )
    assert platform.done("apply") == []
    assert [entry.kind for entry in platform.ledger] == ["rejection", "operation"]


async def test_an_approval_that_expires_is_a_rejection(temporal: Client) -> None:
    soon = Finding(level="approval", message="big", expires_seconds=1)
    platform = FakePlatform(decisions={"main": Decision(outcome="approval", findings=(soon,))})
    async with serving(temporal, platform):
        caller = Caller(temporal)
        accepted = await caller.request()
        record = await caller.ended(accepted.number)
    assert record.status is OperationStatus.REJECTED
    assert record.approvals[0].status == "expired"


@pytest.mark.parametrize("covered", [True, False])
async def test_rule_3_a_stale_plan_goes_back_to_the_gate_unless_it_is_covered(
    temporal: Client,
    covered: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    platform = FakePlatform(
        decisions={"main": ASK},
        covered=covered,
        scripts={"apply main": [raising(PlanStale("the state moved"))]},
    )
    async with serving(temporal, platform):
        caller = Caller(temporal)
        accepted = await caller.request()
        first = await waiting(temporal, accepted)
        for by, role in (("bob", "dba"), ("eve", "sre")):
            await vote(temporal, accepted, VoteCall(step="main", digest=first.digest, by=by, roles=(role,)))
        if not covered:
            again = await waiting(temporal, accepted)
            assert again.digest != first.digest
            for by, role in (("bob", "dba"), ("eve", "sre")):
                await vote(temporal, accepted, VoteCall(step="main", digest=again.digest, by=by, roles=(role,)))
        record = await caller.ended(accepted.number)
    assert record.status is OperationStatus.SUCCEEDED
    assert len(record.approvals) == (1 if covered else 2)


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


async def test_a_patch_that_would_delete_something_asks_people(temporal: Client) -> None:
    platform = FakePlatform()
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await ready(caller, version="1.0.0")
        platform.counts["main"] = ChangeCounts(replace=1)
        accepted = await ask(caller, OperationKind.PATCH, version="1.0.1")
        approval = await waiting(temporal, accepted)
        assert "delete or replace" in approval.needs[0].reason
        await vote(temporal, accepted, VoteCall(step="main", digest=approval.digest, by="bob"))
        record = await caller.ended(accepted.number)
    assert record.status is OperationStatus.SUCCEEDED


@pytest.mark.parametrize(("version", "asks"), [("1.1.0", False), ("2.0.0", True)])
async def test_a_major_upgrade_asks_people(temporal: Client, version: str, asks: bool) -> None:  # noqa: FBT001
    platform = FakePlatform()
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await ready(caller, version="1.0.0")
        accepted = await ask(caller, OperationKind.UPGRADE, version=version)
        if asks:
            approval = await waiting(temporal, accepted)
            await vote(temporal, accepted, VoteCall(step="main", digest=approval.digest, by="bob"))
        record = await caller.ended(accepted.number)
    assert record.status is OperationStatus.SUCCEEDED
    assert bool(record.approvals) is asks


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
        steps=[spec("a"), spec("b")], failed_checks={"a": ("check.c: down",)}, health_seconds=1
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
        await caller.ended((await ask(caller, OperationKind.DECOMMISSION)).number)
    assert record.status is OperationStatus.SUCCEEDED, "a check stops nothing"
    assert [step.failed_checks for step in record.steps] == [("check.c: down",), ()]
    assert (failing.failed_checks, failing.health) == ({"a": ("check.c: down",)}, Health.HEALTHY)
    assert failing.condition is Health.UNHEALTHY
    assert (mended.failed_checks, mended.condition) == ({}, Health.HEALTHY)
    assert (again.failed_checks, again.condition) == ({"b": ("check.d: late",)}, Health.UNHEALTHY)


async def test_a_patch_that_lets_go_of_something_asks(temporal: Client) -> None:
    platform = FakePlatform(counts={"main": ChangeCounts(forget=1)})
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await ready(caller)
        accepted = await ask(caller, OperationKind.PATCH, version="1.0.1")
        approval = await waiting(temporal, accepted)
        call = CancelCall(number=accepted.number, requested_by="bob")
        await caller.update(names.UPDATE_CANCEL_OPERATION, call, OperationRecord)
    assert [need.reason for need in approval.needs] == [
        "the patch would delete, replace or forget something: +0 ~0 ±0 -0, 1 to forget"
    ]


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


async def test_a_service_that_may_not_be_abandoned_lives_on(temporal: Client) -> None:
    platform = FakePlatform(scripts={"put away": [raising(AttestationInvalid("of another change"))]})
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await ready(caller)
        call = AbandonCall(requested_by="bob", reason="moved")
        with pytest.raises(AttestationInvalid, match="of another change"):
            await caller.update(names.UPDATE_ABANDON, call, type(None))
        updated = await ask(caller, OperationKind.UPDATE, inputs={"a": 1})
        assert (await caller.ended(updated.number)).status is OperationStatus.SUCCEEDED


async def test_a_service_that_is_being_abandoned_looks_for_drift_no_more(temporal: Client) -> None:
    platform = FakePlatform(day_two=DayTwo(reconcile_seconds=2))
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await ready(caller)

        async def times_due() -> int:
            events = (await caller.handle.fetch_history()).events
            return sum(event.event_type == EventType.EVENT_TYPE_TIMER_FIRED for event in events)

        async def until_due_again(before: int) -> None:
            for pause in pauses():
                if await times_due() > before:
                    return
                await asyncio.sleep(pause)

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
        while True:
            activity.heartbeat()
            await asyncio.sleep(0.1)

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
