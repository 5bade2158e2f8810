"""Campaigns: previewed, run, watched, and every verb."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from bondstone.api.campaign_access import campaign_target, on_every_target, previewed
from bondstone.api.state import ApiState, State
from bondstone.base.errors import BondError, ErrorInfo, InvalidInput
from bondstone.campaign.report.formats import as_csv, as_junit
from bondstone.campaign.report.page import as_html
from bondstone.client.documents.campaign import CampaignDocument, CampaignRow, FailureDocument, PreviewDocument
from bondstone.client.explanation import ReadingTime, explain_campaign
from bondstone.console import timeline
from bondstone.console.pages import View, follows, form_of, number_of, shown, to
from bondstone.console.rendering import sentence
from bondstone.console.security import HEADERS
from bondstone.console.session import Visit, Visitor
from bondstone.identity.access import AccessDecision
from bondstone.model.campaign.report import CampaignReport
from bondstone.model.campaign.state import CampaignStatus, TargetOutcome

VERBS: Final = (
    ("pause", "Pause"), ("resume", "Resume"), ("next_wave", "Next wave"), ("skip", "Skip this target"),
    ("set_concurrency", "Run so many at once"), ("retry", "Retry failed targets"),
    ("rollback-failed", "Roll back failed targets"), ("rollback-all", "Roll back all targets"), ("abort", "Abort"),
    ("abort-cancel", "Abort and cancel what runs"), ("approve", "Approve the gate"), ("reject", "Reject the gate"),
)  # fmt: skip
DESTRUCTIVE: Final = frozenset({"rollback-all", "abort", "abort-cancel"})
"""Verbs that ask for the campaign's name."""
FILE: Final = "campaign.yaml"
MAX_EVENTS: Final = 50
MAX_AT_ONCE: Final = 10_000
MAX_REPORTS: Final = 4
"""Of campaigns that are looked at, kept in memory: each has all its targets."""
MAX_EFFECTS: Final = 256
"""Of verbs, what they did and did not touch, kept in memory for the page after them."""
FORMATS: Final[dict[str, tuple[str, Callable[[CampaignReport], str]]]] = {
    "json": ("application/json", lambda report: report.model_dump_json(indent=2)),
    "csv": ("text/csv; charset=utf-8", as_csv),
    "junit": ("application/xml", as_junit),
}
SAMPLE: Final = """\
apiVersion: bondstone.dev/v1
kind: Campaign
metadata: {name: , owner: , reason: ""}
spec:
  operation: patch
  promise: PROMISE
  to: latest-patch
  select: {where: WHERE}
  waves:
    - {name: canary, count: 1, max_failures: 0, soak: 10m}
    - {name: rest, rest: true}
  budget: {max_failures: 2%}
"""

router = APIRouter(include_in_schema=False)
_reports: OrderedDict[str, tuple[str, CampaignReport]] = OrderedDict()
_effects: OrderedDict[str, tuple[str, ...]] = OrderedDict()
"""By a random key in the address of the page that is shown next."""


@router.get("/campaigns")
async def campaigns(
    visitor: Visit,
    promise: Annotated[str, Query(max_length=48)] = "",
    where: Annotated[str, Query(max_length=2000)] = "",
) -> Response:
    """Every campaign, and a form for another: over the services of a list, where it comes from one."""
    sample = SAMPLE.replace("PROMISE", json.dumps(promise) if promise else "").replace("WHERE", json.dumps(where))
    return shown(await _list(visitor, sample), visitor)


@router.post("/campaigns")
async def submit(request: Request, visitor: Visit, state: State) -> Response:
    """Preview a campaign file, or start it; mistakes are shown with their line and column."""
    submitted = await form_of(request, visitor)
    manifest = submitted.get("manifest", "").replace("\r\n", "\n")
    run = submitted.get("do") == "run"
    try:
        if run:
            await require_targets(visitor, state, manifest.encode())
            started = await visitor.bond.campaigns.run(manifest.encode(), FILE)
            return to_campaign(started)
        visitor.permissions.require_somewhere("campaign.preview")
        preview = await previewed(visitor.permissions, visitor.bond, source=manifest.encode(), file=FILE)
    except BondError as error:
        return shown(await _list(visitor, manifest, error=error.info()), visitor, error)
    return shown(await _list(visitor, manifest, preview=preview), visitor)


