"""Releases as Helm keeps them: one Secret for each revision, `sh.helm.release.v1.<name>.v<revision>`. Pure.

Its `data.release` is base64 (of Kubernetes) of base64 (of Helm) of gzip of JSON; its labels repeat name,
status and version. (Source: `pkg/storage/driver` of Helm 3; Helm 4 reads and writes the same.)
"""

from __future__ import annotations

import base64
import binascii
import gzip
import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from bondstone.base.errors import ToolFailed
from bondstone.model.service import ServiceId

OWNER_LABEL: Final = "bondstone.dev/owner"
ATTEMPT_LABEL: Final = "bondstone.dev/attempt"
PENDING: Final = frozenset({"pending-install", "pending-upgrade", "pending-rollback"})
DEPLOYED: Final = "deployed"
MANAGER: Final = "helm"
"""What the API server notes as the manager of the fields that Helm sets."""
FAILED: Final = "failed"
RELEASE_NAME: Final = "meta.helm.sh/release-name"
RELEASE_NAMESPACE: Final = "meta.helm.sh/release-namespace"
"""Annotations that Helm puts on every object of a release."""
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MAX_NAME: Final = 53
"""Helm's own limit: names of what charts make are longer, and a DNS label has 63."""
DEAD_AFTER: Final = timedelta(hours=2)
"""A pending release that nobody touched for so long is nobody's work any more."""

_POLICY: Final = "helm.sh/resource-policy"
_MAX_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Release:
    """One revision of a release."""

    name: str
    namespace: str
    revision: int
    status: str
    manifest: str = field(default="", repr=False)
    hooks: tuple[str, ...] = field(default=(), repr=False)
    """Manifests of its hooks."""
    labels: Mapping[str, str] = field(default_factory=dict)
    content: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """All that Helm keeps of it."""

    @property
    def where(self) -> str:
        """As people see it."""
        return f"release {self.namespace}/{self.name}"

    @property
    def pending(self) -> bool:
        """Whether Helm is, or was when it died, at work on it."""
        return self.status in PENDING


def read_release(secret: Mapping[str, Any]) -> Release:
    """A release from the Secret that holds it.

    Raises:
        ToolFailed: when it is not one that Helm wrote.
    """
    metadata = secret.get("metadata") or {}
    try:
        packed = base64.b64decode(base64.b64decode(secret["data"]["release"]))
        content = json.loads(_unzip(packed) if packed[:2] == b"\x1f\x8b" else packed)
        return from_content(content, labels=metadata.get("labels") or {})
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error, EOFError, OSError, zlib.error):
        raise ToolFailed(
            "a release is stored in an unknown form",
            where=f"Secret {metadata.get('namespace')}/{metadata.get('name')}",
            hint="was it written by a much newer Helm?",
        ) from None


def from_content(content: Mapping[str, Any], *, labels: Mapping[str, str] | None = None) -> Release:
    """A release from Helm's own JSON of it."""
    return Release(
        name=str(content["name"]),
        namespace=str(content.get("namespace") or ""),
        revision=int(content["version"]),
        status=str((content.get("info") or {}).get("status") or ""),
        manifest=str(content.get("manifest") or ""),
        hooks=tuple(str(hook.get("manifest") or "") for hook in content.get("hooks") or ()),
        labels=dict(labels or {}),
        content=content,
    )


def marked(secret: Mapping[str, Any], status: str, why: str) -> dict[str, Any]:
    """The Secret of a revision with another status, as Helm itself writes it when it is stopped gently."""
    release = read_release(secret)
    info = {**(release.content.get("info") or {}), "status": status, "description": why}
    packed = gzip.compress(json.dumps({**release.content, "info": info}).encode(), mtime=0)
    metadata = dict(secret["metadata"])
    return {
        **secret,
        "metadata": {**metadata, "labels": {**(metadata.get("labels") or {}), "status": status}},
        "data": {**secret["data"], "release": base64.b64encode(base64.b64encode(packed)).decode()},
    }


def as_sent(manifest: Mapping[str, Any], release: str, namespace: str) -> dict[str, Any]:
    """A manifest as Helm sends it: marked as of the release, whether it has labels and annotations or none."""
    metadata = manifest.get("metadata") or {}
    annotations = {
        **(metadata.get("annotations") or {}), RELEASE_NAME: release, RELEASE_NAMESPACE: namespace,
    }  # fmt: skip
    labels = {**(metadata.get("labels") or {}), MANAGED_BY: "Helm"}
    return {**manifest, "metadata": {**metadata, "annotations": annotations, "labels": labels}}


def owner_of(service: ServiceId, step: str) -> str:
    """What marks the releases of one step of one service."""
    return hashlib.sha256(f"{service.team}/{service.name}/{step}".encode()).hexdigest()[:32]


def mark_of(attempt: str) -> str:
    """What marks the revision that one attempt makes."""
    return hashlib.sha256(attempt.encode()).hexdigest()[:16]


def release_name(chosen: str, service: ServiceId, step: str) -> str:
    """The name of a step's release; a long one is cut, and told apart by a digest."""
    name = chosen or f"{service.name}-{step}"
    if chosen or len(name) <= MAX_NAME:
        return name
    short = hashlib.sha256(f"{service.name}/{step}".encode()).hexdigest()[:8]
    return f"{name[: MAX_NAME - 9].rstrip('-')}-{short}"


def is_interrupted(current: Release, previous: Release | None, now: datetime) -> bool:
    """Whether a pending revision is left from an attempt of ours: the caller holds the claim, so none is at work.

    Args:
        current: The newest revision, pending.
        previous: The one before; only its labels and status count.
        now: With its time zone.

    Returns:
        False when somebody else may be at work: `helm upgrade` by hand copies the labels of the revision before.
    """
    made_by = current.labels.get(ATTEMPT_LABEL)
    before = previous.labels.get(ATTEMPT_LABEL) if previous is not None else None
    if made_by and made_by != before:
        return True
    if current.status == "pending-rollback" and previous is not None and previous.status == FAILED:
        return True  # of `--atomic`, which copies labels too
    touched = current.labels.get("modifiedAt") or current.labels.get("createdAt") or ""
    return touched.isdigit() and now - datetime.fromtimestamp(int(touched), tz=now.tzinfo) > DEAD_AFTER


def is_kept(manifest: Mapping[str, Any]) -> bool:
    """Whether Helm leaves an object when it goes from the release."""
    return str(_annotations(manifest).get(_POLICY) or "").strip().lower() == "keep"


def is_of(live: Mapping[str, Any], release: str, namespace: str) -> bool:
    """Whether an object in the cluster says that it belongs to a release."""
    annotations = _annotations(live)
    return (annotations.get(RELEASE_NAME), annotations.get(RELEASE_NAMESPACE)) == (release, namespace)


def _annotations(item: Mapping[str, Any]) -> Mapping[str, Any]:
    return (item.get("metadata") or {}).get("annotations") or {}


def _unzip(data: bytes) -> bytes:
    reader = zlib.decompressobj(wbits=31)
    content = reader.decompress(data, _MAX_BYTES)
    if reader.unconsumed_tail:
        raise ValueError
    return content
