"""What differs: live objects, what a manifest would make of them, and how people are told. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from bondstone.activities.clusters.manifests import Ref, fingerprints, masked, without_filled
from bondstone.base.canonical import canonical, digest
from bondstone.base.redact import Redactor
from bondstone.model.plan import Action, Change

OWNER: Final = "bondstone.dev/step"
"""Annotation on every object: the step that it belongs to, `<team>/<service>/<step>`."""

_SERVERS_OWN: Final = frozenset(
    {"managedFields", "resourceVersion", "generation", "creationTimestamp", "uid", "selfLink"}
)
_NOTHING: Final = object()
_SELECTED: Final = re.compile(r"\[(?P<selector>(?:[^\[\]\"]|\"(?:[^\"\\]|\\.)*\")*)\]|\.(?P<field>[^.\[\]]+)")
_KEY_VALUE: Final = re.compile(r"([\w.-]+)=(\"(?:[^\"\\]|\\.)*\"|[^,]+)")


def plain(item: Mapping[str, Any] | None) -> dict[str, Any]:
    """An object without what the API server adds and controllers report."""
    if item is None:
        return {}
    cleaned = {key: value for key, value in item.items() if key != "status"}
    metadata = cleaned.get("metadata")
    if isinstance(metadata, Mapping):
        cleaned["metadata"] = {key: value for key, value in metadata.items() if key not in _SERVERS_OWN}
    return cleaned


def difference(live: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> tuple[Any, Any]:
    """Only the fields that differ, as they are in each of two objects; two empty mappings when none does.

    Entries of lists that have names are compared by name, other lists as a whole.
    """
    left, right = _differing(plain(live), plain(other))
    return ({} if left is _NOTHING else left), ({} if right is _NOTHING else right)


def difference_digest(before: Any, after: Any) -> str:
    """Tells two differences apart without keeping their values."""
    return digest(canonical([before, after]))


def change(ref: Ref, action: Action, before: Any, after: Any, redact: Redactor) -> Change:
    """A change as people see it: what Secrets hold and known secrets masked."""
    return Change(
        address=ref.address,
        action=action,
        type=ref.kind,
        before=_shown(ref, before, redact),
        after=_shown(ref, after, redact),
        fingerprints=fingerprints(after),
    )


def owner_of(item: Mapping[str, Any]) -> str:
    """The step that an object says it belongs to."""
    annotations = (item.get("metadata") or {}).get("annotations") or {}
    return str(annotations.get(OWNER) or "")


def owned(manifest: Mapping[str, Any], owner: str, namespace: str) -> dict[str, Any]:
    """A manifest as it is applied: its namespace filled in, its step named.

    Args:
        manifest: As declared.
        owner: The step, `<team>/<service>/<step>`.
        namespace: Empty for what is in none.
    """
    metadata = dict(manifest.get("metadata") or {})
    metadata.pop("namespace", None)
    if namespace:
        metadata["namespace"] = namespace
    metadata["annotations"] = {**(metadata.get("annotations") or {}), OWNER: owner}
    kept = {key: value for key, value in without_filled(manifest).items() if key != "status"}
    return {**kept, "metadata": metadata}


def holds(manifest: Any, path: str) -> bool:
    """Whether a manifest sets a field, or something in or above it.

    Args:
        manifest: As it was applied.
        path: As the API server names fields: `.spec.template.spec.containers[name="web"].image`.
    """
    value: Any = manifest
    at = 0
    while at < len(path):
        match = _SELECTED.match(path, at)
        if match is None:
            return False
        at = match.end()
        if match["field"] is not None:
            # names of fields may hold dots: the longest that is there is meant
            name, at = _field(value, path, match.start() + 1, at)
            if not isinstance(value, Mapping) or name not in value:
                return False
            value = value[name]
        else:
            value = _selected(value, match["selector"])
            if value is None:
                return False
    return True


def _field(value: Any, path: str, start: int, end: int) -> tuple[str, int]:
    rest = path[start:]
    if isinstance(value, Mapping):
        fits = [key for key in value if rest == key or rest.startswith((f"{key}.", f"{key}["))]
        if fits:
            longest = max(fits, key=len)
            return longest, start + len(longest)
    return path[start:end], end


def _selected(value: Any, selector: str) -> Any:
    if not isinstance(value, list):
        return None
    if selector.isdigit():
        return value[int(selector)] if int(selector) < len(value) else None
    if selector.startswith("="):
        return next((item for item in value if str(item) == selector[1:].strip('"')), None)
    wanted = {key: text.strip('"') for key, text in _KEY_VALUE.findall(selector)}
    for item in value:
        # a key that the manifest leaves to its default (`protocol`) fits
        if isinstance(item, Mapping) and all(str(item.get(key, text)) == text for key, text in wanted.items()):
            return item
    return None


def _shown(ref: Ref, value: Any, redact: Redactor) -> dict[str, Any] | None:
    if value is None:
        return None
    shown = masked({**value, "kind": ref.kind}, redact) or {}
    return {key: item for key, item in shown.items() if key in value}


def _differing(left: Any, right: Any) -> tuple[Any, Any]:
    if left == right:
        return _NOTHING, _NOTHING
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        before: dict[str, Any] = {}
        after: dict[str, Any] = {}
        for key in dict.fromkeys([*left, *right]):
            one, other = _differing(left.get(key, _NOTHING), right.get(key, _NOTHING))
            if one is not _NOTHING:
                before[key] = one
            if other is not _NOTHING:
                after[key] = other
        return before, after
    if isinstance(left, list) and isinstance(right, list):
        return _lists(left, right)
    return left, right


def _lists(left: list[Any], right: list[Any]) -> tuple[Any, Any]:
    one, other = _by_name(left), _by_name(right)
    if one is None or other is None or [*filter(one.__contains__, other)] != [*filter(other.__contains__, one)]:
        return left, right
    parts = {
        name: _differing(one.get(name, _NOTHING), other.get(name, _NOTHING))
        for name in dict.fromkeys([*one, *other])
    }
    before = [_entry(name, parts[name][0]) for name in one if parts[name][0] is not _NOTHING]
    after = [_entry(name, parts[name][1]) for name in other if parts[name][1] is not _NOTHING]
    return before, after


def _entry(name: str, part: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, **part}


def _by_name(items: list[Any]) -> dict[str, Any] | None:
    if not all(isinstance(item, Mapping) and isinstance(item.get("name"), str) for item in items):
        return None
    by_name = {item["name"]: item for item in items}
    return by_name if len(by_name) == len(items) else None
