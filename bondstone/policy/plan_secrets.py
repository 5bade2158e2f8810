"""Secrets inside a Terraform plan: those that policies do not see, and that no message of one repeats.

A plan's JSON holds values in plain text and marks beside them: `change.before_sensitive` and `after_sensitive` of
resources and outputs, `sensitive_values` of planned ones. A mark is `true`, or a tree with `true` at some leaves.
(Source: Terraform's "JSON Output Format", plan representation.)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from bondstone.base.redact import MASK

_MARKS: Final = (
    ("before", "before_sensitive"),
    ("after", "after_sensitive"),
    ("values", "sensitive_values"),
    ("value", "sensitive"),
)


def sensitive_values(plan: Any) -> Iterator[Any]:
    """Every value in a plan that Terraform marks as sensitive."""
    if isinstance(plan, list):
        for item in plan:
            yield from sensitive_values(item)
    elif isinstance(plan, dict):
        for name, mark in _MARKS:
            if name in plan and mark in plan:
                yield from _marked(plan[name], plan[mark])
        for item in plan.values():
            yield from sensitive_values(item)


def masked_marks(plan: Any) -> Any:
    """A copy of a plan without the values that Terraform marks as sensitive, and those of sensitive variables."""
    masked = _without_marked(plan)
    if not isinstance(masked, dict):
        return masked
    declared = _member(_member(_member(masked, "configuration"), "root_module"), "variables")
    values = _member(masked, "variables")
    for name, variable in declared.items():
        if isinstance(variable, dict) and variable.get("sensitive") and isinstance(values.get(name), dict):
            values[name] = {"value": MASK}
    return masked


def _without_marked(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_marked(item) for item in value]
    if not isinstance(value, dict):
        return value
    copy = {name: _without_marked(item) for name, item in value.items()}
    for name, mark in _MARKS:
        if name in value and mark in value:
            copy[name] = _masked(copy[name], value[mark])
    return copy


def _masked(value: Any, mark: Any) -> Any:
    if mark is True and value is not None:
        return MASK
    if isinstance(mark, dict) and isinstance(value, dict):
        return {key: _masked(inner, mark.get(key)) for key, inner in value.items()}
    if isinstance(mark, list) and isinstance(value, list):
        marks = [*mark, *([None] * len(value))]
        return [_masked(item, inner) for item, inner in zip(value, marks, strict=False)]
    return value


def _member(value: Any, name: str) -> dict[str, Any]:
    places = value.get(name) if isinstance(value, dict) else None
    return places if isinstance(places, dict) else {}


def _marked(value: Any, mark: Any) -> Iterator[Any]:
    if value is None:
        return
    if mark is True:
        yield value
    elif isinstance(mark, dict) and isinstance(value, dict):
        for key, inner in mark.items():
            yield from _marked(value.get(key), inner)
    elif isinstance(mark, list) and isinstance(value, list):
        for item, inner in zip(value, mark, strict=False):
            yield from _marked(item, inner)
