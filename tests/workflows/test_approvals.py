"""Plans that wait for people: gates, votes, stale plans; real workflows on a real server, fake tools."""

from __future__ import annotations

import pytest
from fakes import Caller, FakePlatform, raising, serving
from operation_kit import ASK, ask, in_phase, listed, ready, vote, waiting
from temporalio.client import Client

from bondstone.base import names
from bondstone.base.errors import ApprovalRejected, InvalidInput, NotFound, PlanStale, Refused, VoteStale
from bondstone.model.plan import ChangeCounts, Decision, Finding
from bondstone.model.service import CancelCall, OperationKind, OperationRecord, OperationStatus, Phase, VoteCall
from bondstone.model.step import ApplyCall


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
            (ballot.changed(step="other"), "waits for no approval"),
            (ballot.changed(roles=("intern",)), "none of the required roles: dba, sre"),
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
    assert await listed(temporal, accepted.id) == "rejected"
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
