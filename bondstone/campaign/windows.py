"""When targets may start: windows that come again, cutoffs and freezes. Pure, and light enough for a workflow.

Three rules, for any instant:

- It is *open* inside an allow window (always, when there is none), outside every deny window and every freeze.
  Windows that touch or overlap are one open period.
- Nothing starts in the last `cutoff` of an open period, whatever ends it: the window, a deny window or a freeze.
- A window begins at a local time and lasts for elapsed time. A beginning that the clocks skip is moved to the end
  of that gap; of one that comes twice, the first is meant.

Cron lines are read by `cronsim` on naive local time, so that the rules for clock changes are these and no others.
Zones come from the `tzdata` package and not from the machine: every worker of a release has the same. Its files
are read once for each process; the workflow sandbox lets that through, as `bondstone` passes through whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from importlib import resources
from io import BytesIO
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from bondstone.model.campaign.manifest import Window, WindowsSpec
from bondstone.model.promise import seconds

HORIZON: Final = timedelta(days=366 * 4 + 1)
"""How far ahead an opening is looked for."""
LOOK_AHEAD: Final = timedelta(days=2)
"""How far ahead the end of an open period is looked for; a longer one is open *at least* until then."""
MAX_STEPS: Final = 600
"""Most beginnings of windows that are looked up for one answer: bounds its time, some 0.2 ms each."""
MAX_ASKS: Final = 5
"""How often `never_opens` continues where one answer stopped at `MAX_STEPS`."""

_MINUTE: Final = timedelta(minutes=1)
_FIELDS: Final = (
    ("minute", "0-59"), ("hour", "0-23"), ("day of the month", "1-31"), ("month", "1-12 or JAN-DEC"),
    ("day of the week", "0-7 or SUN-SAT"),
)  # fmt: skip


NICKNAMES: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
"""What crontab(5) knows by a name."""


@dataclass(frozen=True, slots=True)
class Freeze:
    """A time in which nothing starts, whatever the windows say."""

    name: str
    begins_at: datetime
    ends_at: datetime | None = None
    """When it is over; None until somebody ends it."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What windows and freezes say of one instant."""

    open: bool
    """A target may start."""
    until: datetime | None
    """When to ask again. Open: nothing starts from then on, as far as is known; None is for good. Closed: it does
    not open before, and as a rule then; None when not within `HORIZON`, or not before somebody ends a freeze."""
    ends_at: datetime | None = None
    """When the open period ends that the instant is in (its cutoff included), if that is within `LOOK_AHEAD`."""
    why: str = ""
    """Why it is closed."""


class CronError(ValueError):
    """A cron line that is not one; `offset` is where in it."""

    def __init__(self, message: str, hint: str, offset: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.offset = offset


def spelled_out(line: str) -> str:
    """A cron line with its five fields: `@daily` and its like are written out, everything else is as it was."""
    return NICKNAMES.get(line.strip().lower(), line)


def check_cron(line: str) -> None:
    """Raise `CronError` unless a line has five good fields, or is a nickname, and comes true on some day."""
    if line.strip().startswith("@"):
        _check_nickname(line.strip())
        return
    words = line.split()
    if words and "=" in words[0]:
        raise CronError(
            f"a cron line names no time zone, this one begins with {words[0].partition('=')[0]}=",
            "name the zone beside the line: `time_zone`, or --time-zone of `bond schedule`",
        )
    if len(words) != len(_FIELDS):
        raise CronError(
            f"a cron line has 5 fields, this one has {len(words)}",
            "minute, hour, day of the month, month, day of the week, as in 0 22 * * MON-FRI",
        )
    offset = 0
    for index, (word, (name, among)) in enumerate(zip(words, _FIELDS, strict=True)):
        offset = line.index(word, offset)
        alone = ["*"] * len(_FIELDS)
        alone[index] = word
        try:
            CronSim(" ".join(alone), datetime(2000, 1, 1))  # noqa: DTZ001 - local time of no zone, as everywhere here
        except CronSimError as error:
            hint = f"{among}, lists (1,15), ranges (1-5; they cannot wrap), steps (*/10), or *"
            raise CronError(f"{word!r} is not valid as {name}", hint, offset) from error
        offset += len(word)
    try:
        next(CronSim(line, datetime(2000, 1, 1)))  # noqa: DTZ001 - as above
    except (CronSimError, StopIteration) as error:
        raise CronError(
            f"there is no day {words[2]} in month {words[3]}", "choose a day that the month has"
        ) from error


def _check_nickname(line: str) -> None:
    if spelled_out(line) != line:
        return
    known = ", ".join(NICKNAMES)
    word = line.split(maxsplit=1)[0].lower()
    if word == "@every":
        raise CronError(
            f"{line!r} is an interval, which has no time of day",
            "write times, as in */30 * * * *, or one of " + known,
        )
    if word == "@reboot":
        raise CronError(
            "'@reboot' means the start of a machine, which a campaign does not have",
            "write times, or one of " + known,
        )
    raise CronError(f"{line!r} is not known", f"write five fields, or one of {known}")


@lru_cache(maxsize=1)
def zone_names() -> frozenset[str]:
    """Every IANA zone there is."""
    text = resources.files("tzdata").joinpath("zones").read_text("utf-8")
    return frozenset(text.split())


@lru_cache(maxsize=256)
def zone(name: str) -> ZoneInfo:
    """A zone by its IANA name; raises `KeyError` for one that there is not."""
    if name not in zone_names():
        raise KeyError(name)
    return ZoneInfo.from_file(BytesIO(zone_data(name)), key=name)


@lru_cache(maxsize=256)
def zone_data(name: str) -> bytes:
    """The data of a zone, as in the files of the IANA database (TZif); raises `KeyError` as `zone` does."""
    if name not in zone_names():
        raise KeyError(name)
    return resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).read_bytes()