async def _list(
    visitor: Visitor, manifest: str, *, error: ErrorInfo | None = None, preview: PreviewDocument | None = None
) -> View:
    visitor.permissions.require_somewhere("campaign.read")
    return View(
        "campaigns.html", "/campaigns", campaigns=await readable(visitor), manifest=manifest,
        error=error, preview=preview, may_preview=visitor.permissions.somewhere("campaign.preview"),
        may_run=visitor.permissions.somewhere("campaign.run"),
    )  # fmt: skip


async def readable(visitor: Visitor) -> list[CampaignRow]:
    """The campaigns that the visitor may read, the newest first."""
    permitted = visitor.permissions.filter("campaign.read")
    return [row for row in await visitor.bond.campaigns.list() if permitted(campaign_target(row))]


async def require_targets(visitor: Visitor, state: ApiState, source: bytes) -> None:
    """Refuse to start a campaign one of whose targets the visitor may not operate on.

    Raises:
        Forbidden: naming the missing role.
    """
    decision = await on_every_target(
        state, visitor.permissions, visitor.bond, "campaign.run", source=source, file=FILE
    )
    decision.require()


@router.get("/campaigns/{name}")
async def campaign(visitor: Visit, name: str, done: str = "") -> Response:
    """One campaign: why it stands where it stands, waves, budget, failures by error, every verb."""
    view = await campaign_view(visitor, name)
    view.values["effect"] = _effects.pop(done, ())
    return shown(view, visitor)


@follows("campaigns")
async def campaign_view(visitor: Visitor, name: str) -> View:
    """The view of a campaign."""
    document = await visitor.bond.campaigns.get(name)
    visitor.permissions.decide("campaign.read", campaign_target(document)).require()
    report = await _report(visitor, document)
    now = datetime.now(UTC)
    verbs = _verbs(visitor, document)
    shown_verbs = {verb for verb, _ in verbs}
    groups: dict[str, list[FailureDocument]] = defaultdict(list)
    for failure in document.failures:
        groups[failure.why() or str(failure.outcome)].append(failure)
    return View(
        "campaign.html", "/campaigns", live=f"/campaigns/{name}", campaign=document,
        sentence=sentence(explain_campaign(document, ReadingTime())), verbs=verbs, destructive=DESTRUCTIVE,
        asks_roles=visitor.principal.may_assert and "approve" in shown_verbs, asks_target="skip" in shown_verbs,
        asks_name=" or ".join(_destroying(shown_verbs)), drawing=timeline.drawing(report, now),
        dials=[(dial, timeline.face(dial, now)) for dial in timeline.dials(document, report)],
        events=report.events[-MAX_EVENTS:], effect=(),
        groups=sorted(groups.items(), key=lambda item: -len(item[1])),
    )  # fmt: skip


async def _report(visitor: Visitor, document: CampaignDocument) -> CampaignReport:
    """The report of a campaign as it stands; a page that follows it reads that again only when it has changed."""
    state = hashlib.sha256(document.model_dump_json().encode()).hexdigest()
    kept = _reports.get(document.name)
    if kept is None or kept[0] != state:
        kept = _reports[document.name] = (
            state,
            await visitor.bond.campaigns.report(document.name, evidence=False),
        )
        while len(_reports) > MAX_REPORTS:
            _reports.popitem(last=False)
    return kept[1]


def _verbs(visitor: Visitor, document: CampaignDocument) -> list[tuple[str, str]]:
    """The verbs that fit now, and that the visitor may use."""
    target = campaign_target(document)
    return [
        (verb, label)
        for verb, label in VERBS
        if fits(document, verb) and visitor.permissions.decide(_permission(verb), target).allowed
    ]


def fits(document: CampaignDocument, verb: str) -> bool:
    """Whether a verb makes sense as the campaign stands; the campaign itself has the last word."""
    status, paused = document.status, document.paused
    failed = document.failed > 0
    if verb in {"retry", "rollback-failed", "rollback-all"} and status.ended:  # a linked campaign does it
        return failed or (verb == "rollback-all" and document.counts.get(TargetOutcome.SUCCEEDED, 0) > 0)
    if status.ended or status is CampaignStatus.ABORTING:
        return False
    turned = status is CampaignStatus.ROLLING_BACK
    at_gate = any(wave.status == "gate" for wave in document.waves)
    return {
        "pause": paused is None or paused.cause != "verb",
        "resume": paused is not None,
        "next_wave": any(wave.status == "soaking" for wave in document.waves),
        "skip": document.counts.get("waiting", 0) > 0 and not turned,
        "set_concurrency": not turned,
        "abort": True,
        "abort-cancel": document.running > 0,
        "approve": at_gate,
        "reject": at_gate,
        "retry": failed and not turned,
        "rollback-failed": failed and not turned,
        "rollback-all": not turned and (failed or document.counts.get(TargetOutcome.SUCCEEDED, 0) > 0),
    }[verb]


