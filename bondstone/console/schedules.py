"""Schedules and freezes: the calendar, and every verb."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from bondstone.base.errors import BondError, InvalidInput
from bondstone.client.documents.campaign import FreezeDocument
from bondstone.console.calendar import DAYS, MAX_ROWS, Period, Row, calendar, open_periods, to_come, zones_of
from bondstone.console.campaigns.campaigns import readable
from bondstone.console.pages import View, form_of, number_of, shown, to
from bondstone.console.session import Visit, Visitor
from bondstone.model.identity import Target

VERBS: Final = frozenset({"pause", "resume", "trigger", "update", "backfill", "delete"})
MAX_HOURS: Final = 24 * 365
"""Of a freeze that the form makes."""
MAX_CAMPAIGNS: Final = 20
"""Campaigns under way whose windows are drawn."""
SAMPLE: Final = """\
apiVersion: bondstone.dev/v1
kind: Strategy
metadata: {name: , owner: , reason: ""}
spec:
  operation: patch
  promise:
  to: latest-patch
  select: {where: ""}
  waves:
    - {name: canary, count: 1, max_failures: 0, soak: 10m}
    - {name: rest, rest: true}
"""

router = APIRouter(include_in_schema=False)


@router.get("/calendar")
async def show(visitor: Visit) -> Response:
    """Schedules with their next times, freezes, windows of campaigns under way; drawn, and as tables."""
    return shown(await _view(visitor), visitor)


async def _view(visitor: Visitor) -> View:
    """The view of schedules and freezes."""
    decide = visitor.permissions.decide
    decide("schedule.read").require()
    now = datetime.now(UTC)
    freezes, listed, windows = await asyncio.gather(
        visitor.bond.freezes.list(), visitor.bond.schedules.list(), _windows(visitor, now)
    )
    schedules = await asyncio.gather(*(visitor.bond.schedules.get(row.name) for row in listed[:MAX_ROWS]))
    rows = [
        Row("freeze", freeze.name, (Period(freeze.begins_at, freeze.ends_at, freeze.reason),))
        for freeze in freezes
    ]
    rows += windows
    for each in schedules:
        times = () if each.paused else tuple(time.utc for time in each.next)
        rows.append(Row("schedule", each.name, times=times, zones=_beside_utc(each.time_zone)))
        if each.windows and not each.paused:
            rows.append(_window(f"schedule {each.name}", each.windows, now))
    drawing = calendar(rows, now)
    return View(
        "calendar.html", "/calendar", coming=to_come(rows, now), days=DAYS,
        schedules=schedules, freezes=freezes, drawing=drawing, sample=SAMPLE,
        may_schedule=decide("schedule.create").allowed, freeze_teams=visitor.permissions.teams("freeze.create"),
        may_end={each.name for each in freezes if decide("freeze.delete", freeze_target(each)).allowed},
    )  # fmt: skip


async def _windows(visitor: Visitor, now: datetime) -> list[Row]:
    rows = []
    for row in [row for row in await readable(visitor) if row.ended_at is None][:MAX_CAMPAIGNS]:
        try:
            rules = (await visitor.bond.campaigns.report(row.name, evidence=False)).rules
        except BondError:
            continue  # one that could not begin
        if windows := rules.get("windows"):
            rows.append(_window(row.name, windows, now))
    return rows


def _window(name: str, windows: Mapping[str, Any], now: datetime) -> Row:
    return Row("window", name, tuple(open_periods(windows, now)), zones=zones_of(windows))


def _beside_utc(zone: str) -> tuple[str, ...]:
    return () if zone == "UTC" else (zone,)


@router.post("/calendar/schedules")
async def create(request: Request, visitor: Visit) -> Response:
    """Create a schedule."""
    submitted = await form_of(request, visitor)
    visitor.permissions.decide("schedule.create").require()
    strategy = submitted.get("strategy", "").replace("\r\n", "\n").encode()
    await visitor.bond.schedules.create(
        submitted.get("name", ""), strategy, "strategy.yaml", cron=submitted.get("cron", ""),
        time_zone=submitted.get("time_zone", "UTC"), reason=submitted.get("reason", ""),
    )  # fmt: skip
    return to("/calendar")


@router.post("/calendar/schedules/{name}")
async def act(request: Request, visitor: Visit, name: str) -> Response:
    """Carry out one verb on a schedule."""
    submitted = await form_of(request, visitor)
    verb = submitted.get("verb", "")
    if verb not in VERBS:
        raise InvalidInput(f"{verb[:40]!r} is not an action on a schedule")
    visitor.permissions.decide(f"schedule.{verb}").require()
    await _carry_out(visitor, name, verb, submitted)
    return to("/calendar")


async def _carry_out(visitor: Visitor, name: str, verb: str, submitted: dict[str, str]) -> None:
    bond, reason = visitor.bond.schedules, f"by {visitor.name} in the console"
    request = _request_id(verb, submitted)
    if verb == "update":
        await bond.update(name, cron=submitted.get("cron", ""), reason=reason)
    elif verb == "backfill":
        begin, end = _moment(submitted.get("begin", "")), _moment(submitted.get("end", ""))
        if begin is None or end is None:
            raise InvalidInput("a backfill needs the time that it begins at and the time that it ends at")
        await bond.backfill(name, begin, end, reason=reason, request_id=request)
    elif verb == "delete":
        if submitted.get("confirm", "").strip() != name:
            raise InvalidInput("the name does not match, so nothing was done", hint=f"type {name} to confirm")
        await bond.delete(name, reason=reason)
    elif verb == "pause":
        await bond.pause(name, reason=reason)
    elif verb == "resume":
        await bond.resume(name, reason=reason)
    else:
        await bond.trigger(name, reason=reason, request_id=request)


def _request_id(verb: str, submitted: Mapping[str, str]) -> str:
    """What a form that is sent twice is known by: its page, the verb, and the time that a backfill names."""
    parts = [submitted.get("request_id", ""), verb, submitted.get("begin", ""), submitted.get("end", "")]
    return "-".join(filter(None, parts)) if parts[0] else ""


@router.post("/calendar/freezes")
async def create_freeze(request: Request, visitor: Visit) -> Response:
    """Create a freeze."""
    submitted = await form_of(request, visitor)
    name, team = submitted.get("name", ""), submitted.get("team", "")
    visitor.permissions.decide("freeze.create", Target(team=team, name=f"freeze {name}")).require()
    exempt = [part.strip() for part in submitted.get("exempt", "").split(",") if part.strip()]
    begins = _moment(submitted.get("begins", ""))
    ends = _later(begins or datetime.now(UTC), submitted.get("hours", ""))
    await visitor.bond.freezes.create(
        name, reason=submitted.get("reason", ""), team=team, exempt=exempt, begins_at=begins, ends_at=ends
    )
    return to("/calendar")


@router.post("/calendar/freezes/{name}/delete")
async def delete_freeze(request: Request, visitor: Visit, name: str) -> Response:
    """End a freeze."""
    await form_of(request, visitor)
    freeze = await visitor.bond.freezes.get(name)
    visitor.permissions.decide("freeze.delete", freeze_target(freeze)).require()
    await visitor.bond.freezes.delete(name)
    return to("/calendar")


def freeze_target(freeze: FreezeDocument) -> Target:
    """A freeze as access documents see it: of its team, or of the platform as a whole."""
    return Target(team=freeze.team, name=f"freeze {freeze.name}")


def _later(begins: datetime, hours: str) -> datetime:
    """The end of a freeze.

    Raises:
        InvalidInput: the hours are no number, or the end is beyond the calendar.
    """
    try:
        return begins + timedelta(hours=number_of(hours, "the number of hours", MAX_HOURS))
    except OverflowError:
        raise InvalidInput("the freeze would end after the year 9999") from None


def _moment(text: str) -> datetime | None:
    """A time as a browser's field gives it, in UTC; None when it is empty.

    Raises:
        InvalidInput: it is no time.
    """
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        raise InvalidInput(f"{text[:40]!r} is not a time", hint="as in 2026-11-30T22:00") from None
