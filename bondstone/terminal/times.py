"""Times as people read them: an age in a table, a local time elsewhere, and both in UTC with `--utc`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from bondstone.terminal.display import display

_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86400


def timestamp(at: datetime) -> str:
    """A time as programs read it: RFC 3339, UTC, milliseconds. A time without a zone is taken as UTC."""
    return in_utc(at).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment(at: datetime) -> str:
    """A time in the reader's zone, `2026-11-29 15:02:10 CET`; in UTC it ends with `Z`."""
    utc = in_utc(at)
    local = utc if display.utc else utc.astimezone()
    zone = f" {local.tzname()}" if local.utcoffset() else "Z"
    return f"{local.replace(tzinfo=None).isoformat(sep=' ', timespec='seconds')}{zone}"


def age(at: datetime, now: datetime | None = None) -> str:
    """How long ago a time was, in its largest unit: `42s`, `5m`, `3h`, `12d`; of one to come `in 5m`."""
    if display.utc:
        return moment(at)
    passed = ((now or datetime.now(UTC)) - in_utc(at)).total_seconds()
    seconds = abs(round(passed))
    for size, unit, least in ((_DAY, "d", 2), (_HOUR, "h", 2), (_MINUTE, "m", 2), (1, "s", 0)):
        if seconds >= least * size:
            words = f"{seconds // size}{unit}"
            break
    return f"in {words}" if passed < -0.5 else words  # noqa: PLR2004 - less is now


def moment_and_age(at: datetime) -> str:
    """A time in the reader's zone and how long ago it was: `2026-11-29 15:02:10 CET (3m ago)`."""
    if display.utc:
        return moment(at)
    words = age(at)
    return f"{moment(at)} ({words if words.startswith('in ') else f'{words} ago'})"


def duration(length: timedelta) -> str:
    """A duration in its two largest units: `2.4s`, `3m10s`, `5h20m`, `2d4h`."""
    seconds = length.total_seconds()
    if round(seconds, 1) < _MINUTE:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < _HOUR:
        return f"{whole // _MINUTE}m{whole % _MINUTE}s"
    if whole < _DAY:
        return f"{whole // _HOUR}h{whole % _HOUR // _MINUTE}m"
    return f"{whole // _DAY}d{whole % _DAY // _HOUR}h"


def in_utc(at: datetime) -> datetime:
    """The same time in UTC; one without a zone is taken as UTC."""
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
