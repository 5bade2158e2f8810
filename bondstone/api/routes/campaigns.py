"""`/api/v1/campaigns`: one operation over a selected fleet."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, status
from pydantic import Field
from starlette.responses import Response

from bondstone.api.campaign_access import campaign_target, on_every_target, previewed
from bondstone.api.events.streams import answer, states
from bondstone.api.events.watchers import Seen
from bondstone.api.pages import DEFAULT_LIMIT, Cursors, CursorText, Limit, cut
from bondstone.api.parameters import (
    DIGEST_PATTERN,
    Reason,
    RoleNames,
    ThingName,
    Why,
)
from bondstone.api.repeats import ApiRoute
from bondstone.api.session import (
    Asking,
    CallSession,
    IdempotencyKey,
    IfNoneMatch,
    LastEventId,
    WaitSeconds,
    body_of,
    tag,
    tagged,
)
from bondstone.base.models import Document, Manifest
from bondstone.base.names import NAME_PATTERN, SERVICE_PATTERN
from bondstone.client.documents.campaign import CampaignCheck, CampaignDocument, CampaignRow, PreviewDocument
from bondstone.identity.access import AccessDecision
from bondstone.model.campaign.events import Which
from bondstone.model.campaign.report import CampaignReport

router = APIRouter(prefix="/campaigns", tags=["campaigns"], route_class=ApiRoute)

OptionalName = Annotated[str, Field(pattern=f"^$|{NAME_PATTERN}")]
File = Annotated[str, Field(max_length=900_000, description="The campaign, YAML or JSON")]


class CampaignPage(Document):
    """A page of campaigns."""

    items: tuple[CampaignRow, ...]
    next: str | None = None
    """Cursor of the next page; null on the last"""


class CampaignBody(Manifest):
    """A campaign that is not started yet."""

    source: File
    file: str = Field("campaign", max_length=300)
    """Its name, for messages"""
    name: OptionalName = ""
    """Instead of the name in the file"""


class PreviewBody(CampaignBody):
    """A campaign that is looked at."""

    time_zone: str = Field("", max_length=64)
    """IANA zone in which times are given beside UTC"""
    plan: bool = False
    """Plan every target too"""
    at_once: int = Field(4, ge=1, le=50)
    """How many dry runs at once"""


class RunBody(CampaignBody):
    """A campaign that starts."""

    reason: Reason = ""
    supersedes: OptionalName = ""
    """A campaign that this one takes over from, and that ends"""
    pinned: str = Field("", pattern=f"^$|{DIGEST_PATTERN}")
    """Digest of a preview with plans: a plan that goes beyond it asks first"""


class AbortBody(Why):
    """A campaign that ends."""

    cancel: bool = False
    """Cancel what runs instead of letting it finish"""


class SkipBody(Why):
    """A target that is left out."""

    service: str = Field(pattern=SERVICE_PATTERN)


class ConcurrencyBody(Why):
    """How many targets run at once."""

    most: int = Field(ge=1, le=10_000)


class OpenBody(Why):
    """A wave that is approved."""

    wave: str = Field(min_length=1, max_length=64)
    digest: str = Field("", pattern=f"^$|{DIGEST_PATTERN}")
    """sha256 of the targets that were looked at; default: the campaign's targets"""
    roles: RoleNames = ()


class CloseBody(Manifest):
    """A wave that is rejected."""

    wave: str = Field(min_length=1, max_length=64)
    reason: Reason = ""
    digest: str = Field("", pattern=f"^$|{DIGEST_PATTERN}")
    roles: RoleNames = ()


class AgainBody(Why):
    """Targets that run again."""

    which: Which = "failed"
    new_name: OptionalName = ""
    """Of the campaign that is linked, after the end of this one"""


class BackBody(Why):
    """Targets that are rolled back."""

    which: Literal["failed", "wave", "all"]
    new_name: OptionalName = ""


