"""Numbers that regorus and OPA hold alike, and the functions that make numbers of texts.

OPA keeps the text of a number and computes with 64 bits and more; regorus has 64-bit integers, larger ones where
it needs them, and doubles. (Source: OPA 1.22, `v1/topdown/casts.go`, `parse_units.go`, `parse_bytes.go`.)
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Any, Final

from bondstone.rego.operands import require_number, require_strings, whole

EXACT_STEPS: Final = 2**16
EXACT_BOUND: Final = 2**31
MAX_INTEGER: Final = 2**64
MIN_INTEGER: Final = -(2**63)
SIGNIFICANT_DIGITS: Final = 15
"""Most that any double holds."""

_SI: Final = {letter: 1000 ** (place + 1) for place, letter in enumerate("kmgtpe")}
_BINARY: Final = {f"{letter}i": 1024 ** (place + 1) for place, letter in enumerate("kmgtpe")}
_AMOUNT: Final = re.compile(r"[0-9.]*(?:[eE](?=[0-9+-])[+-]?[0-9]*)?[0-9.eE+-]*")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_SHORTEST: Final = re.compile(r"-?(?:0|[1-9][0-9]*)\.[0-9]*[1-9]")
_EXPONENT_DIGITS: Final = 3
_BASES: Final = {2: "b", 8: "o", 10: "d", 16: "x"}


class Fractions:
    """Whether functions may give fractions that doubles hold only nearly.

    They compare as they should; sums and products of them do not, so a policy that may sum them gets none.
    """

    allowed = True


def exact(number: float) -> bool:
    """Whether sums and products of such a number are the same to regorus (doubles) and OPA (64 bits and more)."""
    if isinstance(number, int):
        return MIN_INTEGER <= number < MAX_INTEGER
    return math.isfinite(number) and abs(number) < EXACT_BOUND and (number * EXACT_STEPS).is_integer()


def to_number(value: Any) -> Any:
    """`to_number`: exact, or an error."""
    if value is None:
        return 0
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | float):
        return value
    require_strings(value)
    if not _NUMBER.fullmatch(value):
        raise ValueError("invalid syntax")
    return exact_number(value)


def ceil(number: Any) -> int:
    """`ceil`. Raises between -1 and 0, where OPA 1.22 gives 1."""
    return math.ceil(_rounded_alike(number))


def floor(number: Any) -> int:
    """`floor`. Raises between -1 and 0, where OPA 1.22 gives 0."""
    return math.floor(_rounded_alike(number))


def format_int(number: Any, base: Any) -> str:
    """`format_int`: without what is behind the point."""
    require_number(number)
    if base not in _BASES:
        raise ValueError("the base must be one of 2, 8, 10, 16")
    return format(math.trunc(number), _BASES[whole(base)])


def parse_units(text: str) -> Any:
    """`units.parse`: `10K`, `512Mi`, `100m`."""
    require_strings(text)
    amount, unit = _amount(text.replace('"', ""))
    unit = unit[:1] + unit[1:].lower()
    if unit == "m":
        factor = Fraction(0.001)
    elif unit.lower() in _BINARY:
        factor = Fraction(_BINARY[unit.lower()])
    elif unit in set("kKMgGtTpPeE"):
        factor = Fraction(_SI[unit.lower()])
    elif not unit:
        factor = Fraction(1)
    else:
        raise ValueError(f"unit {unit} not recognized")
    value = amount * factor
    if value.denominator == 1:
        return _bounded(value.numerator)
    rounded = (abs(value) * 10**10 + Fraction(1, 2)) // 1  # ten digits, as OPA writes it
    sign = "-" if value < 0 else ""
    return exact_number(f"{sign}{rounded // 10**10}.{rounded % 10**10:010d}".rstrip("0").removesuffix("."))


def parse_bytes(text: str) -> int:
    """`units.parse_bytes`: `10KB`, `512MiB`, `1gi`."""
    require_strings(text)
    amount, unit = _amount(text.lower().replace('"', ""))
    kind = unit.removesuffix("b") if unit != "b" else unit
    if not unit:
        factor = 1
    elif kind in _SI or kind in _BINARY:
        factor = _SI.get(kind) or _BINARY[kind]
    else:
        raise ValueError(f"byte unit {unit} not recognized")
    return _bounded(math.trunc(amount * factor))


def exact_number(text: str) -> int | float:
    """A number of a text, or `ValueError` when regorus would hold another one."""
    if re.fullmatch(r"-?[0-9]+", text):
        return _bounded(int(text))
    digits = len(text.replace(".", "").lstrip("-0"))
    number = float(text)
    if _SHORTEST.fullmatch(text) and digits <= SIGNIFICANT_DIGITS and (Fractions.allowed or exact(number)):
        return number
    raise ValueError(f"{text} is a number that the embedded engine does not hold exactly")


def _rounded_alike(value: Any) -> int | float:
    require_number(value)
    number: int | float = value
    if -1 < number < 0:
        raise ValueError(f"{number} is between -1 and 0, which OPA rounds otherwise")
    return number


def _bounded(number: int) -> int:
    if not exact(number):
        raise ValueError(f"{number} is beyond 64 bits")
    return number


def _amount(text: str) -> tuple[Fraction, str]:
    if " " in text:
        raise ValueError("spaces not allowed in resource strings")
    match = _AMOUNT.match(text)
    amount = match.group() if match else ""
    exponent = re.search(r"[eE][+-]?([0-9]*)", amount)
    if exponent and not exponent[1]:
        amount = amount[: exponent.start()]
    if exponent and len(exponent[1]) > _EXPONENT_DIGITS:
        raise ValueError("exponent too large")
    unit = text[len(amount) :]
    if not amount:
        raise ValueError("no amount provided")
    if not re.fullmatch(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", amount):
        raise ValueError("could not parse amount to a number")
    return Fraction(amount), unit
