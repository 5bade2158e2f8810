"""Words of a report made safe for pages, and the tone that an outcome has in them. Pure."""

from __future__ import annotations

import html
import unicodedata
from datetime import timedelta
from typing import Final

_TURNING: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""What turns the direction of text around, and so could make one word read as another."""
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
    """Without control characters, and without what no XML document may hold."""
    return "".join(char for char in text if _is_plain(char))


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


def _is_plain(char: str) -> bool:
    if char in "\n\t":
        return True
    return unicodedata.category(char) not in {"Cc", "Cs"} and char not in _TURNING and char not in "\ufffe\uffff"
