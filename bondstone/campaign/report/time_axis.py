"""The waves of a campaign on a time axis, as an inline SVG for the report's page. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from bondstone.campaign.report.text import tone, xml
from bondstone.model.campaign.report import CampaignReport, WaveReport

WIDTH: Final = 1000
_LEFT: Final = 150
"""Where time begins; wave names stand before it."""
_RIGHT: Final = 30
"""Room for half of the last time's label."""
_ROW: Final = 34
_TOP: Final = 22
_LABELS: Final = 6
"""About so many times on the axis."""
_NAME_CHARACTERS: Final = 22

_STEPS: Final = tuple(
    timedelta(seconds=seconds)
    for seconds in (
        1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800,
    )
)  # fmt: skip
_DAY: Final = timedelta(days=1)
_MONTH: Final = timedelta(days=28)

_X = Callable[[datetime], float]


def axis(report: CampaignReport) -> str:
    """The SVG: a row for each wave, a tick for the end of each target, a line for each thing that people did.

    Ticks of the same outcome that would be drawn in the same place are drawn once, so its size is bounded.
    """
    start = report.started_at
    if start is None:
        return ""
    end = max(report.ended_at or report.as_of, start + timedelta(seconds=1))
    length = end - start

    def x(at: datetime) -> float:
        share = min(max((at - start) / length, 0.0), 1.0)
        return round(_LEFT + share * (WIDTH - _LEFT - _RIGHT), 1)

    height = _TOP + _ROW * len(report.waves) + 8
    body = [*_grid(start, end, x, height), *_waves(report, end, x), *_events(report, x, height)]
    label = f"Waves of {report.name} from {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{xml(label)}">{"".join(body)}</svg>'


def _grid(start: datetime, end: datetime, x: _X, height: int) -> Iterator[str]:
    length = end - start
    step = next((step for step in _STEPS if length / step <= _LABELS), _MONTH)
    shape = "%m-%d" if step >= _DAY else "%H:%M:%S" if step < timedelta(minutes=1) else "%H:%M"
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    at = epoch + -(-(start.astimezone(UTC) - epoch) // step) * step
    while at <= end:
        place = x(at)
        yield f'<path class="grid" d="M{place} {_TOP - 4}V{height}"/>'
        yield f'<text x="{place}" y="12" text-anchor="middle">{at.strftime(shape)}</text>'
        at += step


def _waves(report: CampaignReport, end: datetime, x: _X) -> Iterator[str]:
    ticks: dict[str, dict[str, dict[float, int]]] = {}
    last: dict[str, datetime] = {}
    for target in report.targets:
        if target.ended_at is None or target.started_at is None:
            continue
        places = ticks.setdefault(target.wave, {}).setdefault(tone(target.outcome, failed=target.failed), {})
        place = round(x(target.ended_at))
        places[place] = places.get(place, 0) + 1
        last[target.wave] = max(last.get(target.wave, target.ended_at), target.ended_at)
    for index, wave in enumerate(report.waves):
        top = _TOP + index * _ROW
        name = wave.name if len(wave.name) <= _NAME_CHARACTERS else f"{wave.name[: _NAME_CHARACTERS - 1]}…"
        yield f'<text class="name" x="0" y="{top + 20}">{xml(name)}</text>'
        if wave.started_at is None:
            continue
        worked = _worked(wave, last.get(wave.name), end)
        yield _bar("wave", x(wave.started_at), x(worked), top, f"{wave.name}: {wave.targets} targets")
        soaked = _soaked(wave, end)
        if soaked and wave.last_success_at:
            yield _bar("soak", x(wave.last_success_at), x(soaked), top, f"{wave.name}: soak")
        for kind, places in ticks.get(wave.name, {}).items():
            marks = "".join(f"M{place} {top + 4}V{top + 26}" for place in sorted(places))
            yield f'<path class="{kind}" d="{marks}"/>'


def _worked(wave: WaveReport, last: datetime | None, end: datetime) -> datetime:
    """Until when targets of the wave ran."""
    if wave.ended_at is None and wave.status == "running":
        return end
    return last or wave.ended_at or end


def _soaked(wave: WaveReport, end: datetime) -> datetime | None:
    if not wave.soak_seconds or wave.last_success_at is None or wave.status == "running":
        return None
    return min(wave.last_success_at + timedelta(seconds=wave.soak_seconds), wave.ended_at or end)


def _bar(kind: str, left: float, right: float, top: int, title: str) -> str:
    width = round(max(right - left, 1.0), 1)
    return (
        f'<rect class="{kind}" x="{left}" y="{top + 4}" width="{width}" height="22" rx="3">'
        f"<title>{xml(title)}</title></rect>"
    )


def _events(report: CampaignReport, x: _X, height: int) -> Iterator[str]:
    """What people did, and what broke: a line in time, words on pointing at it."""
    for event in report.events:
        if event.by or event.what == "budget-broken":
            words = f"{event.at:%H:%M:%S} {event.what}{f' by {event.by}' if event.by else ''}"
            line = f'<path class="event" d="M{x(event.at)} {_TOP - 4}V{height}">'
            yield f"{line}<title>{xml(words)}</title></path>"
