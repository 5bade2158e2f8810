"""What a client sends so that an object follows its manifest: the three-way merge of Helm and `kubectl apply`.

Pure. The patch holds what differs between the cluster and the manifest, and removes what the manifest before set
and this one does not. (Source: `CreateThreeWayMergePatch` of `k8s.io/apimachinery/pkg/util/strategicpatch`, and
`jsonmergepatch` beside it for kinds that know no strategic merge.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bondstone.activities.clusters.merge_rules import NO_RULE, MergeRule, rules_of

Manifest = Mapping[str, Any]

_DELETE: Final = {"$patch": "delete"}
_ORDER: Final = "$setElementOrder/"
_DROP: Final = "$deleteFromPrimitiveList/"
_RETAIN: Final = "$retainKeys"


def strategic_patch(old: Manifest, new: Manifest, live: Manifest) -> dict[str, Any]:
    """The strategic merge patch of an object of a built-in kind; empty when there is nothing to send.

    Args:
        old: The manifest that was applied last.
        new: The one that is to be.
        live: The object as the cluster holds it.
    """
    rules = rules_of(new)
    delta = _Diff(changes=True, deletions=False).of(live, new, rules)
    gone = _Diff(changes=False, deletions=True).of(old, new, rules)
    return _joined(gone, delta, rules)


def merge_patch(old: Manifest, new: Manifest, live: Manifest) -> dict[str, Any]:
    """The JSON merge patch of an object of a kind that knows no strategic merge."""
    return _joined(_removed(old, new), _changed(live, new), {})


@dataclass(frozen=True, slots=True)
class _Diff:
    """What leads from one mapping to another: what is set, what is taken away, or both."""

    changes: bool
    deletions: bool

    def of(
        self, before: Manifest, after: Manifest, rules: Mapping[str, MergeRule], *, retain: bool = False
    ) -> dict[str, Any]:
        patch: dict[str, Any] = {}
        for key, value in after.items():
            if key not in before:
                if self.changes:
                    patch[key] = value
            elif not _same(before[key], value):
                self._put(patch, key, before[key], value, rules.get(key, NO_RULE))
        gone = [key for key in before if key not in after]
        if self.deletions:
            patch |= dict.fromkeys(gone)
        kept = sorted(key for key, value in after.items() if value is not None)
        if retain and kept and (patch or any(before[key] is not None for key in gone)):
            patch[_RETAIN] = kept
        return patch

    def _put(self, patch: dict[str, Any], key: str, before: Any, after: Any, rule: MergeRule) -> None:
        if isinstance(before, Mapping) and isinstance(after, Mapping) and rule.strategy != "replace":
            if below := self.of(before, after, rule.below, retain=rule.retain):
                patch[key] = below
        elif isinstance(before, list) and isinstance(after, list) and before and _merges(rule, before, after):
            self._put_list(patch, key, before, after, rule)
        elif self.changes:
            patch[key] = after

    def _put_list(
        self, patch: dict[str, Any], key: str, before: list[Any], after: list[Any], rule: MergeRule
    ) -> None:
        if not rule.key:
            dropped = [item for item in dict.fromkeys(before) if item not in after] if self.deletions else []
            added = [item for item in after if item not in before] if self.changes else []
            if added:
                patch[key] = added
            if dropped:
                patch[f"{_DROP}{key}"] = dropped
            if after and (dropped or self.changes):
                patch[f"{_ORDER}{key}"] = after
            return
        entries = list(self._entries(before, after, rule))
        moved = [item[rule.key] for item in before] != [item[rule.key] for item in after]
        if entries:
            patch[key] = entries
        if after and (entries or (self.changes and moved)):
            patch[f"{_ORDER}{key}"] = [{rule.key: item[rule.key]} for item in after]

    def _entries(self, before: list[Any], after: list[Any], rule: MergeRule) -> Iterator[dict[str, Any]]:
        """The entries to send, in the order of the new list, and those that are to go last."""
        left: dict[str, list[Any]] = {}
        for item in _by_key(before, rule.key):
            left.setdefault(str(item[rule.key]), []).append(item)
        sent: list[dict[str, Any]] = []
        for item in _by_key(after, rule.key):
            pair = left.get(str(item[rule.key]))
            if not pair:
                sent += [item] if self.changes else []
            elif below := self.of(pair.pop(0), item, rule.below, retain=rule.retain):
                sent.append({**below, rule.key: item[rule.key]})
        keys = [item[rule.key] for item in after]
        yield from sorted(sent, key=lambda item: keys.index(item[rule.key]))
        if self.deletions:
            yield from ({**_DELETE, rule.key: item[rule.key]} for items in left.values() for item in items)


def _by_key(items: list[Any], key: str) -> list[Any]:
    """Entries in the order of their keys; those of one key in reverse, as Kubernetes happens to sort them."""
    backwards = items[::-1]
    return sorted(backwards, key=lambda item: str(item[key]))


def _merges(rule: MergeRule, before: list[Any], after: list[Any]) -> bool:
    """Whether two lists are merged entry by entry; one without its key is replaced."""
    if rule.strategy != "merge":
        return False
    if not rule.key:
        return not any(isinstance(item, Mapping | list) for item in (*before, *after))
    return all(isinstance(item, Mapping) and rule.key in item for item in (*before, *after))


def _joined(gone: Manifest, delta: Manifest, rules: Mapping[str, MergeRule]) -> dict[str, Any]:
    """Both halves of a patch as one."""
    joined = dict(gone)
    for key, value in delta.items():
        rule, present = rules.get(key, NO_RULE), joined.get(key)
        if isinstance(present, Mapping) and isinstance(value, Mapping):
            joined[key] = _joined(present, value, rule.below)
        elif isinstance(present, list) and isinstance(value, list) and rule.key and not key.startswith("$"):
            joined[key] = _joined_lists(present, value, rule)
        else:
            joined[key] = value
    for key, rule in rules.items():
        if isinstance(joined.get(key), list) and (order := joined.get(f"{_ORDER}{key}")) and rule.key:
            joined[key] = _in_order(joined[key], order, rule.key)
    return joined


def _in_order(items: list[Any], order: Sequence[Any], key: str) -> list[Any]:
    """The API server insists on the order that the patch itself sets; what is to go stands last."""
    keys = [item[key] for item in order]
    return sorted(items, key=lambda item: len(keys) if "$patch" in item else keys.index(item[key]))


def _joined_lists(gone: Sequence[Any], delta: Sequence[Any], rule: MergeRule) -> list[Any]:
    """Entries of one key become one, as in Kubernetes, even where a list has several of them."""
    items: list[Any] = list(gone)
    for item in delta:
        at = next((index for index, one in enumerate(items) if one[rule.key] == item[rule.key]), None)
        if at is None:
            items.append(item)
        else:
            items[at] = _joined(items[at], item, rule.below)
    return items


def _changed(live: Manifest, new: Manifest) -> dict[str, Any]:
    """What a JSON merge patch sets; it cannot set null."""
    changes: dict[str, Any] = {}
    for key, value in new.items():
        current = live.get(key)
        if isinstance(value, Mapping) and isinstance(current, Mapping):
            if below := _changed(current, value):
                changes[key] = below
        elif value is not None and not (key in live and _same(current, value)):
            changes[key] = value
    return changes


def _removed(old: Manifest, new: Manifest) -> dict[str, Any]:
    """What a JSON merge patch takes away: what the manifest before set."""
    removals: dict[str, Any] = {}
    for key, value in old.items():
        if value is None:
            continue
        if new.get(key) is None:
            removals[key] = None
        elif isinstance(value, Mapping) and isinstance(new[key], Mapping) and (below := _removed(value, new[key])):
            removals[key] = below
    return removals


def _same(one: Any, other: Any) -> bool:
    """Whether two values are the same in JSON, where true is not 1."""
    if isinstance(one, bool) is not isinstance(other, bool):
        return False
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)
