"""Campaigns, schedules and freezes: previewed, run, watched, and every verb."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from bondstone.base.errors import BondError, ErrorInfo, InvalidInput
from bondstone.campaign.report.page import as_html
from bondstone.client.documents.campaign import CampaignDocument, FailureDocument, PreviewDocument
from bondstone.client.explanation import Clock, explain_campaign
from bondstone.console.pages import View, follows, form_of, shown, to
from bondstone.console.rendering import sentence
from bondstone.console.security import HEADERS
from bondstone.console.session import Visit, Visitor
from bondstone.model.campaign.state import CampaignStatus, Outcome

VERBS: Final = (
    ("pause", "Pause"), ("resume", "Resume"), ("next_wave", "Next wave"), ("retry", "Retry failed targets"),
    ("rollback-failed", "Roll back failed targets"), ("rollback-all", "Roll back all targets"), ("abort", "Abort"),
    ("approve", "Approve the gate"), ("reject", "Reject the gate"),
)  # fmt: skip
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
        sentence=sentence(explain_campaign(document, Clock())), verbs=_verbs(visitor, document),
        groups=sorted(groups.items(), key=lambda item: -len(item[1])),
    )  # fmt: skip


def _verbs(visitor: Visitor, document: CampaignDocument) -> list[tuple[str, str]]:
    """The verbs that fit now, and that the visitor may use."""
    return [
        (verb, label)
        for verb, label in VERBS
        if fits(document, verb) and visitor.permissions.decide(_permission(verb)).allowed
    ]


def fits(document: CampaignDocument, verb: str) -> bool:
    """Whether a verb makes sense as the campaign stands; the campaign itself has the last word."""
    status, paused = document.status, document.paused
    failed = document.failed > 0
    if verb in {"retry", "rollback-failed", "rollback-all"} and status.ended:  # a linked campaign does it
        return failed or (verb == "rollback-all" and document.counts.get(Outcome.SUCCEEDED, 0) > 0)
    if status.ended or status is CampaignStatus.ABORTING:
        return False
    turned = status is CampaignStatus.ROLLING_BACK
    at_gate = any(wave.status == "gate" for wave in document.waves)
    return {
        "pause": paused is None or paused.cause != "verb",
        "resume": paused is not None,
        "next_wave": any(wave.status == "soaking" for wave in document.waves),
        "abort": True,
        "approve": at_gate,
        "reject": at_gate,
        "retry": failed and not turned,
        "rollback-failed": failed and not turned,
        "rollback-all": not turned and (failed or document.counts.get(Outcome.SUCCEEDED, 0) > 0),
    }[verb]


def _permission(verb: str) -> str:
    return f"campaign.{verb.partition('-')[0].replace('_', '-')}"


@router.post("/campaigns/{name}/do")
async def act(request: Request, visitor: Visit, name: str) -> Response:
    """Carry out one verb."""
    submitted = await form_of(request, visitor)
    verb = submitted.get("verb", "")
    if verb not in {known for known, _ in VERBS}:
        raise InvalidInput(f"{verb[:40]!r} is nothing that can be done to a campaign")
    decision = visitor.permissions.decide(_permission(verb)).require()
    reason = submitted.get("reason", "")
    request_id = submitted.get("request_id", "")
    bond = visitor.bond.campaigns
    if verb in {"approve", "reject"}:
        wave = (await bond.get(name)).wave
        roles = visitor.votes(decision, submitted.get("roles", ""))
        if verb == "approve":
            changed = await bond.approve(name, wave, roles=roles, reason=reason, request_id=request_id)
        else:
            why = reason or "rejected in the console"
            changed = await bond.reject(name, wave, roles=roles, reason=why, request_id=request_id)
    elif verb in {"rollback-failed", "rollback-all"}:
        which: Literal["failed", "all"] = "all" if verb == "rollback-all" else "failed"
        changed = await bond.rollback(name, which, reason=reason, request_id=request_id)
    else:
        changed = await getattr(bond, verb)(name, reason=reason, request_id=request_id)
    return to(f"/campaigns/{changed.name}")  # after the end, a linked campaign retries or rolls back


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
