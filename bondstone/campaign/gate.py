"""The gate of a wave: whose votes count, and what they come to."""

from __future__ import annotations

from datetime import datetime, timedelta

from bondstone.base.errors import BondError, InvalidInput, Refused, VoteRefused, VoteStale
from bondstone.model.approval import may
from bondstone.model.campaign.events import Approve, Reject
from bondstone.model.campaign.state import CampaignState, Rules, Stage, WaveRules
from bondstone.model.service import Approval


def opened(rules: Rules, wave: WaveRules, now: datetime) -> Approval:
    """A gate that waits for approval of the list of targets."""
    expires_at = now + timedelta(seconds=wave.expires_seconds) if wave.expires_seconds else None
    return Approval(
        step=wave.name, digest=rules.targets_digest, needs=wave.needs, asked_at=now, expires_at=expires_at
    )


def refusal(state: CampaignState, vote: Approve | Reject) -> BondError | None:
    """Why a vote does not count, in words; None when it does."""
    where = state.rules.campaign
    number = next((n for n, wave in enumerate(state.rules.waves) if wave.name == vote.wave), None)
    approval = None if number is None else state.waves[number].gate
    if state.stage is not Stage.GATE or approval is None or number != state.wave:
        return Refused(
            f"wave {vote.wave!r} waits for no approval",
            where=where,
            hint="`bond campaign show` says what it waits for",
        )
    return _no_word_on(approval, vote, where) or _no_word_of(state, approval, vote)


def expired(state: CampaignState, now: datetime) -> bool:
    """Whether the campaign stands at a gate whose time is over."""
    if state.stage is not Stage.GATE or not state.waves:
        return False
    approval = state.waves[state.wave].gate
    if approval is None or approval.status != "waiting" or approval.expires_at is None:
        return False
    return approval.expires_at <= now


def _no_word_on(approval: Approval, vote: Approve | Reject, where: str) -> BondError | None:
    if approval.digest != vote.digest:
        return VoteStale(
            f"the campaign has the targets {approval.digest[:12]}, not {vote.digest[:12]}",
            where=where,
            hint="`bond campaign show` has the current targets; vote on their digest",
        )
    if approval.status != "waiting":
        return Refused(f"the gate of wave {vote.wave} is {approval.status} already", where=where)
    if any(before.by == vote.by for before in approval.votes):
        return Refused(f"{vote.by} has voted on this wave already", where=where)
    return None


def _no_word_of(state: CampaignState, approval: Approval, vote: Approve | Reject) -> BondError | None:
    where = state.rules.campaign
    counting = [need for need in approval.needs if may(need, vote.roles)]
    if not counting:
        roles = sorted({role for need in approval.needs for role in need.roles})
        return VoteRefused(
            f"{vote.by} is in none of the required roles: {', '.join(roles)}",
            where=where,
            hint="say the role you act in with --role",
        )
    mine = vote.by == state.rules.requested_by
    if isinstance(vote, Approve) and mine and not any(need.allow_requester for need in counting):
        return VoteRefused(f"{vote.by} asked for this campaign, so another person must approve it", where=where)
    if isinstance(vote, Reject) and not vote.reason:
        return InvalidInput("a rejection needs a reason", where=where, hint="give it with --reason")
    return None
