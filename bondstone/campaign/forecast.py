"""When a campaign's waves would begin and end, played through with past durations. Pure.

It keeps to concurrency (of the campaign, its waves and its groups), start rate, soaks, windows and freezes. It
supposes that everything succeeds, and that whoever is asked at a gate says yes at once.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from bondstone.campaign.waves import CampaignTarget, Partition
from bondstone.campaign.windows import Freeze, Opening, Windows
from bondstone.model.campaign.manifest import CampaignSpec, start_rate_of

FALLBACK_SECONDS: Final = 120.0
"""What a target is taken to last where there is no past at all."""


@dataclass(frozen=True, slots=True)
class WaveForecast:
    """One wave in time; None where windows or freezes never let it begin or end, as far as can be seen."""

    name: str
    starts_at: datetime | None
    ends_at: datetime | None
    """When its last target has ended and has soaked."""


def forecast(
    spec: CampaignSpec,
    plan: Partition,
    *,
    now: datetime,
    seconds: Callable[[CampaignTarget], float],
    freezes: Mapping[str, Sequence[Freeze]] | None = None,
) -> list[WaveForecast]:
    """Play a campaign through.

    Args:
        spec: Its rules.
        plan: Its targets by wave.
        now: When it would be started.
        seconds: How long a target will take.
        freezes: By team, those that bind it; under the empty name those of the whole platform.
    """
    clock = _Clock(spec, now, freezes or {})
    forecasts: list[WaveForecast] = []
    at: datetime | None = now
    for number, wave in enumerate(plan.waves):
        targets = [target for target in plan.targets if target.wave == number]
        if at is None:
            forecasts.append(WaveForecast(wave.name, None, None))
            continue
        slots = min(spec.max_concurrent, wave.max_concurrent or spec.max_concurrent)
        begins, ends = clock.play(at, targets, slots, seconds)
        if ends is not None and targets:
            ends += timedelta(seconds=wave.soak_seconds)
        forecasts.append(WaveForecast(wave.name, begins, ends))
        at = ends
    return forecasts


class _Clock:
    """What limits starts, over all waves."""

    def __init__(self, spec: CampaignSpec, now: datetime, freezes: Mapping[str, Sequence[Freeze]]) -> None:
        self._windows = Windows(spec.windows)
        self._freezes = freezes
        self._openings: dict[str, Opening] = {}
        self._opening_from: dict[str, datetime] = {}
        self._per = spec.per.max_concurrent if spec.per else 0
        count, period = start_rate_of(spec.start_rate) if spec.start_rate else (0, 1)
        self._between = timedelta(seconds=period / count) if count else timedelta()
        self._next_start = now

    def play(
        self,
        at: datetime,
        targets: Sequence[CampaignTarget],
        slots: int,
        seconds: Callable[[CampaignTarget], float],
    ) -> tuple[datetime | None, datetime | None]:
        """The first start and the last end of one wave that may begin at a time."""
        free = [at] * min(slots, max(len(targets), 1))
        groups: dict[str, list[datetime]] = {}
        begins: datetime | None = None
        ends = at
        for target in targets:
            group = groups.setdefault(target.group, [at] * self._per) if self._per else [at]
            earliest = max(heapq.heappop(free), heapq.heappop(group), self._next_start)
            start = self._open(target.team, earliest)
            if start is None:
                return begins, None
            end = start + timedelta(seconds=seconds(target))
            heapq.heappush(free, end)
            heapq.heappush(group, end)
            self._next_start = start + self._between if self._between else self._next_start
            begins = min(begins or start, start)
            ends = max(ends, end)
        return begins if targets else at, ends

    def _open(self, team: str, at: datetime) -> datetime | None:
        """The first time from `at` on at which a target of a team may start."""
        while True:
            opening = self._openings.get(team)
            known = opening is not None and self._opening_from[team] <= at and (
                opening.until is None or at < opening.until
            )  # fmt: skip
            if opening is None or not known:
                bound = [*self._freezes.get("", ()), *(self._freezes.get(team, ()) if team else ())]
                opening = self._windows.at(at, bound)
                self._openings[team], self._opening_from[team] = opening, at
            if opening.open:
                return at
            if opening.until is None:
                return None
            at = opening.until
