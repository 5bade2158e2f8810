"""From what is rendered, was applied and is in the cluster, to the normalised, masked change set. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from bondstone.activities.clusters.manifests import Ref, fingerprints, masked, merged_shape, project, stored
from bondstone.activities.helm.leftovers import Remains
from bondstone.activities.helm.release import is_kept
from bondstone.base.redact import Redactor
from bondstone.model.plan import Change

Manifests = Mapping[Ref, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Reality:
    """What a cluster holds of some objects."""

    live: Manifests = field(default_factory=dict)
    """Those that stand."""
    merged: Manifests = field(default_factory=dict)
    """What each would be with its manifest merged into it, as the API server says."""
    tried: bool = False
    """Whether the API server was asked about every one of them, fields that a kind does not have refused."""


def planned_changes(
    old: Manifests, new: Manifests, reality: Reality, redact: Redactor, left: Sequence[Remains] = ()
) -> list[Change]:
    """What an upgrade would change.

    Args:
        old: What Helm starts from.
        new: What the release is to hold.
        reality: Of all of them.
        redact: Masks the secrets that are known.
        left: What revisions that failed have held beside.
    """
    remains = {item.ref.key: item for item in left}
    before = {ref.key: stored(manifest) for ref, manifest in old.items()}
    changes: list[Change] = []
    for ref, manifest in new.items():
        wanted = _wanted(ref, before.get(ref.key), stored(manifest), remains.get(ref.key), reality)
        if wanted is not None:
            changes.append(_change(ref, *wanted, redact))
    kept = {ref.key for ref in new}
    gone = {ref: manifest for ref, manifest in old.items() if ref.key not in kept}
    gone |= {item.ref: item.failed[0] for item in left if item.lost}
    return changes + removed_changes(gone, reality.live, redact)


def removed_changes(old: Manifests, live: Manifests, redact: Redactor) -> list[Change]:
    """What taking some objects away would change: those that stand go, or stay where the chart says `keep`."""
    return [
        _change(
            ref, "forget" if is_kept(manifest) else "delete", project(live[ref], stored(manifest)), None, redact
        )
        for ref, manifest in old.items()
        if ref in live
    ]


def kept_changes(hooks: Manifests, redact: Redactor) -> list[Change]:
    """The hooks that an uninstall leaves in the cluster."""
    return [_change(ref, "forget", stored(manifest), None, redact) for ref, manifest in hooks.items()]


def drifted_changes(applied: Manifests, reality: Reality, redact: Redactor) -> list[Change]:
    """What the cluster holds otherwise than it was applied: `before` as applied, `after` as it is."""
    changes: list[Change] = []
    for ref, manifest in applied.items():
        wanted = stored(manifest)
        live = reality.live.get(ref)
        if live is None:
            changes.append(_change(ref, "delete", wanted, None, redact))
            continue
        before, after = project(reality.merged.get(ref, wanted), wanted), project(live, wanted)
        if not _same(before, after, wanted):
            changes.append(_change(ref, "update", before, after, redact))
    return changes


def left_changes(left: Sequence[Remains], live: Manifests, redact: Redactor) -> list[Change]:
    """What revisions that failed have left, as drift: `before` as it should be, `after` as it is."""
    changes: list[Change] = []
    for item in left:
        standing = live.get(item.ref)
        if standing is None:
            continue
        shape, clean = merged_shape(*item.failed), item.cleaned(standing)
        if item.lost:
            changes.append(_change(item.ref, "create", None, project(standing, shape), redact))
        elif clean != standing:
            changes.append(_change(item.ref, "update", project(clean, shape), project(standing, shape), redact))
    return changes


def _wanted(
    ref: Ref, old: dict[str, Any] | None, new: dict[str, Any], left: Remains | None, reality: Reality
) -> tuple[Literal["create", "update"], dict[str, Any] | None, dict[str, Any]] | None:
    """What becomes of an object that is to be: the action, before and after; None when nothing does."""
    live = reality.live.get(ref)
    if live is None:
        return "create", None, new
    clean = left is None or left.cleaned(live) == live
    shape = merged_shape(new, old, *(left.failed if left is not None and not clean else ()))
    merged = reality.merged.get(ref)
    if not clean or (merged is None and old != new):
        return "update", project(live, shape), new
    before, after = project(live, shape), project(merged if merged is not None else new, shape)
    return None if _same(before, after, new) else ("update", before, after)


def _same(before: Any, after: Any, manifest: Any) -> bool:
    """Whether two states of an object are the same, but for nulls of its manifest.

    An entry of a map that is null (`data: {a: }`) is an empty text in the object that Helm makes. An upgrade takes
    it away, and the object then stays as it is: neither is a reason for one.
    """
    if not isinstance(before, dict) or not isinstance(after, dict) or not isinstance(manifest, dict):
        return bool(before == after)
    return all(
        _same(before.get(key), after.get(key), manifest.get(key))
        or (key in manifest and manifest[key] is None and not before.get(key) and not after.get(key))
        for key in before.keys() | after.keys()
    )


def _change(
    ref: Ref, action: Any, before: dict[str, Any] | None, after: dict[str, Any] | None, redact: Redactor
) -> Change:
    return Change(
        address=ref.address,
        action=action,
        type=ref.kind,
        before=masked(before, redact),
        after=masked(after, redact),
        fingerprints=fingerprints(after),
    )