@router.get("")
async def list_campaigns(
    asking: Asking,
    state: Annotated[str, Query(alias="status", max_length=40)] = "",
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = "",
) -> CampaignPage:
    """List campaigns within Temporal's retention, newest first."""
    cursors = Cursors(list="campaigns", status=state)
    after = cursors.decode(cursor)
    permitted = asking.allowed.filter("campaign.read")
    rows = sorted(await asking.bond.campaigns.list(), key=_place, reverse=True)
    shown = (
        row
        for row in rows
        if permitted(campaign_target(row))
        and (not state or row.status == state)
        and (after is None or _place(row) < tuple(map(str, after)))
    )
    page, following = cut(shown, limit, cursors, _place)
    return CampaignPage(items=tuple(page), next=following)


@router.post("", status_code=status.HTTP_201_CREATED)
async def run_campaign(asking: Asking, body: RunBody) -> CampaignDocument:
    """Start a campaign: the caller must be operator of every target."""
    await _require_targets(asking, "campaign.run", body)
    if body.supersedes:
        await _required(asking, "campaign.supersede", body.supersedes)
    return await asking.bond.campaigns.run(
        body.source.encode(),
        body.file,
        name=body.name,
        reason=body.reason,
        supersedes=body.supersedes,
        pinned=body.pinned,
    )


@router.post("/validate")
async def validate_campaign(asking: Asking, body: CampaignBody) -> CampaignCheck:
    """Check a campaign's file."""
    asking.require("promise.read")
    return await asking.bond.campaigns.validate(body.source.encode(), body.file, name=body.name)


@router.post("/preview")
async def preview_campaign(asking: Asking, body: PreviewBody) -> PreviewDocument:
    """Show what a campaign would do to the services that the caller may see, as if there were no others."""
    asking.allowed.require_somewhere("campaign.preview")
    if body.plan:
        await _require_targets(asking, "campaign.plan", body)
    return await previewed(
        asking.allowed,
        asking.bond,
        source=body.source.encode(),
        file=body.file,
        name=body.name,
        time_zone=body.time_zone,
        plan=body.plan,
        at_once=body.at_once,
    )


@router.get("/{name}", response_model=CampaignDocument)
async def show_campaign(
    asking: Asking, name: ThingName, *, if_none_match: IfNoneMatch = "", wait: WaitSeconds = 0
) -> Response:
    """Show one campaign; with `wait` once it has ended or waits for people, or the seconds are over."""
    document = await _readable(asking, name)
    if wait and not document.status.ended:
        waited = await asking.within(wait, asking.bond.campaigns.wait(name))
        document = waited or await asking.bond.campaigns.get(name)
    return tagged(document, if_none_match)


@router.get("/{name}/events", response_class=Response)
async def follow_campaign(asking: Asking, name: ThingName, last_event_id: LastEventId = "") -> Response:
    """Follow one campaign: an event `campaign` for each state of it, then `end`."""
    await _readable(asking, name)

    async def read() -> Seen:
        document = await asking.bond.campaigns.get(name)
        body = body_of(document)
        return Seen(tag(body).strip('"'), "campaign", body.decode(), final=document.status.ended)

    watchers = asking.state.watchers
    return answer(watchers, states(watchers, f"campaign/{name}", read, last_event_id), last_event_id)


@router.get("/{name}/report")
async def report_campaign(asking: Asking, name: ThingName, *, evidence: bool = True) -> CampaignReport:
    """Report on a campaign: who, what, why, and what became of each target."""
    await _readable(asking, name)
    return await asking.bond.campaigns.report(name, evidence=evidence)


@router.post("/{name}/pause")
async def pause_campaign(asking: Asking, name: ThingName, body: Why, key: IdempotencyKey = "") -> CampaignDocument:
    """Start nothing more; targets that run finish."""
    await _required(asking, "campaign.pause", name)
    return await asking.bond.campaigns.pause(name, reason=body.reason, request_id=key)


@router.post("/{name}/resume")
async def resume_campaign(
    asking: Asking, name: ThingName, body: Why, key: IdempotencyKey = ""
) -> CampaignDocument:
    """Continue."""
    await _required(asking, "campaign.resume", name)
    return await asking.bond.campaigns.resume(name, reason=body.reason, request_id=key)


