"""What a service knows of its parents: who may be bound to it."""

from __future__ import annotations

import pytest

from bondstone.base.errors import Refused
from bondstone.model.service import BindCall, Dependant, Phase, Resolved, RevisionRef, ServiceId, ServiceState
from bondstone.workflows.dependants import check_bind

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
