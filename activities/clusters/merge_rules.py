"""How the fields of built-in kinds are merged: which lists have keys, what is replaced as a whole. Pure.

Helm and kubectl have it compiled in (`patchStrategy` and `patchMergeKey` of `k8s.io/api`); an API server says the
same in its OpenAPI document, with which a test compares this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal


@dataclass(frozen=True, slots=True)
class MergeRule:
    """How one field is merged; without anything said, mappings field by field, all else as a whole."""

    strategy: Literal["", "merge", "replace"] = ""
    key: str = ""
    """By which entries of a merged list are told apart; empty for lists of plain values."""
    retain: bool = False
    """A change clears the fields that the manifest does not have: at most one of them may be set."""
    below: Mapping[str, MergeRule] = field(default_factory=dict)
    """Fields of the mapping, or of the entries of the list."""


Rules = Mapping[str, MergeRule]

NO_RULE: Final = MergeRule()


def rules_of(manifest: Mapping[str, Any]) -> Rules:
    """The rules for an object; a kind that is not known has those of all objects."""
    group = str(manifest.get("apiVersion") or "").rpartition("/")[0]
    return _KINDS.get((group, str(manifest.get("kind"))), _ANY)


def is_built_in(api_version: str) -> bool:
    """Whether a kind of this API is one that clients know the type of; others know no strategic merge."""
    return api_version.rpartition("/")[0] in _GROUPS


def _list(key: str, *, retain: bool = False, **below: MergeRule) -> MergeRule:
    return MergeRule("merge", key, retain=retain, below=below)


def _in(**below: MergeRule) -> MergeRule:
    return MergeRule(below=below)


_METADATA: Final = _in(finalizers=MergeRule("merge"), ownerReferences=_list("uid"))
_CONTAINERS: Final = _list(
    "name",
    ports=_list("containerPort"),
    env=_list("name"),
    volumeMounts=_list("mountPath"),
    volumeDevices=_list("devicePath"),
)
_POD: Final = _in(
    metadata=_METADATA,
    spec=_in(
        containers=_CONTAINERS,
        initContainers=_CONTAINERS,
        ephemeralContainers=_CONTAINERS,
        volumes=_list("name", retain=True, ephemeral=_in(volumeClaimTemplate=_in(metadata=_METADATA))),
        imagePullSecrets=_list("name"),
        hostAliases=_list("ip"),
        topologySpreadConstraints=_list("topologyKey"),
        schedulingGates=_list("name"),
        resourceClaims=_list("name", retain=True),
        evictionResponders=_list("name"),
    ),
)
_ANY: Final[Rules] = {"metadata": _METADATA}
_JOB: Final = _in(metadata=_METADATA, spec=_in(template=_POD, scheduling=_in(resourceClaims=_list("name"))))
_WORKLOAD: Final[Rules] = {**_ANY, "spec": _in(template=_POD)}
_WEBHOOKS: Final[Rules] = {**_ANY, "webhooks": _list("name", matchConditions=_list("name"))}
_ADMISSION: Final = "admissionregistration.k8s.io"

_KINDS: Final[Mapping[tuple[str, str], Rules]] = {
    ("", "Pod"): {**_ANY, "spec": _POD.below["spec"]},
    ("", "PodTemplate"): {**_ANY, "template": _POD},
    ("", "ReplicationController"): _WORKLOAD,
    ("", "ComponentStatus"): {**_ANY, "conditions": _list("type")},
    ("", "Service"): {**_ANY, "spec": _in(ports=_list("port"))},
    ("", "ServiceAccount"): {**_ANY, "secrets": _list("name")},
    ("", "Node"): {**_ANY, "spec": _in(podCIDRs=MergeRule("merge"))},
    ("apps", "DaemonSet"): _WORKLOAD,
    ("apps", "Deployment"): {**_ANY, "spec": _in(template=_POD, strategy=MergeRule(retain=True))},
    ("apps", "ReplicaSet"): _WORKLOAD,
    ("apps", "StatefulSet"): _WORKLOAD,
    ("batch", "CronJob"): {**_ANY, "spec": _in(jobTemplate=_JOB)},
    ("batch", "Job"): {**_ANY, "spec": _JOB.below["spec"]},
    ("policy", "PodDisruptionBudget"): {**_ANY, "spec": _in(selector=MergeRule("replace"))},
    ("resource.k8s.io", "ResourceClaimTemplate"): {**_ANY, "spec": _in(metadata=_METADATA)},
    ("storage.k8s.io", "CSINode"): {**_ANY, "spec": _in(drivers=_list("name"))},
    (_ADMISSION, "MutatingWebhookConfiguration"): _WEBHOOKS,
    (_ADMISSION, "ValidatingWebhookConfiguration"): _WEBHOOKS,
    (_ADMISSION, "MutatingAdmissionPolicy"): {**_ANY, "spec": _in(matchConditions=_list("name"))},
    (_ADMISSION, "ValidatingAdmissionPolicy"): {
        **_ANY,
        "spec": _in(matchConditions=_list("name"), variables=_list("name")),
    },
}
_GROUPS: Final = frozenset(
    {"", "apps", "autoscaling", "batch", "extensions", "policy", "apiextensions.k8s.io", _ADMISSION}
    | {
        f"{name}.k8s.io"
        for name in (
            "authentication", "certificates", "coordination", "discovery", "events", "networking", "node",
            "resource", "scheduling", "storage", "storagemigration", "flowcontrol.apiserver",
            "internal.apiserver", "rbac.authorization", "authorization",
        )
    }
)  # fmt: skip
"""Groups of the types in client-go and of CustomResourceDefinitions, the kinds that Helm knows."""
