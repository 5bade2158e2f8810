"""Words of a report made safe for pages, and the tone that an outcome has in them. Pure."""

from __future__ import annotations

import html
from datetime import timedelta
from typing import Final

from bondstone.base.printable import without_hidden

_NO_XML: Final = {0xFFFE: None, 0xFFFF: None}
_MINUTE: Final = 60
_HOUR: Final = 3600

_TONES: Final = {
    "succeeded": "good",
    "failed": "bad",
    "timed-out": "bad",
    "unreachable": "bad",
    "rolled-back": "warn",
    "refused": "warn",
    "running": "busy",
    "rolling-back": "busy",
}


def tone(outcome: str, *, failed: bool) -> str:
    """good, bad, warn, busy or idle."""
    return "bad" if failed else _TONES.get(outcome, "idle")


def xml(text: object) -> str:
    """A text for an element or an attribute: escaped, and `printable`."""
    return html.escape(printable(str(text)))


def printable(text: str) -> str:
    """Without characters that are hidden, and without what no XML document may hold."""
    return without_hidden(text).translate(_NO_XML)


def lasted(seconds: float | None) -> str:
    """How long, in its two largest units: `2.4s`, `3m10s`, `5h20m`."""
    if seconds is None:
        return ""
    if round(seconds, 1) < _MINUTE:
        return f"{seconds:.1f}s"
    whole = timedelta(seconds=round(seconds))
    hours, rest = divmod(int(whole.total_seconds()), _HOUR)
    minutes, left = divmod(rest, _MINUTE)
    return f"{hours}h{minutes}m" if hours else f"{minutes}m{left}s"
