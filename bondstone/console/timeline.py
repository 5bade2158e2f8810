"""A campaign as a drawing: waves as columns on a time axis, a cell for each target; what it waits for, as clocks.

SVG made here, styled by the console's style sheet, without scripts. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from markupsafe import Markup

from bondstone.campaign.report.text import lasted
from bondstone.client.documents.campaign import CampaignDocument
from bondstone.console.rendering import address, legible
from bondstone.model.campaign.report import CampaignReport, TargetReport, WaveReport
from bondstone.model.campaign.state import TargetOutcome

MAX_CELLS: Final = 2000
"""Targets that are drawn one by one; of a larger campaign a cell stands for several."""
MAX_LINKS: Final = 300
"""Cells that lead to their service; those that failed come first."""
STEADY: Final = timedelta(seconds=10)
"""A running campaign is drawn as of such a step, so that a page does not change by the passing of time alone."""

_WIDTH: Final = 700
_COLUMN: Final = 132
"""The narrowest a wave is drawn."""
_GAP: Final = 12
_HEAD: Final = 44
_FOOT: Final = 52
_CELLS: Final = ((100, 22), (400, 15), (MAX_CELLS, 8))
"""Side of a cell, in pixels, for so many targets."""
_MARKED: Final = 15
"""Cells of this side have room for a sign."""
_TONES: Final = {
    TargetOutcome.SUCCEEDED: "good", TargetOutcome.FAILED: "bad", TargetOutcome.TIMED_OUT: "bad",
    TargetOutcome.UNREACHABLE: "bad", TargetOutcome.REFUSED: "bad",
    TargetOutcome.ROLLED_BACK: "wait", "running": "busy", "rolling-back": "busy",
}  # fmt: skip
_SYMBOLS: Final = {"good": "✓", "bad": "✕", "wait": "◆", "busy": "…"}
_ORDER: Final = ("bad", "wait", "busy", "good", "idle")


@dataclass(frozen=True, slots=True)
class Dial:
    """One thing that a campaign waits for, as a clock."""

    kind: str
    """gate, soak, window or freeze"""
    words: str
    ends_at: datetime | None = None
    """What its hands show, in UTC; None: when people say so"""
    begun_at: datetime | None = None
    """With an end: how much of the time is over"""


def dials(campaign: CampaignDocument, report: CampaignReport) -> list[Dial]:
    """Every gate, soak, window and freeze that holds something of a campaign up now."""
    waits: list[Dial] = []
    soaks = {wave.name: wave for wave in report.waves}
    for wave in campaign.waves:
        if wave.missing:
            waits.append(Dial("gate", f"wave {wave.name} waits for {' and '.join(wave.missing)}"))
        if wave.status == "soaking" and wave.soak_until:
            begun = soaks[wave.name].last_success_at if wave.name in soaks else None
            waits.append(Dial("soak", f"wave {wave.name} soaks", wave.soak_until, begun))
    for freeze in campaign.freezes:
        whose = f" of team {freeze.team}" if freeze.team else ""
        waits.append(Dial("freeze", f"{freeze.name}{whose}", freeze.ends_at))
    if campaign.status == "waiting-window" and all(freeze.team for freeze in campaign.freezes):
        words = "closed" if campaign.opens_at else "closed for good"
        waits.append(Dial("window", words, campaign.opens_at))
    return waits


def face(dial: Dial, now: datetime) -> Markup:
    """The clock: hands at the end in UTC, a ring for how much is over."""
    parts = [Markup('<circle class="face" cx="24" cy="24" r="21"/>')]
    if dial.ends_at is not None:
        if dial.begun_at is not None and dial.begun_at < dial.ends_at:
            share = min(max((steady(now) - dial.begun_at) / (dial.ends_at - dial.begun_at), 0.0), 0.999)
            x, y = _on_circle(share, 21)
            parts.append(
                Markup('<path class="over" d="M24 3A21 21 0 {} 1 {} {}"/>').format(int(share > 0.5), x, y)  # noqa: PLR2004 - half
            )
        utc = dial.ends_at.astimezone(UTC)
        for share, length in (((utc.hour % 12 + utc.minute / 60) / 12, 10), (utc.minute / 60, 16)):
            x, y = _on_circle(share, length)
            parts.append(Markup('<path class="hand" d="M24 24L{} {}"/>').format(x, y))
    else:
        parts.append(Markup('<text x="24" y="30" text-anchor="middle">?</text>'))
    return Markup('<svg class="clock" viewBox="0 0 48 48" aria-hidden="true">{}</svg>').format(
        Markup().join(parts)
    )


def steady(now: datetime) -> datetime:
    """A time that moves in steps."""
    return datetime.fromtimestamp(now.timestamp() // STEADY.total_seconds() * STEADY.total_seconds(), UTC)


def drawing(report: CampaignReport, now: datetime) -> Markup:
    """The waves of a campaign: a column each, its cells, and under it when it worked and soaked.

    Args:
        report: Without evidence.
        now: The reader's time.
    """
    if not report.waves:
        return Markup()
    end = report.ended_at or steady(now)
    clock = "" if report.ended_at else "now"
    widths = list(_widths(report.waves, end))
    size = next((side for most, side in _CELLS if len(report.targets) <= most), _CELLS[-1][1])
    each = max(math.ceil(len(report.targets) / MAX_CELLS), 1)
    columns: list[tuple[WaveReport, float, list[tuple[str, list[TargetReport]]]]] = []
    rows = 1
    for wave, width in zip(report.waves, widths, strict=True):
        cells = list(_cells([target for target in report.targets if target.wave == wave.name], each))
        rows = max(rows, math.ceil(len(cells) / _per_row(width, size)))
        columns.append((wave, width, cells))
    height = _HEAD + rows * size + _FOOT
    total = round(sum(widths) + _GAP * (len(widths) - 1))
    body: list[Markup] = []
    left, links = 0.0, MAX_LINKS
    for wave, width, cells in columns:
        body.append(_column(wave, left, (width, height), end, clock))
        drawn, links = _squares(cells, left, width, size, links)
        body.append(drawn)
        left += width + _GAP
    words = f"Waves of {report.name}: " + "; ".join(_summary(wave) for wave in report.waves)
    note = Markup('<p class="dim">A cell stands for {} targets.</p>').format(each) if each > 1 else Markup()
    return legible(
        Markup(
            '<svg class="timeline" viewBox="0 0 {total} {height}" width="{total}" height="{height}" role="group" '
            'aria-label="{words}">{body}</svg>{note}'
        ).format(total=total, height=height, words=words, body=Markup().join(body), note=note)
    )


# Helpers ---------------------------------------------------------------------------------------------------------


def _widths(waves: Sequence[WaveReport], end: datetime) -> Iterator[float]:
    """A column for each wave, the wider the longer it took; each has room for its name."""
    spare = max(_WIDTH - _GAP * (len(waves) - 1) - _COLUMN * len(waves), 0)
    spans = [max(((wave.ended_at or end) - wave.started_at).total_seconds(), 1.0) if wave.started_at else 0.0
             for wave in waves]  # fmt: skip
    known = [math.sqrt(span) for span in spans if span]
    usual = sum(known) / len(known) if known else 1.0
    weights = [math.sqrt(span) if span else usual for span in spans]
    for weight in weights:
        yield round(_COLUMN + spare * weight / sum(weights), 1)


def _per_row(width: float, size: int) -> int:
    return max(int(width // size), 1)


def _cells(targets: Sequence[TargetReport], each: int) -> Iterator[tuple[str, list[TargetReport]]]:
    """Tone and targets of each cell: what went wrong first, then what runs, is done, and waits."""
    by_tone: dict[str, list[TargetReport]] = {tone: [] for tone in _ORDER}
    for target in targets:
        by_tone["bad" if target.failed else _TONES.get(target.outcome, "idle")].append(target)
    for tone, members in by_tone.items():
        for start in range(0, len(members), each):
            yield tone, members[start : start + each]


def _squares(
    cells: Sequence[tuple[str, list[TargetReport]]], left: float, width: float, size: int, links: int
) -> tuple[Markup, int]:
    """The cells of a wave; the first are links with a title, the others one path for each tone."""
    per_row, side = _per_row(width, size), size - 2
    parts: list[Markup] = []
    paths: dict[str, list[str]] = {}
    for index, (tone, targets) in enumerate(cells):
        x, y = round(left + index % per_row * size, 1), _HEAD + index // per_row * size
        if links <= 0 or len(targets) > 1:
            paths.setdefault(tone, []).append(f"M{x} {y}h{side}v{side}h-{side}z")
            continue
        links -= 1
        [target] = targets
        took = f", {lasted(target.seconds)}" if target.seconds else ""
        title = f"{target.service}: {target.outcome}{took}"
        parts.append(
            Markup(
                '<a href="{href}" aria-label="{title}"><title>{title}</title>'
                '<rect class="{tone}" x="{x}" y="{y}" width="{side}" height="{side}"/>{mark}</a>'
            ).format(
                href=address(target.operation or target.service),
                title=title,
                tone=tone,
                x=x,
                y=y,
                side=side,
                mark=_mark(tone, x, y, side),
            )
        )
    parts += [Markup('<path class="{}" d="{}"/>').format(tone, "".join(path)) for tone, path in paths.items()]
    return Markup().join(parts), links


def _mark(tone: str, x: float, y: int, side: int) -> Markup:
    """A sign in the cell, so that colour is never alone."""
    if tone not in _SYMBOLS or side < _MARKED - 2 or tone == "good":
        return Markup()
    place = (round(x + side / 2, 1), y + side / 2 + 4)
    return Markup('<text class="mark" x="{}" y="{}" text-anchor="middle">{}</text>').format(*place, _SYMBOLS[tone])


def _column(wave: WaveReport, left: float, size: tuple[float, int], end: datetime, clock: str) -> Markup:
    """Name and counts above, the time below: worked solid, soaked hatched, begin and end written."""
    width, height = size
    top = height - _FOOT + 12
    parts = [
        Markup('<text class="name" x="{}" y="14">{}</text>').format(left, _cut(wave.name, width)),
        Markup('<text class="soft" x="{}" y="31">{}</text>').format(left, _cut(_counted(wave), width)),
        Markup('<path class="axis" d="M{} {}h{}"/>').format(left, top + 7, width),
    ]
    if wave.started_at is None:
        parts.append(Markup('<text class="soft" x="{}" y="{}">not begun</text>').format(left, top + 30))
        return Markup().join(parts)
    ended = wave.ended_at or end
    length = max((ended - wave.started_at).total_seconds(), 0.001)
    soaks = wave.soak_seconds and wave.last_success_at and wave.status not in {"running", "waiting"}
    worked = width
    if soaks and wave.last_success_at:
        worked = width * min(max((wave.last_success_at - wave.started_at).total_seconds() / length, 0.05), 1.0)
    bar = Markup('<rect class="{}" x="{}" y="{}" width="{}" height="8"/>')
    parts.append(bar.format("worked", left, top + 3, round(worked, 1)))
    if worked < width:
        parts.append(bar.format("soaked", round(left + worked, 1), top + 3, round(width - worked, 1)))
    begun = wave.started_at.astimezone(UTC)
    until = clock if clock and wave.ended_at is None else f"{ended.astimezone(UTC):%H:%M:%S}"
    right = round(left + width, 1)
    parts.append(Markup('<text class="soft" x="{}" y="{}">{:%H:%M:%S}</text>').format(left, top + 30, begun))
    parts.append(
        Markup('<text class="soft" x="{}" y="{}" text-anchor="end">{}</text>').format(right, top + 30, until)
    )
    return Markup().join(parts)


def _counted(wave: WaveReport) -> str:
    done = wave.counts.get(TargetOutcome.SUCCEEDED, 0)
    failed = f", {wave.failures} ✕" if wave.failures else ""
    return f"{wave.status}: {done} of {wave.targets}{failed}"


def _summary(wave: WaveReport) -> str:
    return f"{wave.name} {_counted(wave)}"


def _cut(text: str, width: float) -> str:
    most = int(width // 7)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _on_circle(share: float, radius: float) -> tuple[float, float]:
    angle = 2 * math.pi * share - math.pi / 2
    return round(24 + radius * math.cos(angle), 1), round(24 + radius * math.sin(angle), 1)
