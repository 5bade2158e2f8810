"""What a service knows of its parents: who may be bound to it, and who may take it over."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from unittest.mock import MagicMock

import pytest

from bondstone.activities.service.desired import plan_for, plan_to_let_go
from bondstone.activities.service.executor import ServiceExecutor
from bondstone.activities.service.operations import PartOperations
from bondstone.activities.service.section import ServiceSection
from bondstone.base.errors import AlreadyExists, BondError, Changed, InvalidInput, Refused, Unreachable
from bondstone.model.service import (
    BindCall,
    Dependant,
    OperationKind,
    OperationRecord,
    OperationStatus,
    PendingOperation,
    Phase,
    Request,
    Resolved,
    RevisionRef,
    ServiceId,
    ServiceState,
)
from bondstone.workflows.admission import check_request
from bondstone.workflows.dependants import MAX_DEPENDANTS, check_bind

READY = Resolved(revision=RevisionRef(promise="leaf", version="1.0.0", digest="0" * 64))


def well(**fields) -> ServiceState:
    known = {"resolved": READY, "healthy": (READY,), "resting": Phase.READY, "phase": Phase.READY}
    return ServiceState(service=ServiceId(team="house", name="well"), **known | fields)


def asked_by(team: str) -> BindCall:
    return BindCall(parent=Dependant(service=ServiceId(team=team, name="one"), alias="part"))


@pytest.mark.parametrize("label", ["shop", "web shop", "*"])
def test_a_team_shares_its_service_with_whom_it_says(label: str) -> None:
    check_bind(well(labels={"share-with": label}), asked_by("shop"))


def test_a_team_needs_no_word_of_its_own_and_whoever_is_bound_stays() -> None:
    check_bind(well(), asked_by("house"))
    bound = Dependant(service=ServiceId(team="shop", name="two"), alias="part")
    check_bind(well(dependants=(bound,)), asked_by("shop"))


@pytest.mark.parametrize("labels", [{}, {"share-with": "web"}, {"share-with": "shopping"}])
def test_a_service_of_another_team_is_not_bound_to_without_its_word(labels: dict[str, str]) -> None:
    with pytest.raises(Refused, match="belongs to house, which does not share it with shop"):
        check_bind(well(labels=labels), asked_by("shop"))


OWNER = Dependant(service=ServiceId(team="house", name="one"), alias="part", versions=">=1.0 <2", owns=True)
GIVEN = {"labels": {"give-to": "house/two house/one"}}
SECTION = ServiceSection(promise="leaf", version=">=1.0 <2", service="house/well")


def takes_over(state: ServiceState, inputs: dict[str, str] | None = None, section: ServiceSection = SECTION):
    return plan_for(section, OWNER, state, newest="1.0.0", inputs=inputs or {})


def test_a_service_that_was_given_is_taken_over_as_it_stands() -> None:
    plan = takes_over(well(**GIVEN))
    assert (plan.verb, plan.inputs, plan.kind) == ("adopt", {}, None)
    assert plan.parent == OWNER.changed(adopted=True)
    check_bind(well(**GIVEN), BindCall(parent=plan.parent, expected_state=plan.state))


@pytest.mark.parametrize(
    ("fields", "inputs", "section", "words"),
    [
        ({}, {}, SECTION, "give it to its parent: bond service label house/well give-to=house/one"),
        ({"labels": {"give-to": "house/onerous"}}, {}, SECTION, "is not a part of house/one"),
        ({**GIVEN}, {}, SECTION.changed(promise="tree"), "is a leaf, not a tree"),
        ({**GIVEN}, {}, SECTION.changed(version=">=2"), "is at 1.0.0, and house/one accepts >=2"),
        ({**GIVEN}, {"size": "large"}, SECTION, "has other inputs than house/one wants: size"),
        ({**GIVEN, "resting": Phase.FAILED, "phase": Phase.FAILED}, {}, SECTION, "is failed, so it is not taken"),
        (
            {**GIVEN, "dependants": (OWNER.changed(service=ServiceId(team="house", name="two")),)},
            {},
            SECTION,
            "is a part of house/two already",
        ),
    ],
)
def test_a_service_that_does_not_fit_is_not_taken_over(fields, inputs, section, words: str) -> None:
    with pytest.raises(BondError) as refused:
        takes_over(well(**fields), inputs, section)
    assert words in f"{refused.value.message} {refused.value.hint}"


def test_what_changed_since_the_plan_or_lost_its_label_is_not_taken_over() -> None:
    plan = takes_over(well(**GIVEN))
    call = BindCall(parent=plan.parent, expected_state=plan.state)
    with pytest.raises(Changed, match="since its parent planned"):
        check_bind(well(**GIVEN, drift=1), call)
    with pytest.raises(AlreadyExists):
        check_bind(well(), call.changed(expected_state=""))


@pytest.mark.parametrize(
    ("adopted", "word", "verb"),
    [(False, "release", "decommission"), (True, "release", "release"), (True, "decommission", "decommission")],
)
def test_at_its_parents_end_a_part_goes_or_stays_as_it_came_and_as_the_promise_says(
    adopted: bool,  # noqa: FBT001 - parameters of cases
    word: str,
    verb: str,
) -> None:
    part = well(dependants=(OWNER.changed(adopted=adopted),))
    assert plan_to_let_go(SECTION.changed(adopted=word), OWNER, part).verb == verb


def test_an_owned_part_hears_which_versions_its_parent_accepts_now() -> None:
    part = well(dependants=(OWNER.changed(adopted=True, versions=">=0"),))
    plan = takes_over(part)
    assert (plan.verb, plan.parent) == ("bind", OWNER.changed(adopted=True))
    check_bind(part.changed(resting=Phase.DEGRADED), BindCall(parent=plan.parent))


def test_a_hundred_services_may_share_one_and_no_more() -> None:
    others = tuple(
        Dependant(service=ServiceId(team="house", name=f"n{number}"), alias="part")
        for number in range(MAX_DEPENDANTS)
    )
    check_bind(well(dependants=others[1:]), asked_by("house"))
    with pytest.raises(Refused, match="house/well is a part of 100 services already"):
        check_bind(well(dependants=others), asked_by("house"))


@pytest.mark.parametrize("kind", sorted(set(OperationKind) - {OperationKind.RECONCILE}))
def test_only_a_reconcile_is_asked_to_take_parts_along(kind: OperationKind) -> None:
    request = Request(request_id="r", kind=kind, requested_by="ada", with_parts=True)
    with pytest.raises(InvalidInput, match=f"{kind} takes its parts along by itself"):
        check_request(well(), request)
    check_request(well(), request.changed(kind=OperationKind.RECONCILE))


SHARED = ServiceSection(promise="leaf", version=">=1.0 <2", service="house/well", bind=True)


def provisioning(number: int = 1) -> ServiceState:
    record = OperationRecord(
        service=ServiceId(team="house", name="well"), number=number, kind=OperationKind.PROVISION,
        status=OperationStatus.RUNNING, revision=READY.revision, request_id="r", requested_by="ada",
        requested_at=datetime(2026, 1, 31, 12, tzinfo=UTC),
    )  # fmt: skip
    return well(
        resolved=None,
        healthy=(),
        phase=Phase.PROVISIONING,
        queue=(PendingOperation(record=record, resolved=READY),),
    )


@pytest.mark.parametrize(
    ("section", "waits"), [(SHARED, True), (SECTION, False)], ids=["shared", "made for its parent"]
)
async def test_a_shared_service_that_is_being_provisioned_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, section: ServiceSection, *, waits: bool
) -> None:
    """It was requested just before what shares it, as by `bond apply` of both."""
    executor, ended = ServiceExecutor(client=MagicMock(), store=MagicMock()), []

    async def end(_: Any, accepted: Any) -> None:
        ended.append(accepted.id)

    async def state(_: Any, __: str) -> ServiceState:
        return well()

    monkeypatch.setattr(PartOperations, "ended", end)
    monkeypatch.setattr("bondstone.activities.service.executor.state_of", state)
    monkeypatch.setattr("bondstone.activities.service.executor.COMMIT_SECONDS", 0.0)
    context: Any = None
    result = await executor._provisioned(context, section, provisioning())
    assert (ended, result) == ((["house/well/op/1"], well()) if waits else ([], provisioning()))


async def test_a_shared_service_that_has_not_committed_is_waited_for_by_the_next_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    executor = ServiceExecutor(client=MagicMock(), store=MagicMock())

    async def end(_: Any, accepted: Any) -> None:
        """It has ended."""

    async def state(_: Any, __: str) -> ServiceState:
        return provisioning()

    monkeypatch.setattr(PartOperations, "ended", end)
    monkeypatch.setattr("bondstone.activities.service.executor.state_of", state)
    monkeypatch.setattr("bondstone.activities.service.executor.COMMIT_SECONDS", 0.0)
    context: Any = None
    with pytest.raises(Unreachable, match="house/well/op/1 is not committed yet"):
        await executor._provisioned(context, SHARED, provisioning())