class Windows:
    """The windows of a campaign, to be asked about instants.

    Args:
        spec: As written, and checked.
    """

    def __init__(self, spec: WindowsSpec) -> None:
        self._allow = tuple(map(_Recurring, spec.allow))
        self._deny = tuple(map(_Recurring, spec.deny))
        self._cutoff = timedelta(seconds=seconds(spec.cutoff) if spec.cutoff else 0)

    def at(self, instant: datetime, freezes: Sequence[Freeze] = ()) -> Opening:
        """Whether a target may start at an instant, until when, or when next.

        Args:
            instant: With a time zone.
            freezes: Those that bind the target.
        """
        instant = instant.astimezone(UTC)
        steps = _Steps()
        end, why = self._period(instant, freezes, steps)
        ends_at = None if steps.spent else end
        if why or (end is not None and instant >= end - self._cutoff):
            return Opening(
                open=False,
                until=self._next(instant, freezes, steps),
                ends_at=ends_at,
                why=why or f"less than the cutoff of {_words(self._cutoff)} is left",
            )
        if end is None:
            until = instant + LOOK_AHEAD if self._allow or self._deny or freezes else None
            return Opening(open=True, until=until)
        return Opening(open=True, until=min(end - self._cutoff, instant + LOOK_AHEAD), ends_at=ends_at)

    def _next(self, instant: datetime, freezes: Sequence[Freeze], steps: _Steps) -> datetime | None:
        """The first instant after a closed one at which a target may start."""
        horizon = instant + HORIZON
        candidate: datetime | None = instant
        while candidate is not None and candidate <= horizon:
            if steps.spent:
                return candidate
            ends_at, why = self._period(candidate, freezes, steps)
            if why:
                candidate = self._leave(candidate, freezes, steps)
            elif ends_at is None or candidate < ends_at - self._cutoff:
                return candidate
            else:
                candidate = ends_at
        return None

    def _leave(self, instant: datetime, freezes: Sequence[Freeze], steps: _Steps) -> datetime | None:
        """From a closed instant: the end of what closes it, or the beginning of the next allow window."""
        for freeze in freezes:
            if freeze.begins_at <= instant and (freeze.ends_at is None or instant < freeze.ends_at):
                return freeze.ends_at
        denied = _covered_until(self._deny, instant, instant + HORIZON, steps)
        if denied is not None:
            return denied
        return min((start for each in self._allow if (start := each.next(instant))), default=None)

    def _period(self, instant: datetime, freezes: Sequence[Freeze], steps: _Steps) -> tuple[datetime | None, str]:
        """The end of the open period that an instant is in, if it is near; or why it is in none."""
        for freeze in freezes:
            if freeze.begins_at <= instant and (freeze.ends_at is None or instant < freeze.ends_at):
                return None, f"the freeze {freeze.name!r} is on"
        for number, each in enumerate(self._deny):
            if each.until(instant) is not None:
                return None, f"windows.deny[{number}] is on"
        limit = instant + LOOK_AHEAD + self._cutoff
        ends = [freeze.begins_at for freeze in freezes if freeze.begins_at > instant]
        ends += [start for each in self._deny if (start := each.next(instant))]
        if self._allow:
            end = _covered_until(self._allow, instant, limit, steps)
            if end is None:
                return None, "no window of windows.allow is on"
            ends.append(end)
        end = min(ends, default=None)
        return (end if end is not None and end <= limit else None), ""


