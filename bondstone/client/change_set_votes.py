"""The plans of a campaign's targets that wait for an approval, and one vote for all with the same changes.

Every vote is about one exact plan still: this finds the plans that do the same to different services, and votes on
the digest of each. It needs nothing but the client's verbs, so it works over any transport.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from bondstone.base.errors import BondError, InvalidInput, NotFound
from bondstone.client.documents.campaign_plan import CampaignVote, ChangeSetDocument

if TYPE_CHECKING:
    from bondstone.client.bondstone import Bondstone
    from bondstone.client.documents.step import ApprovalDocument, ChangeDocument, PlanDocument

READS_AT_ONCE: Final = 8
ID_CHARACTERS: Final = 12


async def change_sets(bond: Bondstone, campaign: str) -> list[ChangeSetDocument]:
    """The plans of a campaign's targets that wait, by what they do; the largest group first.

    Args:
        bond: The client.
        campaign: Name of the campaign.
    """
    gates = [gate for gate in await bond.approvals.list() if gate.campaign == campaign]
    limit = asyncio.Semaphore(READS_AT_ONCE)

    async def plan_of(gate: ApprovalDocument) -> PlanDocument | None:
        async with limit:
            plans = await bond.operations.plans(gate.operation, step=gate.step)
        return next((plan for plan in plans if plan.digest == gate.digest), None)

    groups: dict[str, list[tuple[ApprovalDocument, PlanDocument]]] = {}
    for gate, plan in zip(gates, await asyncio.gather(*map(plan_of, gates)), strict=True):
        if plan is not None:  # else it was planned anew this moment
            groups.setdefault(_id(gate.step, plan), []).append((gate, plan))
    change_groups = [
        ChangeSetDocument(
            id=name,
            step=members[0][0].step,
            changes=tuple(map(_words, members[0][1].changes)),
            counts=members[0][1].counts,
            approvals=tuple(gate for gate, _ in members),
        )
        for name, members in groups.items()
    ]
    return sorted(change_groups, key=lambda group: (-len(group.approvals), group.step, group.id))


async def approve(
    bond: Bondstone,
    campaign: str,
    *,
    changes: str = "",
    roles: Sequence[str] = (),
    comment: str = "",
) -> tuple[ChangeSetDocument, list[CampaignVote]]:
    """Approve every plan of a campaign that has the same change set, each by its own digest.

    Args:
        bond: The client.
        campaign: Name of the campaign.
        changes: Beginning of the id of the change set; may be left out where only one waits.
        roles: In which you act, as asserted.
        comment: For the record.

    Returns:
        The change set, and what became of the vote on each of its plans.

    Raises:
        NotFound: no plan of the campaign waits, or none with that change set.
        InvalidInput: plans with several change sets wait, and none is named.
    """
    groups = await change_sets(bond, campaign)
    if not groups:
        raise NotFound(
            f"no plan of campaign {campaign} waits for an approval",
            hint=f"`bond campaign show {campaign}` says what it waits for",
        )
    named = [group for group in groups if group.id.startswith(changes)]
    if not named:
        raise NotFound(f"no plan that waits has the change set {changes}", where=campaign, hint=_which(campaign))
    if len(named) > 1:
        sets = "; ".join(f"{group.id} ({len(group.approvals)} plans: {group.counts!s})" for group in named)
        raise InvalidInput(
            f"plans with {len(named)} different change sets wait: {sets}",
            where=f"campaign {campaign}",
            hint=f"{_which(campaign)}; name one with --changes",
        )

    async def vote(gate: ApprovalDocument) -> CampaignVote:
        about = {"operation": gate.operation, "step": gate.step, "digest": gate.digest}
        try:
            voted = await bond.approvals.approve(
                gate.operation, gate.digest, step=gate.step, roles=roles, comment=comment
            )
        except BondError as error:
            return CampaignVote(**about, error=error.info())
        return CampaignVote(**about, approval=voted)

    return named[0], [await vote(gate) for gate in named[0].approvals]


def _which(campaign: str) -> str:
    return f"`bond approval list --campaign {campaign}` shows them"


def _id(step: str, plan: PlanDocument) -> str:
    lines = sorted(
        f"{item.action} {item.type} {item.address} {item.moved_from} {' '.join(_attributes(item))}"
        for item in plan.changes
    )
    text = "\n".join([step, str(plan.destroy), str(plan.counts), *lines])
    return hashlib.sha256(text.encode()).hexdigest()[:ID_CHARACTERS]


def _attributes(change: ChangeDocument) -> list[str]:
    """The attributes that differ, by name."""
    before, after = change.before or {}, change.after or {}
    return sorted(
        {name for name in (*before, *after) if before.get(name) != after.get(name)} | set(change.unknown)
    )


def _words(change: ChangeDocument) -> str:
    moved = f" (from {change.moved_from})" if change.moved_from else ""
    return f"{change.action} {change.address}{moved}"
