"""Refusals of access: who was refused what, counted by the hour, searched by who, why and when."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from starlette.responses import Response

from bondstone.api.refused_access import MAX_SPAN, RefusalSearch, search, span
from bondstone.api.state import State
from bondstone.base.errors import BY_CODE, InvalidInput
from bondstone.console.pages import View, shown
from bondstone.console.session import Visit
from bondstone.model.refusal import Refusal
from bondstone.store.refusal_record import ACCESS

MAX_SHOWN: Final = 200
FIRST_YEAR: Final = 2000
DAYS: Final = 7
"""What is searched at first."""
CODES: Final = sorted(code for code, kind in BY_CODE.items() if issubclass(kind, ACCESS))

Text = Annotated[str, Query(max_length=200)]
Day = Annotated[str, Query(max_length=10)]

router = APIRouter(include_in_schema=False)


@router.get("/ledger/refusals")
async def refusals(
    visitor: Visit,
    state: State,
    *,
    by: Text = "",
    code: Annotated[str, Query(max_length=48)] = "",
    text: Annotated[str, Query(max_length=100)] = "",
    first: Annotated[Day, Query(alias="from")] = "",
    last: Annotated[Day, Query(alias="to")] = "",
) -> Response:
    """The refusals that match, the newest hour first, and how many there were of each kind."""
    now = datetime.now(UTC)
    until = min(_day(last) or now.date(), now.date())
    since = _day(first) or until - timedelta(days=DAYS - 1)
    begin, end = span(_begin(since), min(_begin(until) + timedelta(days=1), now), now)
    rows: list[Refusal] = []
    counts: dict[str, int] = {}
    callers: set[str] = set()
    more = False
    async for refusal in search(
        state, visitor.permissions, RefusalSearch(by.strip(), code, text.strip()), begin, end
    ):
        counts[refusal.code] = counts.get(refusal.code, 0) + refusal.count
        callers.add(refusal.by)
        more = len(rows) == MAX_SHOWN
        if not more:
            rows.append(refusal)
    address = {"by": by, "text": text, "from": since.isoformat(), "to": until.isoformat()}
    view = View(
        "refusals.html", "/ledger", rows=rows, more=more, most=MAX_SHOWN, total=sum(counts.values()),
        callers=len(callers), codes=CODES, by=by, code=code, text=text, since=since.isoformat(),
        until=until.isoformat(), days=MAX_SPAN.days,
        kinds=[(each, number, urlencode({**address, "code": each})) for each, number in sorted(counts.items())],
    )  # fmt: skip
    return shown(view, visitor)


def _day(text: str) -> date | None:
    try:
        day = date.fromisoformat(text) if text else None
    except ValueError:
        raise InvalidInput("that is not a date", hint="as in 2026-11-30") from None
    if day is not None and day.year < FIRST_YEAR:
        raise InvalidInput(f"nothing was refused before {FIRST_YEAR}")
    return day


def _begin(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
