"""Campaigns, schedules and freezes: previewed, run, watched, and every verb."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from bondstone.base.errors import BondError, ErrorInfo, InvalidInput
from bondstone.campaign.report.page import as_html
from bondstone.client.documents.campaign import CampaignDocument, FailureDocument, PreviewDocument
from bondstone.console import standing
from bondstone.console.pages import View, follows, form_of, shown, to
from bondstone.console.security import HEADERS
from bondstone.console.session import Visit, Visitor

VERBS: Final = (
    ("pause", "Pause"), ("resume", "Resume"), ("next_wave", "Next wave"), ("retry", "Retry failed targets"),
    ("rollback", "Roll back"), ("abort", "Abort"), ("approve", "Approve the gate"), ("reject", "Reject the gate"),
)  # fmt: skip
OVER: Final = frozenset({"completed", "failed", "aborted"})
SAMPLE: Final = """\
apiVersion: bondstone.dev/v1
kind: Campaign
metadata: {name: , owner: , reason: ""}
spec:
  operation: patch
  promise:
  to: latest-patch
  select: {where: "true"}
  waves:
    - {name: canary, count: 1, max_failures: 0, soak: 10m}
    - {name: rest, rest: true}
  budget: {max_failures: 2%}
"""

router = APIRouter(include_in_schema=False)


@router.get("/campaigns")
async def campaigns(visitor: Visit) -> Response:
    """Every campaign, and a form for another."""
    return shown(await _list(visitor, SAMPLE), visitor)


@router.post("/campaigns")
async def submit(request: Request, visitor: Visit) -> Response:
    """Preview a campaign file, or start it; mistakes are shown with their line and column."""
    submitted = await form_of(request, visitor)
    manifest = submitted.get("manifest", "").replace("\r\n", "\n")
    run = submitted.get("do") == "run"
    try:
        visitor.permissions.decide("campaign.run" if run else "campaign.preview").require()
        if run:
            started = await visitor.bond.campaigns.run(manifest.encode(), "campaign.yaml")
            return to(f"/campaigns/{started.name}")
        preview = await visitor.bond.campaigns.preview(manifest.encode(), "campaign.yaml")
    except BondError as error:
        return shown(await _list(visitor, manifest, error=error.info()), visitor, error.http_status)
    return shown(await _list(visitor, manifest, preview=preview), visitor)


async def _list(
    visitor: Visitor, manifest: str, *, error: ErrorInfo | None = None, preview: PreviewDocument | None = None
) -> View:
    visitor.permissions.decide("campaign.read").require()
    return View(
        "campaigns.html", "/campaigns", campaigns=await visitor.bond.campaigns.list(), manifest=manifest,
        error=error, preview=preview, may_run=visitor.permissions.decide("campaign.preview").allowed,
    )  # fmt: skip


@router.get("/campaigns/{name}")
async def campaign(visitor: Visit, name: str) -> Response:
    """One campaign: why it stands where it stands, waves, budget, failures by error, every verb."""
    return shown(await campaign_view(visitor, name), visitor)


@follows("campaigns")
async def campaign_view(visitor: Visitor, name: str) -> View:
    """The view of a campaign."""
    visitor.permissions.decide("campaign.read").require()
    document = await visitor.bond.campaigns.get(name)
    groups: dict[str, list[FailureDocument]] = defaultdict(list)
    for failure in document.failures:
        groups[failure.error.message if failure.error else failure.reason or str(failure.outcome)].append(failure)
    return View(
        "campaign.html", "/campaigns", live=f"/campaigns/{name}", campaign=document,
        sentence=standing.of_campaign(document), verbs=_verbs(visitor, document),
        groups=sorted(groups.items(), key=lambda item: -len(item[1])),
    )  # fmt: skip


def _verbs(visitor: Visitor, document: CampaignDocument) -> list[tuple[str, str]]:
    """The verbs that the visitor may use and that fit now; the campaign itself has the last word."""
    status = str(document.status)
    over = status in OVER
    fitting = {
        "pause": not over and status != "paused",
        "resume": status == "paused",
        "next_wave": status == "soaking",
        "abort": not over,
        "approve": status == "awaiting-approval",
        "reject": status == "awaiting-approval",
        "retry": document.failed > 0,
        "rollback": document.counts.get("succeeded", 0) > 0 or document.failed > 0,
    }
    return [
        (verb, label)
        for verb, label in VERBS
        if fitting[verb] and visitor.permissions.decide(f"campaign.{verb.replace('_', '-')}").allowed
    ]


@router.post("/campaigns/{name}/do")
async def act(request: Request, visitor: Visit, name: str) -> Response:
    """Carry out one verb."""
    submitted = await form_of(request, visitor)
    verb = submitted.get("verb", "")
    if verb not in {known for known, _ in VERBS}:
        raise InvalidInput(f"{verb[:40]!r} is nothing that can be done to a campaign")
    decision = visitor.permissions.decide(f"campaign.{verb.replace('_', '-')}").require()
    reason, request_id = submitted.get("reason", ""), submitted.get("request_id", "")
    bond = visitor.bond.campaigns
    if verb == "approve":
        wave = (await bond.get(name)).wave
        await bond.approve(name, wave, roles=decision.approver_roles, reason=reason, request_id=request_id)
    elif verb == "reject":
        wave = (await bond.get(name)).wave
        why = reason or "rejected in the console"
        await bond.reject(name, wave, roles=decision.approver_roles, reason=why, request_id=request_id)
    else:
        await getattr(bond, verb)(name, reason=reason, request_id=request_id)
    return to(f"/campaigns/{name}")


@router.get("/campaigns/{name}/report")
async def report(visitor: Visit, name: str) -> Response:
    """The report that can be mailed: a page of its own, with its own inline style."""
    visitor.permissions.decide("campaign.read").require()
    page = as_html(await visitor.bond.campaigns.report(name))
    policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
    return HTMLResponse(page, headers=HEADERS | {"Content-Security-Policy": policy})


@router.get("/calendar")
async def calendar(visitor: Visit) -> Response:
    """Schedules with their next times, and freezes."""
    visitor.permissions.decide("schedule.read").require()
    view = View(
        "calendar.html", "/calendar", schedules=await visitor.bond.schedules.list(),
        freezes=await visitor.bond.freezes.list(),
        may_schedule=visitor.permissions.decide("schedule.pause").allowed,
        may_freeze=visitor.permissions.decide("freeze.create").allowed,
    )  # fmt: skip
    return shown(view, visitor)


@router.post("/calendar/schedules/{name}")
async def schedule(request: Request, visitor: Visit, name: str) -> Response:
    """Pause, resume or trigger a schedule."""
    verb = (await form_of(request, visitor)).get("verb", "")
    if verb not in {"pause", "resume", "trigger"}:
        raise InvalidInput(f"{verb[:40]!r} is nothing that can be done to a schedule")
    visitor.permissions.decide(f"schedule.{verb}").require()
    await getattr(visitor.bond.schedules, verb)(name, reason=f"by {visitor.name} in the console")
    return to("/calendar")


@router.post("/calendar/freezes")
async def create_freeze(request: Request, visitor: Visit) -> Response:
    """Create a freeze from now on."""
    submitted = await form_of(request, visitor)
    visitor.permissions.decide("freeze.create").require()
    hours = submitted.get("hours", "")
    if not hours.isdigit():
        raise InvalidInput("hours is not a whole number")
    ends = datetime.now(UTC) + timedelta(hours=int(hours))
    await visitor.bond.freezes.create(
        submitted.get("name", ""), reason=submitted.get("reason", ""), team=submitted.get("team", ""), ends_at=ends
    )
    return to("/calendar")


@router.post("/calendar/freezes/{name}/delete")
async def delete_freeze(request: Request, visitor: Visit, name: str) -> Response:
    """End a freeze."""
    await form_of(request, visitor)
    visitor.permissions.decide("freeze.delete").require()
    await visitor.bond.freezes.delete(name)
    return to("/calendar")
