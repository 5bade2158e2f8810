"""From `terraform show -json` of a plan to the normalised, masked change set. Pure.

The format is Terraform's "JSON Output Format" (plan representation 1.x).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bondstone.activities.terraform.masking import Redact, mask
from bondstone.base.canonical import canonical, digest
from bondstone.base.redact import MASK
from bondstone.model.plan import Action, Change

_ACTIONS: dict[frozenset[str], Action] = {
    frozenset({"create"}): "create",
    frozenset({"update"}): "update",
    frozenset({"delete"}): "delete",
    frozenset({"create", "delete"}): "replace",
    frozenset({"forget"}): "forget",
    frozenset({"create", "forget"}): "replace",
}


def planned_changes(document: Mapping[str, Any], redact: Redact) -> list[Change]:
    """The change set of a plan: no-ops and reads dropped, sensitive values masked."""
    return [change for item in document.get("resource_changes") or () if (change := _change(item, redact))]


def drifted_changes(document: Mapping[str, Any], redact: Redact) -> list[Change]:
    """What a refresh-only plan found to differ from what was last applied."""
    changes = (_change(item, redact) for item in document.get("resource_drift") or ())
    return [change for change in changes if change is not None and change.action != "move"]


def is_empty(document: Mapping[str, Any]) -> bool:
    """Whether applying the plan would change no object, no output and nothing in the state."""
    for item in document.get("resource_changes") or ():
        change = item.get("change") or {}
        if change.get("actions") != ["no-op"] or "previous_address" in item or "importing" in change:
            return False
    outputs = (document.get("output_changes") or {}).values()
    return all(change.get("actions") == ["no-op"] for change in outputs)


def _change(item: Mapping[str, Any], redact: Redact) -> Change | None:
    change = item.get("change") or {}
    moved_from = str(item.get("previous_address") or "")
    imported = change.get("importing")
    action = _ACTIONS.get(frozenset(change.get("actions") or ()))
    if action is None and change.get("actions") == ["no-op"]:
        action = "import" if imported is not None else "move" if moved_from else None
    if action is None or item.get("mode") == "data":
        return None
    return Change(
        address=redact(str(item.get("address", ""))),
        action=action,
        type=str(item.get("type", "")),
        moved_from=moved_from,
        import_id=_import_id(imported, redact),
        before=_attributes(change.get("before"), change.get("before_sensitive"), redact),
        after=_attributes(change.get("after"), change.get("after_sensitive"), redact),
        unknown=tuple(_paths(change.get("after_unknown"))),
        fingerprints={path: digest(canonical(value)) for path, value in _leaves(change.get("after"))},
    )


def _import_id(imported: Any, redact: Redact) -> str:
    """What an `import` block says of the object: an id, or an identity of several attributes."""
    if not isinstance(imported, Mapping):
        return ""
    if imported.get("id"):
        return redact(str(imported["id"]))
    identity = imported.get("identity")
    return redact(canonical(identity).decode()) if identity else "(known after apply)"


def _attributes(value: Any, sensitive: Any, redact: Redact) -> dict[str, Any] | None:
    if not isinstance(value, dict):
        return None
    if sensitive is True:
        return dict.fromkeys(value, MASK)
    masked: dict[str, Any] = mask(value, sensitive, redact)
    return masked


def _paths(unknown: Any, prefix: str = "") -> Iterator[str]:
    if unknown is True:
        yield prefix or "*"
    elif isinstance(unknown, dict):
        for key, item in unknown.items():
            yield from _paths(item, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(unknown, list):
        for index, item in enumerate(unknown):
            yield from _paths(item, f"{prefix}[{index}]")


def _leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each value of a tree by its path, spelt as `_paths` does; what is empty counts as a value, null does not."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from _leaves(item, f"{prefix}[{index}]")
    elif value is not None:
        yield prefix, value