def never_opens(spec: WindowsSpec, at: datetime) -> str:
    """Why no target can start within `HORIZON` of an instant; empty when one can."""
    windows = Windows(spec)
    opening = windows.at(at)
    for _ in range(MAX_ASKS):
        if opening.open:
            return ""
        if opening.until is None:
            break
        opening = windows.at(opening.until)
    return opening.why


def next_start(cron: str, time_zone: str, instant: datetime) -> datetime | None:
    """The first time after an instant that a cron line means in an IANA zone; None when there is none."""
    return _next(spelled_out(cron), zone(time_zone), instant)


# Recurring windows ---------------------------------------------------------------------------------------


class _Steps:
    """A bound on the work for one answer."""

    def __init__(self) -> None:
        self._left = MAX_STEPS

    @property
    def spent(self) -> bool:
        return self._left <= 0

    def take(self, steps: int) -> None:
        self._left -= steps


class _Recurring:
    """One cron line with a duration and a zone: its beginnings, as instants in UTC."""

    def __init__(self, window: Window) -> None:
        self._cron = spelled_out(window.cron)
        self._duration = timedelta(seconds=seconds(window.duration))
        self._zone = zone(window.time_zone)

    def until(self, instant: datetime) -> datetime | None:
        """The end of the latest of these windows that an instant is in."""
        start = _last(self._cron, self._zone, instant)
        return start + self._duration if start is not None and instant < start + self._duration else None

    def next(self, instant: datetime) -> datetime | None:
        """The first beginning after an instant."""
        return _next(self._cron, self._zone, instant)


@lru_cache(maxsize=4096)
def _next(cron: str, where: ZoneInfo, instant: datetime) -> datetime | None:
    """The first beginning after an instant."""
    for local in CronSim(cron, _minute(instant.astimezone(where))):
        start = _instant(local, where)
        if start > instant:
            return start
    return None


@lru_cache(maxsize=4096)
def _last(cron: str, where: ZoneInfo, instant: datetime) -> datetime | None:
    """The last beginning that is not after an instant."""
    here = instant.astimezone(where)
    # The second time round, beginnings that are later by the clock have been already.
    ahead = _offset(here, fold=0) - _offset(here, fold=1) if here.fold else timedelta()
    for local in CronSim(cron, _minute(here) + ahead + _MINUTE, reverse=True):
        start = _instant(local, where)
        if start <= instant:
            return start
    return None


def _covered_until(
    windows: Sequence[_Recurring], instant: datetime, limit: datetime, steps: _Steps
) -> datetime | None:
    """The end of windows that touch or overlap, from an instant in one of them; past the limit, some end."""
    end = instant
    while end <= limit and not steps.spent:
        steps.take(len(windows))
        later = max((until for each in windows if (until := each.until(end))), default=None)
        if later is None:
            break
        end = later
    return end if end > instant else None


def _instant(local: datetime, where: ZoneInfo) -> datetime:
    """The instant of a local time: the end of the gap for one that is skipped, the first of a double one."""
    aware = local.replace(tzinfo=where)
    before, after = _offset(aware, fold=0), _offset(aware, fold=1)
    naive = local.replace(tzinfo=UTC)
    if before >= after:
        return naive - before
    early, late = naive - after, naive - before
    while late - early > timedelta(seconds=1):
        middle = early + timedelta(seconds=(late - early) // timedelta(seconds=2))
        early, late = (early, middle) if middle.astimezone(where).utcoffset() == after else (middle, late)
    return late


def _offset(aware: datetime, *, fold: int) -> timedelta:
    return aware.replace(fold=fold).utcoffset() or timedelta()


def _minute(aware: datetime) -> datetime:
    return aware.replace(second=0, microsecond=0, tzinfo=None, fold=0)


def _words(duration: timedelta) -> str:
    minutes = int(duration.total_seconds()) // 60
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if minutes or not hours else "")
