"""The inbox of approvals: what waits for people, what it would do, and the vote beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from starlette.responses import Response

from bondstone.api.state import ApiState, State
from bondstone.base.errors import BondError
from bondstone.client.documents.step import ApprovalDocument, PlanDocument
from bondstone.console.pages import View, shown
from bondstone.console.rendering import ordered
from bondstone.console.session import Visit, Visitor
from bondstone.model import approval
from bondstone.model.identity import Target
from bondstone.model.service import Need, Vote

MAX_ON_PAGE: Final = 25
MAX_DESTROYED: Final = 5
"""Addresses of what a plan destroys that are named; the operation's page has all."""
DESTROYS: Final = frozenset({"replace", "delete", "forget"})
INBOX: Final = "/approvals"

Show = Literal["all", "roles", "mine"]

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Waiting:
    """One plan that waits, as the inbox shows it."""

    item: ApprovalDocument
    plan: PlanDocument | None
    """None: the visitor may not read it, or it cannot be read now"""
    refusal: str
    """Why the visitor has no vote; empty where they have one"""

    @property
    def may_vote(self) -> bool:
        """Whether the visitor has a vote."""
        return not self.refusal

    @property
    def destroyed(self) -> list[str]:
        """What the plan would destroy, in words."""
        changes = self.plan.changes if self.plan else ()
        return [f"{change.action} {change.address}" for change in ordered(changes) if change.action in DESTROYS]

    @property
    def roles(self) -> str:
        """Every role that is asked, parted by commas."""
        return ", ".join(dict.fromkeys(role for need in self.item.needs for role in need.roles))


@router.get(INBOX)
async def approvals(
    visitor: Visit,
    state: State,
    *,
    show: Show = "all",
    start: Annotated[int, Query(alias="from", ge=0, le=100_000)] = 0,
    voted: Annotated[str, Query(max_length=120)] = "",
) -> Response:
    """Every plan that waits for people: all that the visitor may see, of their roles, or asked for by them."""
    await state.services.ready()  # they have the labels that a role may be granted for
    permitted = visitor.permissions.filter("approval.read")
    waiting = [item for item in await visitor.bond.approvals.list() if permitted(target(state, item))]
    refusals = {(item.operation, item.step): why_not(visitor, item, target(state, item)) for item in waiting}
    groups = {
        "all": waiting,
        "roles": [item for item in waiting if not refusals[item.operation, item.step]],
        "mine": [item for item in waiting if item.requested_by == visitor.name],
    }
    page = groups[show][start : start + MAX_ON_PAGE]
    plans = await asyncio.gather(*(_plan(visitor, item, target(state, item)) for item in page))
    following = start + MAX_ON_PAGE if start + MAX_ON_PAGE < len(groups[show]) else 0
    view = View(
        "approvals.html", INBOX, show=show, counted={name: len(items) for name, items in groups.items()},
        waiting=[Waiting(item, plan, refusals[item.operation, item.step])
                 for item, plan in zip(page, plans, strict=True)],
        back=f"{INBOX}?{urlencode({'show': show})}", most=MAX_DESTROYED, voted=await _voted(visitor, voted),
        next=urlencode({"show": show, "from": following}) if following else "", start=start,
    )  # fmt: skip
    return shown(view, visitor)


def why_not(visitor: Visitor, item: ApprovalDocument, about: Target) -> str:
    """Why the visitor cannot vote on a plan; empty where they can. The gate has the last word.

    Args:
        visitor: Who looks.
        item: What waits.
        about: What waits, as access documents see it.
    """
    decision = visitor.permissions.decide("approval.approve", about)
    if not decision.allowed:
        return "Your roles do not approve here."
    needs = [Need(**need.model_dump()) for need in item.needs]
    named = tuple({role for need in needs for role in need.roles})
    roles = named if visitor.principal.may_assert else decision.approver_roles
    if not any(approval.may(need, roles) for need in needs):
        return "None of your roles may approve this."
    if any(vote.by == visitor.name for vote in item.votes):
        return "You have voted on this plan."
    vote = Vote(by=visitor.name, roles=roles, approve=True, at=item.asked_at)
    if not any(approval.votes_for(need, [vote], item.requested_by) for need in needs):
        return "You asked for this, so another person approves it."
    return ""


def target(state: ApiState, item: ApprovalDocument) -> Target:
    """What waits, as access documents see it: its service, also one that the index does not have yet."""
    service = item.operation.partition("/op/")[0]
    entry = state.services.get(service)
    if entry is not None:
        return entry.target
    return Target(team=service.partition("/")[0], promise=item.revision.partition("@")[0], name=service)


# Helpers ---------------------------------------------------------------------------------------------------------


async def _plan(visitor: Visitor, item: ApprovalDocument, about: Target) -> PlanDocument | None:
    if not visitor.permissions.decide("operation.plan", about).allowed:
        return None
    try:
        plans: Sequence[PlanDocument] = await visitor.bond.operations.plans(item.operation, step=item.step)
    except BondError:
        return None  # the inbox is worth showing without it
    return next((plan for plan in plans if plan.digest == item.digest), None)


async def _voted(visitor: Visitor, operation: str) -> tuple[str, str, bool] | None:
    """Operation, step and kind of the visitor's newest vote there: read, not believed of the address."""
    if not operation:
        return None
    try:
        document = await visitor.bond.operations.get(operation)
    except BondError:
        return None
    votes = [(gate.step, vote) for gate in document.approvals for vote in gate.votes if vote.by == visitor.name]
    if not votes:
        return None
    step, vote = max(votes, key=lambda each: each[1].at)
    return document.id, step, vote.approve
