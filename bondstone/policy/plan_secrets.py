"""Secrets inside a Terraform plan, so that no message of a policy repeats one.

A plan's JSON holds values in plain text and marks beside them: `change.before_sensitive` and `after_sensitive` of
resources and outputs, `sensitive_values` of planned ones. A mark is `true`, or a tree with `true` at some leaves.
(Source: Terraform's "JSON Output Format", plan representation.)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

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
