"""The catalogue: what can be requested, and the form that requests it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final
from weakref import WeakKeyDictionary

from fastapi import APIRouter
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from temporalio.client import Client

from bondstone.api.state import State
from bondstone.base.errors import BondError, ErrorInfo
from bondstone.client.documents.promise import PromiseDocument
from bondstone.console import forms
from bondstone.console.pages import View, counts_of, form_of, promise_target, shown, to
from bondstone.console.rendering import address
from bondstone.console.security import HEADERS
from bondstone.console.session import Visit, Visitor
from bondstone.model.identity import Target
from bondstone.model.service import OperationKind
from bondstone.temporal.fleet import past_seconds
from bondstone.terminal.times import duration

MAX_USERS: Final = 5
"""Teams that are named on the card of a promise, those with most services first."""
PAST_SECONDS: Final = 30.0
"""How long the median times are kept."""

router = APIRouter(include_in_schema=False)
_kept: WeakKeyDictionary[Client, tuple[float, asyncio.Future[Mapping[str, tuple[float, int]]]]] = (
    WeakKeyDictionary()
)


@router.get("/catalogue")
async def catalogue(visitor: Visit, state: State) -> Response:
    """Every promise, at the version that a request gets."""
    visitor.permissions.decide("promise.read").require()
    await state.services.ready()
    promises = await visitor.bond.promises.list()
    requestable = {row.promise for row in promises if _may_request(visitor, row.promise)}
    counts = counts_of(visitor, state)
    view = View(
        "catalogue.html", "/catalogue", promises=promises,
        used=counts.promises, users=counts.users, most=MAX_USERS, may_request=requestable,
        may_publish=visitor.permissions.somewhere("promise.publish"),
    )  # fmt: skip
    return shown(view, visitor)


@router.get("/catalogue/{promise}")
async def show(visitor: Visit, state: State, promise: str, version: str = "") -> Response:
    """One promise: what it takes, what it gives, what it does."""
    document = await _readable(visitor, promise, version)
    await state.services.ready()
    permitted = visitor.permissions.filter("service.read")
    on: dict[str, Counter[str]] = {}
    for entry in state.services.entries():
        if entry.row.promise == promise and entry.alive and permitted(entry.target):
            on.setdefault(entry.row.revision, Counter())[entry.row.team] += 1
    view = View(
        "promise.html", "/catalogue", promise=document, may_request=_may_request(visitor, promise),
        on={revision: (teams.total(), teams.most_common(MAX_USERS), len(teams)) for revision, teams in on.items()},
        may_mark=visitor.permissions.decide("promise.deprecate", promise_target(promise)).allowed,
    )  # fmt: skip
    return shown(view, visitor)


@router.get("/catalogue/{promise}/takes")
async def takes(visitor: Visit, state: State, promise: str) -> Response:
    """How long a request of a promise takes, in the middle: a piece of its page, which does not wait for it."""
    visitor.permissions.decide("promise.read", promise_target(promise)).require()
    seconds, number = (await _past(state.temporal)).get(promise, (0.0, 0))
    words = (
        f"One takes {duration(timedelta(seconds=seconds))}, the median of {number}."
        if number
        else "No figure yet."
    )
    return HTMLResponse(Markup('<p class="dim">{}</p>').format(words), headers=HEADERS)


@router.get("/catalogue/{promise}/request")
async def form(visitor: Visit, promise: str) -> Response:
    """The empty form, drawn from the JSON Schema."""
    document = await _readable(visitor, promise)
    teams = visitor.permissions.teams("service.request", promise) or ()
    return shown(_form(document, {"team": teams[0] if len(teams) == 1 else ""}), visitor)


@router.post("/catalogue/{promise}/request")
async def request(request: Request, visitor: Visit, promise: str) -> Response:
    """Request the service, or a dry run of it; a mistake shows the form again, with what was typed."""
    submitted = await form_of(request, visitor)
    document = await _readable(visitor, promise, submitted.get("version", ""))
    team, name = submitted.get("team", ""), submitted.get("name", "")
    fields = forms.drawn(document.input_schema, submitted)
    if unseen := forms.unseen(fields, submitted):
        return shown(_form(document, submitted, unseen=unseen), visitor)
    if submitted.get("do") == "refresh":
        return shown(_form(document, submitted), visitor)
    try:
        visitor.permissions.decide("service.request", Target(team=team, promise=promise)).require()
        operation = await visitor.bond.services.request(
            promise,
            f"{team}/{name}",
            forms.typed(document.input_schema, submitted),
            version=document.version,
            reason=submitted.get("reason", ""),
            request_id=submitted.get("request_id") or None,
            dry_run=submitted.get("do") == "dry-run",
        )
    except BondError as error:
        return shown(_form(document, submitted, error.info()), visitor, error)
    return to(address(operation.id))


async def _readable(visitor: Visitor, promise: str, version: str = "") -> PromiseDocument:
    visitor.permissions.decide("promise.read", promise_target(promise)).require()
    return await visitor.bond.promises.get(promise, version)


def _form(
    document: PromiseDocument,
    submitted: dict[str, str],
    error: ErrorInfo | None = None,
    unseen: Sequence[str] = (),
) -> View:
    fields = forms.drawn(document.input_schema, submitted)
    return View(
        "request.html", "/catalogue", promise=document, error=error, unseen=unseen, fields=fields,
        team=submitted.get("team", ""), name=submitted.get("name", ""), reason=submitted.get("reason", ""),
    )  # fmt: skip


async def _past(client: Client) -> Mapping[str, tuple[float, int]]:
    """How long requests took, by promise: asked of Temporal once for all the pieces of a page."""
    kept = _kept.get(client)
    if kept is None or time.monotonic() > kept[0]:
        reading = asyncio.ensure_future(past_seconds(client, OperationKind.PROVISION))
        kept = _kept[client] = (time.monotonic() + PAST_SECONDS, reading)
    try:
        return await asyncio.shield(kept[1])
    except BondError:
        _kept.pop(client, None)
        raise


def _may_request(visitor: Visitor, promise: str) -> bool:
    """Whether there is a team for which the visitor may request one."""
    return visitor.permissions.teams("service.request", promise) != ()
