"""When a schedule is due, and when it was due and nothing ran. Pure.

Temporal matches a cron line against local time and has rules of its own, seen with server 1.32:

- A time that the clocks skip sees no run at all. `gap_ends` names the instants that make up for it, as windows do.
- Of a time that comes twice the second is meant.
- Day of the month *and* day of the week must both match where cron lines mean *either*: `lines` makes
  two lines of it.
- Its own zone data may differ from ours by an hour, so each schedule carries ours (`zone_data`).
- What follows `#` is a comment, so that `MON#2` is every Monday; and `L` is not known. `check` refuses both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cronsim import CronSim

from bondstone.campaign.windows import CronError, check_cron, next_start, spelled_out, zone
from bondstone.model.campaign.schedule import MAX_MISSES, Miss, ScheduleEntry, Why

GAP_YEARS: Final = 10
"""For so long the times that the clocks skip are known to a schedule; `bond schedule update` takes up new ones."""

_DAY: Final = timedelta(days=1)
_MINUTE: Final = timedelta(minutes=1)
_DAYS_OF_MONTH: Final = 2
_DAYS_OF_WEEK: Final = 4


def check(cron: str) -> None:
    """Raise `CronError` unless a line is one that Temporal reads as it is meant."""
    if cron.strip().startswith("@") or "=" in cron:
        check_cron(cron)
        return
    for char in "#L":
        if (offset := cron.upper().replace("JUL", "...").find(char)) >= 0:
            raise CronError(f"{char!r} is not known to schedules", "write the days out, as in 1-7 or MON", offset)
    check_cron(cron)


def lines(cron: str) -> tuple[str, ...]:
    """The lines for Temporal that together mean what one cron line means."""
    words = spelled_out(cron).split()
    month_days, week_days = words[_DAYS_OF_MONTH], words[_DAYS_OF_WEEK]
    if month_days.startswith("*") or week_days.startswith("*"):
        return (" ".join(words),)
    by_month = [*words[:_DAYS_OF_WEEK], "*"]
    by_week = [*words[:_DAYS_OF_MONTH], "*", *words[_DAYS_OF_MONTH + 1 :]]
    return " ".join(by_month), " ".join(by_week)


def due(cron: str, time_zone: str, after: datetime, before: datetime) -> Iterator[datetime]:
    """Every instant between two, both excluded, that a cron line means; skipped times at the end of their gap."""
    instant = next_start(cron, time_zone, after)
    while instant is not None and instant < before:
        yield instant
        instant = next_start(cron, time_zone, instant)


def gap_ends(cron: str, time_zone: str, after: datetime, *, years: int = GAP_YEARS) -> list[datetime]:
    """The ends of the gaps, in the next years, in which a cron line has a time that never comes."""
    where, cron = zone(time_zone), spelled_out(cron)
    ends = []
    day = after.astimezone(UTC)
    for _ in range(years * 366):
        end = _gap_end(time_zone, day, day + _DAY)
        if end is not None:
            gap = _offset(where, end) - _offset(where, end - _MINUTE)
            last = (end.astimezone(where) - _MINUTE).replace(tzinfo=None)
            skipped = next(CronSim(cron, last - gap), None)
            if skipped is not None and skipped <= last:
                ends.append(end)
        day += _DAY
    return ends


def misses(
    cron: str,
    time_zone: str,
    *,
    after: datetime,
    before: datetime,
    ran: Sequence[datetime] = (),
    pauses: Sequence[PausedTime] = (),
    overlaps: int = 0,
    late: int = 0,
) -> tuple[tuple[Miss, ...], int]:
    """The times between two instants, both excluded, at which nothing ran: at most `MAX_MISSES`, and their number.

    Args:
        cron: The line.
        time_zone: Its IANA zone.
        after: When the last run before them was due.
        before: When the next one was due, or now.
        ran: When other runs were due, or are waiting.
        pauses: When somebody had paused the schedule.
        overlaps: How many of them Temporal says it left out because another run went on.
        late: How many because it could not start them in time.
    """
    where = zone(time_zone)
    # By the clock on the wall: of a time that comes twice, Temporal and windows mean different ones.
    walls = {instant.astimezone(where).replace(tzinfo=None, fold=0) for instant in (*ran, after, before)}
    missed = [at for at in due(cron, time_zone, after, before) if _wall(at, time_zone) not in walls]
    paused = {at for at in missed if any(pause.covers(at) for pause in pauses)}
    why = _why(len(missed) - len(paused), overlaps, late)
    return tuple(Miss(at=at, why="paused" if at in paused else why) for at in missed[:MAX_MISSES]), len(missed)


@dataclass(frozen=True, slots=True)
class PausedTime:
    """A time in which somebody had paused a schedule."""

    begins_at: datetime
    ends_at: datetime | None = None
    """None while it is paused still."""

    def covers(self, at: datetime) -> bool:
        """Whether the schedule was paused then."""
        return self.begins_at <= at and (self.ends_at is None or at < self.ends_at)


def pauses(entries: Iterable[ScheduleEntry]) -> list[PausedTime]:
    """When a schedule was paused, as its ledger says; oldest first.

    Args:
        entries: The ledger, oldest first.
    """
    closed: list[PausedTime] = []
    since: datetime | None = None
    for entry in entries:
        if entry.kind == "paused":
            since = since or entry.at
        elif entry.kind in {"resumed", "unpaused"} and since is not None:
            closed.append(PausedTime(since, entry.at))
            since = None
    return [*closed, PausedTime(since)] if since is not None else closed


def waiting(
    cron: str, time_zone: str, *, after: datetime, before: datetime, started_at: datetime, number: int, last: bool
) -> list[datetime]:
    """The due times whose runs wait for the one that still runs: they are buffered, and not missed.

    Args:
        cron: The line.
        time_zone: Its IANA zone.
        after: When the run that still runs was due.
        before: Now.
        started_at: When the run that still runs began.
        number: How many runs Temporal has buffered.
        last: The last of the due times wait (all are buffered); else the first since the run began (one is).
    """
    times = list(due(cron, time_zone, after, before)) if number else []
    return times[-number:] if last else [at for at in times if at >= started_at][:number]


def _why(number: int, overlaps: int, late: int) -> Why:
    """Temporal counts, and does not say which; where all are of one kind, that is known all the same."""
    if not overlaps and not late:
        return "unknown"
    if overlaps >= number and not late:
        return "overlap"
    if late >= number and not overlaps:
        return "late"
    return "unknown"


def _wall(at: datetime, time_zone: str) -> datetime:
    return at.astimezone(zone(time_zone)).replace(tzinfo=None, fold=0)


def _gap_end(time_zone: str, begin: datetime, end: datetime) -> datetime | None:
    """The instant between two, a day apart, at which clocks go forward; to the minute."""
    where = zone(time_zone)
    before, after = _offset(where, begin), _offset(where, end)
    if after <= before:
        return None
    while end - begin > timedelta(seconds=1):
        middle = begin + timedelta(seconds=(end - begin) // timedelta(seconds=2))
        begin, end = (middle, end) if _offset(where, middle) == before else (begin, middle)
    return end.replace(microsecond=0)


def _offset(where: object, at: datetime) -> timedelta:
    return at.astimezone(where).utcoffset() or timedelta()  # type: ignore[arg-type]
