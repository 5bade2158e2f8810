"""`where`: rows of a list chosen by a CEL expression over their fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from bondstone.base.errors import ExpressionInvalid, Problem
from bondstone.cel.templates import VariableScope, evaluate
from bondstone.terminal.output import plain

if TYPE_CHECKING:
    from bondstone.model.service_row import ServiceRow

ROW_TYPES: Final = {
    "id": "string",
    "team": "string",
    "name": "string",
    "promise": "string",
    "revision": "string",
    "phase": "string",
    "health": "string",
    "labels": "map<string, string>",
    "operation": "string?",
    "pool": "string",
    "parent": "string",
    "bound_by": "list<string>",
    "drift": "int",
    "changed_at": "string",
    "created_at": "string?",
}
"""What `where` may use: the fields of a row, times as text in RFC 3339."""


def row_filter(where: str) -> Callable[[ServiceRow], bool]:
    """The filter that a `where` is; an empty one lets all through.

    Raises:
        ExpressionInvalid: it does not compile, or gives neither true nor false.
    """
    matches = values_filter(where)
    return lambda row: matches(row_values(row))


def row_values(row: ServiceRow) -> dict[str, Any]:
    """A row as `where` sees it."""
    values: dict[str, Any] = plain(row)  # type: ignore[assignment] # an object, of a model
    return values


def values_filter(where: str) -> Callable[[dict[str, Any]], bool]:
    """As `row_filter`, of rows that are values already.

    Raises:
        ExpressionInvalid: it does not compile, or gives neither true nor false.
    """
    if not where:
        return lambda _values: True
    compiled = VariableScope(ROW_TYPES).compile(where)
    if compiled.faults:
        raise ExpressionInvalid(
            "`where` does not compile",
            where=where[:200],
            hint="it may use " + ", ".join(ROW_TYPES),
            problems=[
                Problem(message=fault.message, line=fault.line, column=fault.column, hint=fault.hint)
                for fault in compiled.faults
            ],
        )
    if compiled.type not in {"bool", "dyn"}:
        raise ExpressionInvalid(
            f"`where` gives {compiled.type}, not true or false",
            where=where[:200],
            hint="compare: phase == 'ready'",
        )

    def matches(values: dict[str, Any]) -> bool:
        try:
            return evaluate(where, values) is True
        except ExpressionInvalid:  # a label that this one lacks
            return False

    return matches
