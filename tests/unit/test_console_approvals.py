"""The inbox of approvals: who has a vote and why not, and what a plan destroys."""

from datetime import UTC, datetime

import pytest

from bondstone.client.documents.step import (
    ApprovalDocument,
    ChangeDocument,
    ChangesDocument,
    NeedDocument,
    PlanDocument,
    VoteDocument,
)
from bondstone.console.approvals import Waiting, why_not
from bondstone.console.session import Visitor
from bondstone.identity.access import Access, permissions_of
from bondstone.model.identity import Principal, Roles, Target

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
ABOUT = Target(team="shop", promise="postgres", name="shop/cart")


def visitor(name: str, *roles: str, means: str = "oidc") -> Visitor:
    principal = Principal(subject=name, means=means, grants=(Roles(roles=roles, scope=None),) if roles else ())
    return Visitor(principal, permissions_of(Access(), principal), "csrf", bond=None, note=print)


def waits(*needs: NeedDocument, votes: tuple[VoteDocument, ...] = ()) -> ApprovalDocument:
    return ApprovalDocument(
        operation="shop/cart/op/2", step="database", digest="a" * 64, status="waiting", kind="update",
        revision="postgres@1.0.0", requested_by="ada", asked_at=NOON, needs=needs, missing=("1 of dba",),
        votes=votes,
    )  # fmt: skip


DBA = NeedDocument(roles=("dba",), reason="it is large")
ANYBODY = NeedDocument(reason="the request asks for an approval")
OWN = NeedDocument(roles=("dba",), allow_requester=True)
VOTED = (VoteDocument(by="eve", approve=True, at=NOON),)


@pytest.mark.parametrize(
    ("who", "item", "words"),
    [
        (visitor("eve", "approver:dba"), waits(DBA), ""),
        (visitor("eve", "approver:sre"), waits(ANYBODY), ""),
        (visitor("eve", "approver:sre"), waits(DBA), "None of your roles may approve this."),
        (visitor("eve", "developer"), waits(DBA), "Your roles do not approve here."),
        (visitor("eve"), waits(DBA), "Your roles do not approve here."),
        (visitor("eve", "approver:dba"), waits(DBA, votes=VOTED), "You have voted on this plan."),
        (visitor("ada", "approver:dba"), waits(DBA), "You asked for this, so another person approves it."),
        (visitor("ada", "approver:dba"), waits(OWN), ""),
        (visitor("eve", "admin", means="local"), waits(DBA), ""),
    ],
)
def test_a_visitor_without_a_vote_reads_why(who, item, words):
    assert why_not(who, item, ABOUT) == words


def test_what_a_plan_destroys_is_named_and_nothing_else():
    changes = [
        ChangeDocument(address="a.made", action="create"),
        ChangeDocument(address="b.gone", action="delete"),
        ChangeDocument(address="c.anew", action="replace"),
        ChangeDocument(address="d.left", action="forget"),
        ChangeDocument(address="e.other", action="update"),
    ]
    plan = PlanDocument(
        operation="shop/cart/op/2", step="database", digest="a" * 64, counts=ChangesDocument(), changes=changes
    )
    waiting = Waiting(waits(DBA, OWN), plan, "")
    assert waiting.destroyed == ["replace c.anew", "delete b.gone", "forget d.left"]
    assert waiting.roles == "dba"
    assert waiting.may_vote
    assert Waiting(waits(DBA), None, "no").destroyed == []