@router.post("/{name}/abort")
async def abort_campaign(
    asking: Asking, name: ThingName, body: AbortBody, key: IdempotencyKey = ""
) -> CampaignDocument:
    """End a campaign: targets that run finish first, or are cancelled."""
    await _required(asking, "campaign.abort", name)
    return await asking.bond.campaigns.abort(name, cancel=body.cancel, reason=body.reason, request_id=key)


@router.post("/{name}/skip")
async def skip_target(
    asking: Asking, name: ThingName, body: SkipBody, key: IdempotencyKey = ""
) -> CampaignDocument:
    """Leave out a target that has not started."""
    await _required(asking, "campaign.skip", name)
    return await asking.bond.campaigns.skip(name, body.service, reason=body.reason, request_id=key)


@router.post("/{name}/set-concurrency")
async def set_concurrency(
    asking: Asking, name: ThingName, body: ConcurrencyBody, key: IdempotencyKey = ""
) -> CampaignDocument:
    """Change how many targets run at once."""
    await _required(asking, "campaign.set-concurrency", name)
    return await asking.bond.campaigns.set_concurrency(name, body.most, reason=body.reason, request_id=key)


@router.post("/{name}/next-wave")
async def next_wave(asking: Asking, name: ThingName, body: Why, key: IdempotencyKey = "") -> CampaignDocument:
    """End a wave's soak now."""
    await _required(asking, "campaign.next-wave", name)
    return await asking.bond.campaigns.next_wave(name, reason=body.reason, request_id=key)


@router.post("/{name}/approve")
async def approve_wave(
    asking: Asking, name: ThingName, body: OpenBody, key: IdempotencyKey = ""
) -> CampaignDocument:
    """Approve a wave that waits at its gate."""
    roles = asking.votes(await _required(asking, "campaign.approve", name), body.roles)
    return await asking.bond.campaigns.approve(
        name, body.wave, digest=body.digest, roles=roles, reason=body.reason, request_id=key
    )


@router.post("/{name}/reject")
async def reject_wave(
    asking: Asking, name: ThingName, body: CloseBody, key: IdempotencyKey = ""
) -> CampaignDocument:
    """Reject a wave that waits at its gate: the campaign ends."""
    roles = asking.votes(await _required(asking, "campaign.reject", name), body.roles)
    return await asking.bond.campaigns.reject(
        name, body.wave, reason=body.reason, digest=body.digest, roles=roles, request_id=key
    )


@router.post("/{name}/retry")
async def retry_campaign(
    asking: Asking, name: ThingName, body: AgainBody, key: IdempotencyKey = ""
) -> CampaignDocument:
    """Run targets again; after the end in a new campaign that is linked to this one."""
    await _required(asking, "campaign.retry", name)
    return await asking.bond.campaigns.retry(
        name, body.which, reason=body.reason, request_id=key, new_name=body.new_name
    )


@router.post("/{name}/rollback")
async def rollback_campaign(
    asking: Asking, name: ThingName, body: BackBody, key: IdempotencyKey = ""
) -> CampaignDocument:
    """Roll targets back; after the end in a new campaign that is linked to this one."""
    await _required(asking, "campaign.rollback", name)
    return await asking.bond.campaigns.rollback(
        name, body.which, reason=body.reason, request_id=key, new_name=body.new_name
    )


# Helpers ----------------------------------------------------------------------------------------------------


def _place(row: CampaignRow) -> tuple[str, str]:
    return row.started_at.isoformat(), row.name


async def _readable(asking: CallSession, name: str) -> CampaignDocument:
    document = await asking.bond.campaigns.get(name)
    asking.require("campaign.read", campaign_target(document))
    return document


async def _required(asking: CallSession, verb: str, name: str) -> AccessDecision:
    document = await asking.bond.campaigns.get(name)
    return asking.require(verb, campaign_target(document))


async def _require_targets(asking: CallSession, verb: str, body: CampaignBody) -> None:
    """Refuse a campaign one of whose targets the caller may not operate on."""
    decision = await on_every_target(
        asking.state,
        asking.allowed,
        asking.bond,
        verb,
        source=body.source.encode(),
        file=body.file,
        name=body.name,
    )
    asking.require(verb, decision.target)
