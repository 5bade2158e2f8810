"""How campaigns put numbers and times into words, in one place: for records, pages and commands alike. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from bondstone.base.errors import ErrorInfo, OperationCancelled
from bondstone.model.campaign.state import Code

_UNITS: Final = (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))

_FAILED: Final = {
    Code.FAILED: "failed",
    Code.TIMED_OUT: "timed out",
    Code.UNREACHABLE: "unreachable",
    Code.ROLLED_BACK_FAILED: "rolled back after failing",
    Code.RETURNING_FAILED: "being rolled back after failing",
}
"""What counts against a budget, as people read it."""


def lasting(seconds: int) -> str:
    """A duration as it is written in a file: `2h`, `1h30m`, `90s` is `1m30s`."""
    parts = []
    for unit, size in _UNITS:
        number, seconds = divmod(seconds, size)
        if number:
            parts.append(f"{number}{unit}")
    return "".join(parts) or "0s"


def why(reason: str, error: ErrorInfo | None) -> str:
    """Why a target came to what it did, in a line: what was booked, and what its operation says beyond that.

    Args:
        reason: As it was booked.
        error: Of its operation. A cancel that the campaign itself requested says less than the reason.
    """
    message = error.message.splitlines()[0] if error and error.message else ""
    cancelled = error is not None and error.code == OperationCancelled.code
    if message in reason or (reason and cancelled):
        return reason
    return message if reason in message else f"{reason}: {message}"


def failed(counts: Mapping[Code, int]) -> str:
    """What counts as failed, by how: `3 failed, 1 timed out`."""
    return ", ".join(f"{counts[code]} {word}" for code, word in _FAILED.items() if counts.get(code))


def targets(number: int) -> str:
    """`1 target`, `2 targets`."""
    return f"{number} target{'' if number == 1 else 's'}"


def moment(at: datetime) -> str:
    """A moment in UTC."""
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def freeze(name: str, team: str, ends_at: datetime | None, *, coming: datetime | None = None) -> str:
    """A freeze that holds something up, with its end: `the freeze year-end of team payments, until …`.

    Args:
        name: Of the freeze.
        team: Whose services; empty for the whole platform.
        ends_at: When it is over; None until somebody ends it.
        coming: When it begins, where that is yet to come.
    """
    whose = f" of team {team}" if team else ""
    since = f"from {moment(coming)} " if coming else ""
    until = f"until {moment(ends_at)}" if ends_at else "until somebody ends it"
    return f"the freeze {name}{whose}, {since}{until}"


def listed(names: Iterable[str], most: int = 3) -> str:
    """The first few names, and how many more there are."""
    every = list(names)
    more = len(every) - most
    return ", ".join(every[:most]) + (f" and {more} more" if more > 0 else "")
