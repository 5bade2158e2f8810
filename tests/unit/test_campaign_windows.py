"""Windows against an oracle that looks at every minute, across changes of the clocks."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bondstone.campaign import windows as module
from bondstone.campaign.windows import (
    HORIZON,
    LOOK_AHEAD,
    CronError,
    Freeze,
    Opening,
    Windows,
    check_cron,
    never_opens,
    zone,
)
from bondstone.model.campaign.manifest import Window, WindowsSpec
from bondstone.model.promise import seconds

MINUTE = timedelta(minutes=1)
DAYS = 5
"""Days that the oracle looks at, around a change."""
LONGEST_CUTOFF = 60
"""Minutes. In the last of what it looks at, the oracle does not know whether a cutoff closes a period."""

CHANGES = {
    "Europe/London forward": ("Europe/London", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    "Europe/London back": ("Europe/London", datetime(2026, 10, 25, 1, tzinfo=UTC)),
    "America/New_York forward": ("America/New_York", datetime(2026, 3, 8, 7, tzinfo=UTC)),
    "America/New_York back": ("America/New_York", datetime(2026, 11, 1, 6, tzinfo=UTC)),
    "Australia/Lord_Howe forward": ("Australia/Lord_Howe", datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),
    "Australia/Lord_Howe back": ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC)),
    "Asia/Kathmandu forward": ("Asia/Kathmandu", datetime(1985, 12, 31, 18, 30, tzinfo=UTC)),
    "Pacific/Apia skips a day": ("Pacific/Apia", datetime(2011, 12, 30, 10, tzinfo=UTC)),
    "Asia/Kathmandu never": ("Asia/Kathmandu", datetime(2026, 3, 29, 1, tzinfo=UTC)),
}


# The oracle ----------------------------------------------------------------------------------------------


class Line:
    """A cron line of stars, numbers, lists and steps, which is all that is drawn."""

    def __init__(self, cron: str) -> None:
        self.minute, self.hour, self.day, self.month, self.weekday = (_numbers(word) for word in cron.split())

    def matches(self, local: datetime) -> bool:
        """Whether a local minute is one of its beginnings."""
        if local.minute not in self.minute or local.hour not in self.hour or local.month not in self.month:
            return False
        on_day, on_weekday = local.day in self.day, (local.weekday() + 1) % 7 in self.weekday
        if self.day is _ALL or self.weekday is _ALL:
            return on_day and on_weekday
        return on_day or on_weekday


_ALL = frozenset(range(60))


def _numbers(word: str) -> frozenset[int]:
    if word == "*":
        return _ALL
    if word.startswith("*/"):
        return frozenset(range(0, 60, int(word[2:])))
    return frozenset(int(number) for number in word.split(","))


class Oracle:
    """Everything minute by minute, from the words of the design and nothing else."""

    def __init__(self, spec: WindowsSpec, first: datetime, minutes: int, freezes: list[Freeze]) -> None:
        self.first = first
        span = range(minutes)
        allowed = self._covered(spec.allow, minutes) if spec.allow else [True] * minutes
        denied = self._covered(spec.deny, minutes)
        frozen = [
            any(
                f.begins_at <= first + n * MINUTE and (f.ends_at is None or first + n * MINUTE < f.ends_at)
                for f in freezes
            )
            for n in span
        ]
        self.period = [allowed[n] and not denied[n] and not frozen[n] for n in span]
        cutoff = seconds(spec.cutoff) // 60 if spec.cutoff else 0
        self.left: list[int | None] = [None] * minutes
        """Minutes until the period ends; None where that is past what is looked at, or there is none."""
        for n in reversed(span):
            if not self.period[n]:
                self.left[n] = 0
            elif n + 1 < minutes and (after := self.left[n + 1]) is not None:
                self.left[n] = after + 1
        self.open = [self.period[n] and ((left := self.left[n]) is None or left > cutoff) for n in span]

    def _covered(self, windows: tuple[Window, ...], minutes: int) -> list[bool]:
        covered = [False] * minutes
        for window in windows:
            where, length = ZoneInfo(window.time_zone), seconds(window.duration) // 60
            line = Line(window.cron)
            last = None
            before = (self.first - (length + 1) * MINUTE).astimezone(where).replace(tzinfo=None)
            for n in range(-length, minutes):
                local = (self.first + n * MINUTE).astimezone(where)
                here = local.replace(tzinfo=None, fold=0)
                skipped = [before + k * MINUTE for k in range(1, int((here - before) / MINUTE))]
                twice = local.fold == 1
                if any(line.matches(minute) for minute in [*skipped, *([] if twice else [here])]):
                    last = n
                before = here
                if n >= 0 and last is not None and n < last + length:
                    covered[n] = True
        return covered


# Properties ----------------------------------------------------------------------------------------------

minute_words = st.sampled_from(["0", "15", "30", "*/20", "5,50", "59"])
hour_words = st.sampled_from(["*", "0", "1", "2", "1,2", "3", "22", "*/6", "23"])
day_words = st.sampled_from(["*", "*", "*", "1", "29,30"])
weekday_words = st.sampled_from(["*", "*", "0", "6", "1,2,3,4,5"])
durations = st.sampled_from(["10m", "30m", "1h", "90m", "6h", "26h"])


@dataclass(frozen=True)
class Case:
    spec: WindowsSpec
    first: datetime
    freezes: list[Freeze]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    name = draw(st.sampled_from(sorted(CHANGES)))
    where, change = CHANGES[name]

    def window() -> Window:
        cron = " ".join([draw(minute_words), draw(hour_words), draw(day_words), "*", draw(weekday_words)])
        zone_name = draw(st.sampled_from([where, where, where, "Europe/London", "UTC"]))
        return Window(cron=cron, duration=draw(durations), time_zone=zone_name)

    first = change - timedelta(days=2, minutes=draw(st.integers(0, 60)))
    begins = first + draw(st.integers(-100, 6000)) * MINUTE
    ends = draw(st.sampled_from([None, begins + 45 * MINUTE, begins + 3000 * MINUTE]))
    spec = WindowsSpec(
        allow=tuple(window() for _ in range(draw(st.integers(0, 2)))),
        deny=tuple(window() for _ in range(draw(st.integers(0, 1)))),
        cutoff=draw(st.sampled_from([None, "20m", "1h"])),
    )
    return Case(spec, first, draw(st.sampled_from([[], [], [Freeze("year-end", begins, ends)]])))


@settings(max_examples=12, deadline=None)
@given(cases(), st.lists(st.integers(0, 3 * 24 * 60), min_size=8, max_size=8))
def test_every_answer_is_the_oracles(case: Case, minutes: list[int]) -> None:
    total = DAYS * 24 * 60 + 60
    oracle = Oracle(case.spec, case.first, total + LONGEST_CUTOFF, case.freezes)
    windows = Windows(case.spec)
    near = [int((CHANGES[name][1] - case.first) / MINUTE) for name in CHANGES]
    for n in {*minutes, *(m + d for m in near if 0 <= m < 3 * 1440 for d in (-1, 0, 1, 29, 30, 59, 60))}:
        result = windows.at(case.first + n * MINUTE, case.freezes)
        assert result.open == oracle.open[n], n
        assert_until(oracle, result, n, total)
        if result.ends_at is not None:
            assert result.ends_at == case.first + (n + (oracle.left[n] or 0)) * MINUTE
        assert bool(result.why) is not result.open


def assert_until(oracle: Oracle, opening: Opening, n: int, total: int) -> None:
    """`until` is where the answer changes; an open one may stop short of that, after `LOOK_AHEAD`."""
    changes = next((m for m in range(n, total) if oracle.open[m] != opening.open), None)
    at = oracle.first + changes * MINUTE if changes is not None else None
    horizon = oracle.first + (n * MINUTE) + LOOK_AHEAD
    if opening.open and (at is None or at > horizon):
        assert opening.until in {None, horizon}
        assert opening.until is not None or at is None
    elif at is not None:
        assert opening.until == at
    elif opening.until is not None:
        # Short windows that never let anything start may stop the search at MAX_STEPS; it goes on from there.
        asked_at = oracle.first + n * MINUTE
        assert opening.until >= min(oracle.first + total * MINUTE, asked_at + timedelta(days=1))


@pytest.mark.parametrize(
    ("where", "local", "starts"),
    [
        ("Europe/London", "30 1 29 3 *", datetime(2026, 3, 29, 1, tzinfo=UTC)),
        ("Europe/London", "30 1 25 10 *", datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
        ("America/New_York", "30 2 8 3 *", datetime(2026, 3, 8, 7, tzinfo=UTC)),
        ("America/New_York", "30 1 1 11 *", datetime(2026, 11, 1, 5, 30, tzinfo=UTC)),
        ("Australia/Lord_Howe", "15 2 4 10 *", datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),
        ("Australia/Lord_Howe", "45 1 5 4 *", datetime(2026, 4, 4, 14, 45, tzinfo=UTC)),
        ("Asia/Kathmandu", "30 1 29 3 *", datetime(2026, 3, 28, 19, 45, tzinfo=UTC)),
    ],
)
def test_a_skipped_start_is_the_end_of_the_gap_and_a_double_one_the_first(
    where: str, local: str, starts: datetime
) -> None:
    windows = Windows(WindowsSpec(allow=(Window(cron=local, duration="2h", time_zone=where),)))
    assert windows.at(starts - 10 * MINUTE).until == starts
    assert windows.at(starts).open
    assert windows.at(starts).until == starts + timedelta(hours=2)
    assert not windows.at(starts + timedelta(hours=2)).open


def test_a_window_that_began_the_first_time_round_is_on_the_second_time_too() -> None:
    window = Window(cron="30 1 25 10 *", duration="2h", time_zone="Europe/London")
    again = datetime(2026, 10, 25, 1, 15, tzinfo=UTC)  # 01:15 for the second time; it began at 01:30 of the first
    result = Windows(WindowsSpec(allow=(window,))).at(again)
    assert (result.open, result.until) == (True, datetime(2026, 10, 25, 2, 30, tzinfo=UTC))


def test_the_zone_of_the_machine_decides_nothing() -> None:
    spec = WindowsSpec(allow=(Window(cron="0 22 * * *", duration="1h", time_zone="Europe/London"),))
    at = datetime(2026, 7, 1, 12, tzinfo=UTC)
    before = Windows(spec).at(at)
    old = os.environ.get("TZ")
    os.environ["TZ"] = "America/New_York"
    time.tzset()
    try:
        assert Windows(spec).at(at) == before
    finally:
        os.environ.pop("TZ") if old is None else os.environ.update(TZ=old)
        time.tzset()


def test_zones_come_from_the_package_and_not_from_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    zone.cache_clear()
    monkeypatch.setattr("zoneinfo.TZPATH", ())
    assert zone("Europe/London").utcoffset(datetime(2026, 7, 1, tzinfo=zone("Europe/London"))) == timedelta(
        hours=1
    )
    with pytest.raises(KeyError):
        zone("../../etc/passwd")


def test_nothing_without_windows_and_freezes_is_open_for_good() -> None:
    assert Windows(WindowsSpec()).at(datetime(2026, 1, 1, tzinfo=UTC)) == Opening(open=True, until=None)


def test_a_freeze_that_nobody_has_ended_has_no_end() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    result = Windows(WindowsSpec()).at(at, [Freeze("incident", at, None)])
    assert result == Opening(open=False, until=None, why="the freeze 'incident' is on")


def test_the_cutoff_counts_to_a_freeze_too() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    freeze = Freeze("release", at + 60 * MINUTE, at + 120 * MINUTE)
    result = Windows(WindowsSpec(cutoff="30m", deny=())).at(at + 30 * MINUTE, [freeze])
    assert (result.open, result.until, result.why) == (
        False,
        at + 120 * MINUTE,
        "less than the cutoff of 30m is left",
    )


def test_windows_that_exclude_each_other_never_open() -> None:
    night = Window(cron="0 22 * * *", duration="6h", time_zone="Europe/London")
    hourly = Window(cron="0 * * * *", duration="1h", time_zone="UTC")
    at = datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert never_opens(WindowsSpec(allow=(night,), deny=(night,)), at) == "no window of windows.allow is on"
    assert never_opens(WindowsSpec(deny=(hourly,)), at) == "windows.deny[0] is on"
    assert never_opens(WindowsSpec(allow=(night,), cutoff="6h"), at)
    assert not never_opens(WindowsSpec(allow=(night,), cutoff="5h59m"), at)


def test_an_opening_years_ahead_is_found() -> None:
    leap = Window(cron="0 0 29 2 *", duration="1h", time_zone="UTC")
    at = datetime(2025, 1, 1, tzinfo=UTC)
    assert Windows(WindowsSpec(allow=(leap,))).at(at).until == datetime(2028, 2, 29, tzinfo=UTC)
    assert at + HORIZON > datetime(2028, 2, 29, tzinfo=UTC)


def test_an_answer_that_takes_too_many_steps_says_when_to_ask_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_STEPS", 20)
    every = Window(cron="* * * * *", duration="1m", time_zone="UTC")
    at = datetime(2026, 1, 1, tzinfo=UTC)
    closed = Windows(WindowsSpec(deny=(every,))).at(at)
    assert not closed.open
    assert closed.until is not None
    assert at < closed.until < at + HORIZON
    opened = Windows(WindowsSpec(allow=(every,))).at(at)
    assert (opened.open, opened.ends_at) == (True, None)


@pytest.mark.parametrize(
    ("line", "message", "offset"),
    [
        ("0 22 * *", "a cron line has 5 fields, this one has 4", 0),
        ("0 0 22 * * *", "a cron line has 5 fields, this one has 6", 0),
        ("CRON_TZ=UTC 0 3 * * *", "a cron line names no time zone, this one begins with CRON_TZ=", 0),
        ("TZ=Europe/Berlin 0 3 * * *", "a cron line names no time zone, this one begins with TZ=", 0),
        ("0 25 * * *", "'25' is not valid as hour", 2),
        ("61 2 * * *", "'61' is not valid as minute", 0),
        ("0 2 * * FRI-MON", "'FRI-MON' is not valid as day of the week", 8),
        ("0 2 30 2 *", "there is no day 30 in month 2", 0),
        ("0 2 * FOO *", "'FOO' is not valid as month", 6),
    ],
)
def test_a_cron_line_that_is_none_is_told_where(line: str, message: str, offset: int) -> None:
    with pytest.raises(CronError) as caught:
        check_cron(line)
    assert (caught.value.message, caught.value.offset) == (message, offset)
