"""Secrets inside a plan: those that policies do not see, and that no message of one repeats.

What a Kubernetes Secret holds is one, in the manifests of Helm and Kubernetes steps.

A Terraform plan's JSON holds values in plain text and marks beside them: `change.before_sensitive` and
`after_sensitive` of resources and outputs, `sensitive_values` of planned ones. A mark is `true`, or a tree with
`true` at some leaves.
(Source: Terraform's "JSON Output Format", plan representation.)
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from bondstone.base.canonical import canonical, digest
from bondstone.base.redact import MASK
from bondstone.model.plan import Change

_MARKS: Final = (
    ("before", "before_sensitive"),
    ("after", "after_sensitive"),
    ("values", "sensitive_values"),
    ("value", "sensitive"),
)
_HELD: Final = ("data", "stringData")


def sensitive_values(plan: Any) -> Iterator[Any]:
    """Every value in a plan that Terraform marks as sensitive, and what Kubernetes Secrets in it hold."""
    if isinstance(plan, list):
        for item in plan:
            yield from sensitive_values(item)
    elif isinstance(plan, dict):
        for name, mark in _MARKS:
            if name in plan and mark in plan:
                yield from _marked(plan[name], plan[mark])
        if _is_secret(plan):
            yield from _held(plan)
        for item in plan.values():
            yield from sensitive_values(item)


def masked_marks(plan: Any) -> Any:
    """A copy of a plan without what `sensitive_values` finds, and without the values of sensitive variables."""
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
    if _is_secret(value):
        for name in _HELD:
            if isinstance(copy.get(name), dict):
                copy[name] = dict.fromkeys(copy[name], MASK)
    return copy


def unmasked_changes(changes: Sequence[Change], plan: Any) -> list[dict[str, Any]]:
    """A change set as policies see it, with those planned values that the plan shows.

    Executors mask every known secret in a change set, wherever it stands. What stood in the place of a mask is a
    value of the plan with the digest that the change has kept; one that is masked in the plan, too, stays masked.

    Args:
        changes: The change set.
        plan: The plan, as `masked_marks` gives it.
    """
    documents = [change.model_dump(mode="json", exclude={"fingerprints"}) for change in changes]
    if MASK in json.dumps([change["after"] for change in documents], ensure_ascii=False):
        shown = {digest(canonical(value)): value for value in _scalars(plan)}
        for document, change in zip(documents, changes, strict=True):
            document["after"] = _unmasked(change.after, "", change.fingerprints, shown)
    return documents


def _unmasked(value: Any, path: str, digests: Mapping[str, str], shown: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        return {
            key: _unmasked(item, f"{path}.{key}" if path else str(key), digests, shown)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_unmasked(item, f"{path}[{index}]", digests, shown) for index, item in enumerate(value)]
    return shown.get(digests.get(path, ""), value) if isinstance(value, str) and MASK in value else value


def _scalars(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _scalars(item)
    elif isinstance(value, list):
        for item in value:
            yield from _scalars(item)
    elif isinstance(value, str | int | float):
        yield value


def _is_secret(value: Mapping[str, Any]) -> bool:
    return value.get("kind") == "Secret" and "apiVersion" in value


def _held(manifest: Mapping[str, Any]) -> Iterator[Any]:
    """What a Secret holds, as it is written and as it is meant."""
    for name in _HELD:
        for value in _member(manifest, name).values():
            yield value
            if name == "data" and isinstance(value, str):
                with suppress(ValueError):
                    yield base64.b64decode(value, validate=True).decode()


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
