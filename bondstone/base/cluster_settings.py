"""Kubernetes clusters of a pool: what a worker's settings say of them. Promises name one, and know no more."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import Field, model_validator

from bondstone.base.errors import Refused, SettingsInvalid
from bondstone.base.models import Manifest

_IMAGE: Final = r"^[a-z0-9][a-z0-9._/:-]{0,255}@sha256:[0-9a-f]{64}$"
DEFAULT_CLUSTER = "default"
"""The cluster of a step that names none."""


class ExecCredential(Manifest):
    """A program that prints an ExecCredential (client.authentication.k8s.io), as cloud providers ship one."""

    command: str = Field(min_length=1)
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    api_version: Literal["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"] = (
        "client.authentication.k8s.io/v1"
    )


class ClusterSettings(Manifest):
    """How workers of a pool reach one cluster: exactly one of `kubeconfig`, `in_cluster` and `exec`."""

    kubeconfig: Path | None = None
    """A kubeconfig file."""
    context: str = ""
    """Goes with `kubeconfig`: which of its contexts; empty: its current one."""
    in_cluster: bool = False
    """The cluster that the worker itself runs in, with the worker's service account."""
    service_account: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount")
    """Goes with `in_cluster`: folder with the `token` and `ca.crt` of the account; a pod's own without it."""
    exec: ExecCredential | None = None
    """Credentials printed by a program; needs `server`."""
    server: str = ""
    """Goes with `exec`: URL of the API server, `https://…`."""
    certificate_authority: Path | None = None
    """Goes with `exec`: file with the certificates to trust; without it those of the system."""
    namespaces: tuple[str, ...] = ("*",)
    """Namespaces that steps may use, `*` and `?` as in file names: `team-*`."""
    create_namespaces: bool = True
    """Whether steps may make the namespace that they use."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        ways = [name for name in ("kubeconfig", "in_cluster", "exec") if getattr(self, name)]
        if len(ways) != 1:
            raise ValueError("say exactly one of kubeconfig, in_cluster and exec")
        if self.context and not self.kubeconfig:
            raise ValueError("context goes with kubeconfig")
        if "service_account" in self.model_fields_set and not self.in_cluster:
            raise ValueError("service_account goes with in_cluster")
        if bool(self.exec) != bool(self.server):
            raise ValueError("exec and server go together")
        if self.server and not self.server.startswith("https://"):
            raise ValueError("server must be an https:// URL")
        if self.certificate_authority and not self.exec:
            raise ValueError("certificate_authority goes with exec")
        return self

    def check_namespace(self, namespace: str, *, cluster: str, create: bool = False) -> None:
        """Refuse a namespace that the pool's settings do not allow.

        Args:
            namespace: That a step wants to use.
            cluster: Name of this cluster, for the error.
            create: Whether the step asks to make it.

        Raises:
            Refused: when it may not.
        """
        if not any(fnmatchcase(namespace, pattern) for pattern in self.namespaces):
            raise Refused(
                f"steps may not use the namespace {namespace!r} of cluster {cluster!r}",
                hint=f"the pool's settings allow {', '.join(self.namespaces) or 'none'} (BOND_CLUSTERS)",
            )
        if create and not self.create_namespaces:
            raise Refused(
                f"steps may not make namespaces in cluster {cluster!r}",
                where=namespace,
                hint="make it first, or allow it in the pool's settings (BOND_CLUSTERS)",
            )


class ContainerJobs(Manifest):
    """Where the Jobs of a pool run, and what they are given beside what a step says."""

    cluster: str = DEFAULT_CLUSTER
    """Name of one of the pool's `clusters`."""
    namespace: str = Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    """One of their own: whoever may read Secrets there sees what steps are told, while they run."""
    collector: str = Field(pattern=_IMAGE, max_length=400)
    """Image of the executor worker, by its digest: a second container of each Job, which hands over the output."""
    network: bool = False
    """Whether `network: pool` of a step means the network of pods; without it such steps are refused."""
    pull_secrets: tuple[str, ...] = Field(default=(), max_length=20)
    """Names of Secrets of that namespace, for the registries."""
    node_selector: dict[str, str] = Field(default={}, max_length=50)
    """Labels of the nodes to run on."""
    tolerations: tuple[dict[str, Any], ...] = Field(default=(), max_length=50)
    """Taints that pods tolerate, as in a pod."""


def cluster_settings(clusters: Mapping[str, ClusterSettings], name: str) -> ClusterSettings:
    """The settings of the cluster that a step names.

    Args:
        clusters: Those of the pool.
        name: Of one of them.

    Raises:
        SettingsInvalid: when the pool has none of that name.
    """
    if name in clusters:
        return clusters[name]
    known = f"this pool has {', '.join(sorted(clusters))}" if clusters else "this pool has no cluster at all"
    raise SettingsInvalid(
        f"the worker knows no Kubernetes cluster named {name!r}: {known}",
        hint='clusters are named in the settings of the executor workers, as in BOND_CLUSTERS=\'{"default": '
        '{"kubeconfig": "/etc/bondstone/kubeconfig"}}\'',
    )
