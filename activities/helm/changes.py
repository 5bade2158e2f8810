"""From what is rendered, was applied and is in the cluster, to the normalised, masked change set. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from activities.clusters.manifests import Ref, fingerprints, masked, merged_shape, project, stored
from bondstone.model.plan import Change
from bondstone.store.redact import Redactor

Manifests = Mapping[Ref, dict[str, Any]]
_POLICY: Final = "helm.sh/resource-policy"


@dataclass(frozen=True, slots=True)
class Reality:
    """What a cluster holds of some objects."""

    live: Manifests = field(default_factory=dict)
    """Those that stand."""
    merged: Manifests = field(default_factory=dict)
    """What each would be with its manifest merged into it, as the API server says."""


def planned_changes(old: Manifests, new: Manifests, reality: Reality, redact: Redactor) -> list[Change]:
    """What an upgrade would change.

    Args:
        old: What the release holds now.
        new: What it is to hold.
        reality: Of all of both.
        redact: Masks the secrets that are known.
    """
    found = [
        change
        for ref, manifest in new.items()
        if (change := _wanted(ref, old.get(ref), stored(manifest), reality, redact)) is not None
    ]
    gone = {ref: manifest for ref, manifest in old.items() if ref not in new}
    return found + removed_changes(gone, reality.live, redact)


def removed_changes(old: Manifests, live: Manifests, redact: Redactor) -> list[Change]:
    """What taking some objects away would change: those that stand, and are not to be kept."""
    return [
        _change(ref, "delete", project(live[ref], stored(manifest)), None, redact)
        for ref, manifest in old.items()
        if ref in live and not is_kept(manifest)
    ]


def drifted_changes(applied: Manifests, reality: Reality, redact: Redactor) -> list[Change]:
    """What the cluster holds otherwise than it was applied: `before` as applied, `after` as it is."""
    found: list[Change] = []
    for ref, manifest in applied.items():
        wanted = stored(manifest)
        live = reality.live.get(ref)
        if live is None:
            found.append(_change(ref, "delete", wanted, None, redact))
            continue
        before, after = project(reality.merged.get(ref, wanted), wanted), project(live, wanted)
        if before != after:
            found.append(_change(ref, "update", before, after, redact))
    return found


def is_kept(manifest: Mapping[str, Any]) -> bool:
    """Whether Helm leaves an object when it goes from the release."""
    annotations = (manifest.get("metadata") or {}).get("annotations") or {}
    return str(annotations.get(_POLICY) or "").strip().lower() == "keep"


def _wanted(
    ref: Ref, old: dict[str, Any] | None, new: dict[str, Any], reality: Reality, redact: Redactor
) -> Change | None:
    live = reality.live.get(ref)
    if live is None:
        return _change(ref, "create", None, new, redact)
    merged = project(reality.merged.get(ref, new), new)
    was = stored(old) if old is not None else None
    if was == new:
        before = project(live, new)
        return _change(ref, "update", before, merged, redact) if before != merged else None
    before = project(live, merged_shape(new, was))
    return _change(ref, "update", before, new, redact)


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
