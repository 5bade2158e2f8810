"""Who may do what to which campaign: one answer for the API and the console."""

from __future__ import annotations

from bondstone.api.state import ApiState
from bondstone.client import Bondstone
from bondstone.client.documents.campaign import CampaignDocument, CampaignRow, PreviewDocument
from bondstone.identity.access import AccessDecision, Permissions
from bondstone.model.identity import Target


def campaign_target(campaign: CampaignDocument | CampaignRow) -> Target:
    """A campaign as access documents see it: of its owner, when that is a team, and of its promise."""
    return Target(team=campaign.owner, promise=campaign.promise, name=f"campaign {campaign.name}")


def service_target(state: ApiState, service: str) -> Target:
    """A service of a campaign as access documents see it, also one that the index does not have."""
    entry = state.services.get(service)
    return entry.target if entry else Target(team=service.partition("/")[0], name=service)


async def on_every_target(
    state: ApiState,
    permissions: Permissions,
    bond: Bondstone,
    verb: str,
    *,
    source: bytes,
    file: str,
    name: str = "",
) -> AccessDecision:
    """Whether the caller may do this to each target that a campaign's file selects.

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
    return decided(state, permissions, verb, await bond.campaigns.preview(source, file, name=name))


def decided(state: ApiState, permissions: Permissions, verb: str, preview: PreviewDocument) -> AccessDecision:
    """Whether the caller may do this to each target of a preview, which is whole."""
    everywhere = permissions.decide(verb)
    if everywhere.allowed:
        return everywhere
    return permissions.decide_all(verb, [service_target(state, each.service) for each in preview.selected])


def visible(state: ApiState, permissions: Permissions, preview: PreviewDocument) -> PreviewDocument:
    """A preview with those services that the caller may see."""
    permitted = permissions.filter("campaign.preview")
    whole = all(permitted(service_target(state, each.service)) for each in preview.selected)
    return preview.changed(
        overlaps=preview.overlaps if whole else (),  # they name targets
        selected=tuple(each for each in preview.selected if permitted(service_target(state, each.service))),
        left=tuple(each for each in preview.left if permitted(service_target(state, each.service))),
    )
