"""Who may do what to which campaign: one answer for the API and the console."""

from __future__ import annotations

from typing import Any, Final

from bondstone.api.state import ApiState
from bondstone.base.errors import CampaignInvalid
from bondstone.campaign.fleet import FleetService
from bondstone.client.direct.client import DirectClient
from bondstone.client.documents.campaign import CampaignDocument, CampaignRow, PreviewDocument
from bondstone.identity.access import AccessDecision, Permissions
from bondstone.model.identity import Target

_OTHERS: Final = Target(name="services outside your access")


def campaign_target(campaign: CampaignDocument | CampaignRow) -> Target:
    """A campaign as access documents see it: of its owner, when that is a team, and of its promise."""
    return Target(team=campaign.owner, promise=campaign.promise, name=f"campaign {campaign.name}")


def service_target(state: ApiState, service: str) -> Target:
    """A service of a campaign as access documents see it, also one that the index does not have."""
    entry = state.services.get(service)
    return entry.target if entry else Target(team=service.partition("/")[0], name=service)


async def previewed(
    permissions: Permissions, bond: DirectClient, *, source: bytes, file: str, name: str = "", **options: Any
) -> PreviewDocument:
    """What a campaign would do to the services that the caller may see, as if there were no others.

    Args:
        permissions: Of the caller.
        bond: Of the caller.
        source: The campaign's file.
        file: Its name, for messages.
        name: Instead of the name in the file.
        options: Further ones of `DirectCampaigns.preview`.

    Raises:
        CampaignInvalid: there is no such campaign.
    """
    if permissions.decide("campaign.preview").allowed:
        return await bond.campaigns.preview(source, file, name=name, **options)
    permitted = permissions.filter("campaign.preview")

    def sees(service: FleetService) -> bool:
        labels = dict(service.labels)
        return permitted(Target(team=service.team, promise=service.promise, labels=labels, name=service.id))

    return await bond.campaigns.preview_among(sees, source, file, name=name, **options)


async def on_every_target(
    state: ApiState,
    permissions: Permissions,
    bond: DirectClient,
    verb: str,
    *,
    source: bytes,
    file: str,
    name: str = "",
) -> AccessDecision:
    """Whether the caller may do this to each target that a campaign's file selects.

    A refusal names no service that the caller may not see.

    Args:
        state: Of the process.
        permissions: Of the caller.
        bond: Of the caller.
        verb: As in `campaign.run`.
        source: The campaign's file.
        file: Its name, for messages.
        name: Instead of the name in the file.

    Raises:
        CampaignInvalid: there is no such campaign to select targets by.
    """
    everywhere = permissions.decide(verb)
    if everywhere.allowed:
        return everywhere
    preview = await previewed(permissions, bond, source=source, file=file, name=name)
    decision = permissions.decide_all(verb, [service_target(state, each.service) for each in preview.selected])
    if not decision.allowed or not preview.scope:
        return decision
    try:
        whole = await bond.campaigns.preview(source, file, name=name)
    except CampaignInvalid:  # by services of others alone: without them it was right
        return permissions.decide(verb, _OTHERS)
    others = {each.service for each in whole.selected} - {each.service for each in preview.selected}
    return permissions.decide(verb, _OTHERS) if others else decision