def _destroying(verbs: set[str]) -> list[str]:
    """What asks for the campaign's name, in words."""
    words = {"abort": "abort", "rollback-all": "roll all targets back"}
    return [name for verb, name in words.items() if verb in verbs]


def _permission(verb: str) -> str:
    return f"campaign.{verb.partition('-')[0].replace('_', '-')}"  # rollback-all is a rollback


@router.post("/campaigns/{name}/do")
async def act(request: Request, visitor: Visit, name: str) -> Response:
    """Carry out one verb."""
    submitted = await form_of(request, visitor)
    verb = submitted.get("verb", "")
    if verb not in {known for known, _ in VERBS}:
        raise InvalidInput(f"{verb[:40]!r} is not an action on a campaign")
    target = campaign_target(await visitor.bond.campaigns.get(name))
    decision = visitor.permissions.decide(_permission(verb), target).require()
    changed = await _carry_out(visitor, decision, name, verb, submitted)
    return to_campaign(changed)  # after the end, a linked campaign retries or rolls back


def to_campaign(changed: CampaignDocument) -> Response:
    """After a verb: to the campaign's page, which says once what the verb did and did not touch."""
    if not changed.effect:
        return to(f"/campaigns/{changed.name}")
    key = secrets.token_hex(8)
    _effects[key] = changed.effect
    while len(_effects) > MAX_EFFECTS:
        _effects.popitem(last=False)
    return to(f"/campaigns/{changed.name}?done={key}")


async def _carry_out(
    visitor: Visitor, decision: AccessDecision, name: str, verb: str, submitted: Mapping[str, str]
) -> CampaignDocument:
    reason = submitted.get("reason", "")
    request_id = submitted.get("request_id", "")
    bond = visitor.bond.campaigns
    if verb in DESTRUCTIVE and submitted.get("confirm", "").strip() != name:
        raise InvalidInput("the name does not match, so nothing was done", hint=f"type {name} to confirm")
    if verb in {"approve", "reject"}:
        wave, digest = submitted.get("wave", ""), submitted.get("digest", "")  # of the page as it was read
        roles = visitor.votes(decision, submitted.get("roles", ""))
        if verb == "approve":
            changed = await bond.approve(
                name, wave, digest=digest, roles=roles, reason=reason, request_id=request_id
            )
        else:
            why = reason or "rejected in the console"
            changed = await bond.reject(name, wave, digest=digest, roles=roles, reason=why, request_id=request_id)
    elif verb in {"rollback-failed", "rollback-all"}:
        which: Literal["failed", "all"] = "all" if verb == "rollback-all" else "failed"
        changed = await bond.rollback(name, which, reason=reason, request_id=request_id)
    elif verb == "skip":
        target = submitted.get("service", "").strip()
        changed = await bond.skip(name, target, reason=reason, request_id=request_id)
    elif verb == "set_concurrency":
        most = number_of(submitted.get("most", ""), "targets at once", MAX_AT_ONCE)
        changed = await bond.set_concurrency(name, most, reason=reason, request_id=request_id)
    elif verb == "abort-cancel":
        changed = await bond.abort(name, cancel=True, reason=reason, request_id=request_id)
    else:
        changed = await getattr(bond, verb)(name, reason=reason, request_id=request_id)
    return changed


@router.get("/campaigns/{name}/report")
async def report(visitor: Visit, name: str, format: str = "page") -> Response:  # noqa: A002 - the address says it
    """The report that can be mailed: a page of its own with its own inline style, or a file of another format."""
    target = campaign_target(await visitor.bond.campaigns.get(name))
    visitor.permissions.decide("campaign.read", target).require()
    document = await visitor.bond.campaigns.report(name)
    if format in FORMATS:
        kind, render = FORMATS[format]
        ending = "xml" if format == "junit" else format
        disposition = {"Content-Disposition": f'attachment; filename="{name}.{ending}"'}
        return Response(render(document), media_type=kind, headers=HEADERS | disposition)
    policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
    return HTMLResponse(as_html(document), headers=HEADERS | {"Content-Security-Policy": policy})
