"""Rego's functions that read times, as Go reads them.

(Source: OPA 1.22, `v1/topdown/time.go`; Go's `time.Parse` and `time.ParseDuration`.)
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction
from typing import Final

from bondstone.rego.operands import require_strings

MAX_NANOSECONDS: Final = 2**63 - 1
MIN_NANOSECONDS: Final = -(2**63)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_RFC3339: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(?:Z|([+-])(\d\d):(\d\d))", re.ASCII)
_UNITS: Final = {
    "ns": 1, "us": 1000, "µs": 1000, "μs": 1000, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9,
    "d": 86400 * 10**9, "w": 7 * 86400 * 10**9, "y": 365 * 86400 * 10**9,
}  # fmt: skip
_DURATION: Final = re.compile(r"[+-]?(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h|d|w|y))+", re.ASCII)
_PART: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h|d|w|y)", re.ASCII)
_MINUTES: Final = 60
_HOURS: Final = 24


def parse_rfc3339_ns(text: str) -> int:
    """`time.parse_rfc3339_ns`: nanoseconds since 1970; capital T and Z, no leap second."""
    require_strings(text)
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f"cannot parse {text!r} as a time of RFC 3339")
    written, fraction, sign, hours, minutes = match.groups()
    if hours and (int(hours) >= _HOURS or int(minutes) >= _MINUTES):
        raise ValueError(f"cannot parse {text!r}: offset out of range")
    away = timedelta(hours=int(hours or 0), minutes=int(minutes or 0)) * (-1 if sign == "-" else 1)
    moment = datetime.fromisoformat(written).replace(tzinfo=timezone(away))
    since = moment - _EPOCH
    nanoseconds = (since.days * 86400 + since.seconds) * 10**9 + int((fraction or "")[:9].ljust(9, "0"))
    if not MIN_NANOSECONDS <= nanoseconds <= MAX_NANOSECONDS:
        raise ValueError("time outside of valid range")
    return nanoseconds


def parse_duration_ns(text: str) -> int:
    """`time.parse_duration_ns`: as in `1h30m`, and `0`."""
    require_strings(text)
    if text.lstrip("+-") == "0":
        return 0
    if re.search("[dwy]", text) and "." in text:
        raise ValueError(f"{text!r}: a fraction beside days, weeks or years is not supported")
    if not _DURATION.fullmatch(text):
        raise ValueError(f"invalid duration {text!r}")
    total = sum((Fraction(amount) * _UNITS[unit]) // 1 for amount, unit in _PART.findall(text))
    if total > MAX_NANOSECONDS:
        raise ValueError(f"invalid duration {text!r}")
    return -total if text.startswith("-") else total
