"""The next two weeks as a drawing: freezes, windows of campaigns, times of schedules. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from markupsafe import Markup

from bondstone.campaign.windows import Windows
from bondstone.console.rendering import legible
from bondstone.model.campaign.manifest import WindowsSpec

DAYS: Final = 14
MAX_ROWS: Final = 100
NEXT: Final = 3
"""Periods and times of each row that are listed as to come."""
MAX_TO_COME: Final = 60
"""Rows of the list of what is to come."""
MAX_PERIODS: Final = 200
"""Open periods of one campaign that are drawn, with the pauses between them."""
OPEN: Final = "targets may start"

_LABEL: Final = 190
_DAY: Final = 52
_ROW: Final = 26
_TOP: Final = 40
_LABEL_CHARS: Final = 28


@dataclass(frozen=True, slots=True)
class Period:
    """A time from which to which something holds."""

    begins_at: datetime
    ends_at: datetime | None
    """None: no end is known"""
    words: str


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the calendar."""

    kind: str
    """freeze, window or schedule"""
    name: str
    periods: tuple[Period, ...] = ()
    times: tuple[datetime, ...] = ()
    zones: tuple[str, ...] = ()
    """Where its times are told beside UTC"""


@dataclass(frozen=True, slots=True)
class Coming:
    """One thing that holds now or is to come."""

    kind: str
    """freeze, window or schedule"""
    name: str
    words: str
    begins_at: datetime
    ends_at: datetime | None
    """None: no end is known, or it is a moment"""
    local: tuple[str, ...]
    """When it begins, elsewhere than in UTC"""
    is_now: bool


def to_come(rows: Sequence[Row], now: datetime) -> list[Coming]:
    """What holds now and what begins in the days that are drawn: `NEXT` of each row, at most `MAX_TO_COME`.

    Args:
        rows: Of the calendar.
        now: The reader's time.
    """
    end = now + timedelta(days=DAYS)
    coming = [
        Coming(row.kind, row.name, period.words, period.begins_at, period.ends_at,
               _elsewhere(period.begins_at, row.zones), is_now=period.begins_at <= now)
        for row in rows
        for period in row.periods[:NEXT]
        if period.begins_at < end and (period.ends_at is None or period.ends_at > now)
    ]  # fmt: skip
    coming += [
        Coming(row.kind, row.name, "starts a campaign", at, None, _elsewhere(at, row.zones), is_now=False)
        for row in rows
        for at in row.times[:NEXT]
        if now <= at < end
    ]
    return sorted(coming, key=lambda each: (each.begins_at, each.kind, each.name))[:MAX_TO_COME]


def zones_of(windows: Mapping[str, Any]) -> tuple[str, ...]:
    """The time zones that windows are written in, but UTC.

    Args:
        windows: `spec.windows` of a campaign's file.
    """
    named = [window.get("time_zone", "UTC") for kind in ("allow", "deny") for window in windows.get(kind, ())]
    return tuple(zone for zone in dict.fromkeys(named) if zone != "UTC")


def open_periods(windows: Mapping[str, Any], now: datetime) -> Iterator[Period]:
    """When targets may start in the days that are drawn.

    Args:
        windows: `spec.windows` of a campaign's file.
        now: Where the drawing begins.
    """
    openings = Windows(WindowsSpec.model_validate(windows))
    end = now + timedelta(days=DAYS)
    at = now
    begun: datetime | None = None
    for _ in range(MAX_PERIODS):
        opening = openings.at(at)
        is_last = opening.until is None or opening.until >= end or opening.until <= at
        if opening.open:
            begun = begun or at
            if opening.ends_at is not None:
                yield Period(begun, opening.until, OPEN)
                begun = None
            elif is_last:
                yield Period(begun, None, OPEN)
        elif begun is not None:
            yield Period(begun, at, OPEN)
            begun = None
        if is_last or opening.until is None:
            return
        at = opening.until  # an open period that is long ends further on: each answer looks two days ahead


def calendar(rows: Sequence[Row], now: datetime) -> Markup:
    """The drawing: a column for each day, in UTC, a line for each row.

    Args:
        rows: At most `MAX_ROWS` are drawn.
        now: The reader's time; the first day is today.
    """
    first = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    height = _TOP + _ROW * len(rows[:MAX_ROWS]) + 6
    width = _LABEL + DAYS * _DAY
    body: list[Markup] = []
    for day in range(DAYS + 1):
        x = _LABEL + day * _DAY
        body.append(Markup('<path class="axis" d="M{} {}V{}"/>').format(x, _TOP - 8, height))
        if day < DAYS:
            date = first + timedelta(days=day)
            body.append(Markup('<text class="soft" x="{}" y="13">{:%a}</text>').format(x + 4, date))
            body.append(Markup('<text class="soft" x="{}" y="28">{:%m-%d}</text>').format(x + 4, date))
    for index, row in enumerate(rows[:MAX_ROWS]):
        body += _line(row, _TOP + index * _ROW, first)
    body.append(
        Markup('<path class="now" d="M{} {}V{}"><title>now</title></path>').format(
            _place(now, first), _TOP - 8, height
        )
    )
    return legible(
        Markup(
            '<svg class="timeline calendar" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img" '
            'aria-label="{words}">{body}</svg>'
        ).format(w=width, h=height, words=_words(rows, first), body=Markup().join(body))
    )


def _elsewhere(at: datetime, zones: Sequence[str]) -> tuple[str, ...]:
    words = []
    for zone in zones:
        try:
            words.append(f"{at.astimezone(ZoneInfo(zone)):%m-%d %H:%M} {zone}")
        except (ZoneInfoNotFoundError, ValueError):
            continue  # another version's data has it
    return tuple(words)


def _line(row: Row, top: int, first: datetime) -> Iterator[Markup]:
    name = f"{row.kind} {row.name}"
    shown = name if len(name) <= _LABEL_CHARS else f"{name[: _LABEL_CHARS - 1]}…"
    yield Markup('<text x="0" y="{}">{}</text>').format(top + 16, shown)
    for period in row.periods:
        left = _place(period.begins_at, first)
        right = _place(period.ends_at, first) if period.ends_at else _LABEL + DAYS * _DAY
        if right <= _LABEL or left >= _LABEL + DAYS * _DAY:
            continue
        until = f"{period.ends_at:%m-%d %H:%M}" if period.ends_at else "no end is known"
        yield Markup(
            '<rect class="{}" x="{}" y="{}" width="{}" height="16" rx="3">'
            "<title>{}: {:%m-%d %H:%M} to {}</title></rect>"
        ).format(row.kind, left, top + 3, max(round(right - left, 1), 3), period.words, period.begins_at, until)
    for at in row.times:
        x = _place(at, first)
        if x < _LABEL + DAYS * _DAY:
            yield Markup(
                '<circle class="due" cx="{}" cy="{}" r="5"><title>{:%m-%d %H:%M} UTC</title></circle>'
            ).format(x, top + 11, at.astimezone(UTC))


def _place(at: datetime, first: datetime) -> float:
    days = (at - first) / timedelta(days=1)
    return round(_LABEL + min(max(days, 0.0), float(DAYS)) * _DAY, 1)


def _words(rows: Sequence[Row], first: datetime) -> str:
    named = ", ".join(f"{row.kind} {row.name}" for row in rows[:MAX_ROWS]) or "nothing is planned"
    return f"{DAYS} days from {first:%Y-%m-%d}: {named}"
