"""Whom or what a campaign waits for, in words: the same on every face. Pure."""

from __future__ import annotations

from bondstone.campaign import words
from bondstone.model.approval import missing
from bondstone.model.campaign.run import CampaignDescription
from bondstone.model.campaign.state import Calendar


def awaits(campaign: CampaignDescription) -> list[str]:
    """Whom or what a campaign waits for, in words."""
    if campaign.status.ended:
        return []
    if not campaign.frozen:
        return ["its targets to be chosen"]
    sentences: list[str] = []
    if campaign.paused is not None:
        who = f" by {campaign.paused.by}" if campaign.paused.by else ""
        why = campaign.paused.reason or campaign.broken
        sentences.append(f"somebody to resume it: paused{who}{f', {why}' if why else ''}")
    if campaign.waiting_for is not None:
        lacks = " and ".join(missing(campaign.waiting_for, requested_by=campaign.requested_by))
        expires_at = campaign.waiting_for.expires_at
        until = f", until {words.moment(expires_at)}" if expires_at else ""
        sentences.append(f"an approval of wave {campaign.wave}: {lacks}{until}")
    if campaign.awaiting:
        which = "its plan" if campaign.awaiting == 1 else "their plans"
        sentences.append(f"an approval of {which}: {words.targets(campaign.awaiting)}")
    soaks = next((wave.soak_until for wave in campaign.waves if wave.status == "soaking"), None)
    if soaks is not None:
        sentences.append(f"the soak of wave {campaign.wave} until {words.moment(soaks)}")
    sentences += _held_up(campaign.calendar)
    if campaign.queued:
        why = next((f": {each.service} {each.stalled}" for each in campaign.flights if each.queued), "")
        sentences.append(f"the next attempt of {words.targets(campaign.queued)}{why}")
    working = campaign.running - campaign.awaiting - campaign.queued
    if working:
        sentences.append(f"{words.targets(working)} at work")
    return sentences


def _held_up(calendar: Calendar | None) -> list[str]:
    """The windows and freezes that let something not start now, each with its end."""
    if calendar is None:
        return []
    sentences = [f"the end of {words.freeze(each.name, each.team, each.ends_at)}" for each in calendar.freezes]
    if calendar.frozen_teams and not calendar.freezes:  # of a campaign that began under an older version
        sentences.append(f"the end of a freeze of {', '.join(calendar.frozen_teams)}")
    if not calendar.open and not any(not each.team for each in calendar.freezes):
        opens_at = calendar.opens_at or calendar.until
        until = f" until {words.moment(opens_at)}" if opens_at else ", and none is to come as far as can be seen"
        sentences.append(f"a window: {calendar.why or 'nothing may start'}{until}")
    return sentences
