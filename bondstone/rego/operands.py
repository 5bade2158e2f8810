"""Operands of built-in functions written in Python."""

from __future__ import annotations

from typing import Any


def require_strings(*values: Any) -> None:
    """Raise `TypeError` for an operand that is no text."""
    for value in values:
        if not isinstance(value, str):
            raise TypeError(f"an operand must be string but got {kind_of(value)}")


def require_number(value: Any) -> None:
    """Raise `TypeError` for an operand that is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"an operand must be number but got {kind_of(value)}")


def whole(value: Any) -> int:
    """An operand that must be a whole number.

    Raises:
        TypeError: it is none.
    """
    require_number(value)
    if isinstance(value, float):
        raise TypeError("an operand must be integer number but got floating-point number")
    return int(value)


def kind_of(value: Any) -> str:
    """Rego's name for the type of a value."""
    kinds = {bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    return "null" if value is None else kinds.get(type(value), "set")
