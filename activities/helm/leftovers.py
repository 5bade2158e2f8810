"""What revisions that failed have left in the cluster, and what is to become of it. Pure.

Helm merges a new revision against the last deployed one. What a failed revision in between had set, and neither of
the two does, is in no difference that Helm looks at: it would stay for ever. (Source: `prepareUpgrade` in
`pkg/action`, `update` in `pkg/kube` of Helm 3.)
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bondstone.activities.clusters.manifests import Ref, stored
from bondstone.activities.helm.release import RELEASE_NAME, RELEASE_NAMESPACE, is_kept

Manifest = Mapping[str, Any]

_GONE: Final = object()
_IN_METADATA: Final = ("annotations", "labels", "finalizers")
_HELMS_OWN: Final[Manifest] = {
    "metadata": {
        "annotations": {RELEASE_NAME: "", RELEASE_NAMESPACE: ""},
        "labels": {"app.kubernetes.io/managed-by": ""},
    }
}
"""What Helm adds to each object, whether a chart says so or not."""
_DEFAULTS: Final = {"protocol": "TCP"}
"""Of keys of lists, where a manifest may leave them out."""


@dataclass(frozen=True, slots=True)
class Remains:
    """An object that revisions which failed have held."""

    ref: Ref
    failed: tuple[dict[str, Any], ...]
    """Its manifests in them, the newest first."""
    base: dict[str, Any] | None
    """Its manifest in the revision that Helm starts from; None when it is in no such."""
    new: dict[str, Any] | None
    """Its manifest to come."""

    @property
    def lost(self) -> bool:
        """Whether nothing but failed revisions held it: it has to go."""
        return self.base is None and self.new is None and not is_kept(self.failed[0])

    def cleaned(self, item: dict[str, Any]) -> dict[str, Any]:
        """The object without what only failed revisions set."""
        keep = [manifest for manifest in (self.new, self.base) if manifest is not None]
        return without(item, self.failed, keep) if keep else item


def remains(
    base: Mapping[Ref, Manifest], new: Mapping[Ref, Manifest], failed: Sequence[Mapping[Ref, Manifest]]
) -> list[Remains]:
    """The objects of failed revisions.

    Args:
        base: Those of the revision that Helm starts from.
        new: Those to come.
        failed: Those of each failed revision, the newest first.
    """
    before, after = ({ref.key: stored(item) for ref, item in each.items()} for each in (base, new))
    by_key: dict[Any, tuple[Ref, list[dict[str, Any]]]] = {}
    for each in failed:
        for ref, item in each.items():
            by_key.setdefault(ref.key, (ref, []))[1].append(stored(item))
    return [Remains(ref, tuple(items), before.get(key), after.get(key)) for key, (ref, items) in by_key.items()]


def without(live: dict[str, Any], left: Iterable[Manifest], keep: Iterable[Manifest]) -> dict[str, Any]:
    """An object without what only some manifests set.

    Lists whose entries have keys are taken apart by these keys, as the API server names them in `managedFields`.
    Any other list is one value: Helm's patch puts it right as a whole.

    Args:
        live: As the cluster holds it.
        left: Manifests of the object in revisions that failed.
        keep: Its manifests whose fields are to stay: before and after.
    """
    kept = [*keep, _HELMS_OWN]
    tree = _owned_fields(live)
    cleaned = live
    for manifest in left:
        cleaned = _object(cleaned, manifest, kept, tree)
    return cleaned


def _object(live: dict[str, Any], left: Manifest, keep: Sequence[Manifest], tree: Manifest) -> dict[str, Any]:
    cleaned = dict(live)
    for key in left:
        if key in {"apiVersion", "kind", "metadata", "status"} or key not in live:
            continue
        _put(cleaned, key, _value(live[key], left[key], _each(keep, key), _below(tree, key)))
    metadata, its = left.get("metadata") or {}, dict(live.get("metadata") or {})
    for key in _IN_METADATA:
        if key in metadata and key in its:
            kept = _each(_each(keep, "metadata"), key)
            _put(its, key, _value(its[key], metadata[key], kept, _below(_below(tree, "metadata"), key)))
    return {**cleaned, "metadata": its}


def _value(live: Any, left: Any, keep: Sequence[Any], tree: Manifest) -> Any:
    """A value without what only `left` set; `_GONE` when nobody keeps it at all."""
    if not keep:
        return _GONE
    if isinstance(live, dict) and isinstance(left, Mapping):
        cleaned = dict(live)
        for key in left:
            if key in live:
                _put(cleaned, key, _value(live[key], left[key], _each(keep, key), _below(tree, key)))
        return cleaned
    if isinstance(live, list) and isinstance(left, list):
        lists = [each for each in keep if isinstance(each, list)]
        return _entries(live, left, lists, tree)
    return live


def _entries(live: list[Any], left: list[Any], keep: Sequence[list[Any]], tree: Manifest) -> list[Any]:
    if any(name.startswith("v:") for name in tree):  # a set of plain values
        return [item for item in live if item not in left or any(item in each for each in keep)]
    keys = next((tuple(json.loads(name[2:])) for name in tree if name.startswith("k:")), ())
    if not keys:
        return live
    entries: list[Any] = []
    for item in live:
        its = next((one for one in left if _same(item, one, keys)), None)
        if its is not None:
            kept = [one for each in keep for one in each if _same(item, one, keys)]
            item = _value(item, its, kept, _entry(tree, item))  # noqa: PLW2901 - the entry, cleaned
        if item is not _GONE:
            entries.append(item)
    return entries


def _same(live: Any, item: Any, keys: Sequence[str]) -> bool:
    """Whether an entry of a manifest is the one that the cluster holds."""
    if not isinstance(live, Mapping) or not isinstance(item, Mapping):
        return False
    return all(item.get(key, _DEFAULTS.get(key)) == live.get(key, _DEFAULTS.get(key)) for key in keys)


def _owned_fields(live: Manifest) -> dict[str, Any]:
    """All fields of an object that anybody set, in the form of `fieldsV1`."""
    tree: dict[str, Any] = {}
    for entry in (live.get("metadata") or {}).get("managedFields") or ():
        _merge(tree, entry.get("fieldsV1") or {})
    return tree


def _merge(tree: dict[str, Any], more: Manifest) -> None:
    for key, value in more.items():
        _merge(tree.setdefault(key, {}), value)


def _below(tree: Manifest, key: str) -> Manifest:
    subtree: Manifest = tree.get(f"f:{key}") or {}
    return subtree


def _entry(tree: Manifest, live: Manifest) -> Manifest:
    for name, below in tree.items():
        if name.startswith("k:") and all(live.get(key) == value for key, value in json.loads(name[2:]).items()):
            subtree: Manifest = below
            return subtree
    return {}


def _each(keep: Sequence[Any], key: str) -> list[Any]:
    return [each[key] for each in keep if isinstance(each, Mapping) and each.get(key) is not None]


def _put(target: dict[str, Any], key: str, value: Any) -> None:
    if value is _GONE:
        target.pop(key, None)
    else:
        target[key] = value
