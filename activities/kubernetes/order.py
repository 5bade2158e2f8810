"""In which order objects are applied: what others stand on first. Removed in the reverse. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar

from bondstone.activities.kubernetes.documents import Named

N = TypeVar("N", bound=Named)

_TIERS: Final = (
    ("Namespace",),
    ("CustomResourceDefinition",),
    ("PriorityClass", "StorageClass", "IngressClass", "RuntimeClass"),
    ("NetworkPolicy", "ResourceQuota", "LimitRange", "PodDisruptionBudget"),
    ("ServiceAccount", "ClusterRole", "Role"),
    ("ClusterRoleBinding", "RoleBinding"),
    ("Secret", "ConfigMap", "PersistentVolume"),
    ("PersistentVolumeClaim", "Service"),
    # everything else, custom resources among it
    (),
    ("HorizontalPodAutoscaler", "Ingress", "HTTPRoute", "APIService"),
    # they can refuse all that comes after them
    ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "ValidatingAdmissionPolicyBinding"),
)
CLUSTER_SCOPED: Final = frozenset(
    {"Namespace", "CustomResourceDefinition", "PriorityClass", "StorageClass", "IngressClass", "RuntimeClass"}
    | {"ClusterRole", "ClusterRoleBinding", "PersistentVolume", "APIService", *_TIERS[-1]}
)
"""Kinds known to be in no namespace, for where no cluster can be asked."""

_ELSE: Final = _TIERS.index(())
_BY_KIND: Final = {kind: tier for tier, kinds in enumerate(_TIERS) for kind in kinds}


def tier_of(kind: str) -> int:
    """Its place: objects of one tier do not wait for each other."""
    return _BY_KIND.get(kind, _ELSE)


def tiers(items: Iterable[N], *, reverse: bool = False) -> list[list[N]]:
    """Objects by tier, each tier in the order they were given in."""
    by_tier: dict[int, list[N]] = {}
    for item in items:
        by_tier.setdefault(tier_of(item.kind), []).append(item)
    return [by_tier[tier] for tier in sorted(by_tier, reverse=reverse)]


def ordered(manifests: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Manifests in the order of application."""
    return sorted(manifests, key=lambda manifest: tier_of(str(manifest.get("kind", ""))))
