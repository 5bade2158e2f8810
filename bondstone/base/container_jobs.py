"""Container steps of a pool as Kubernetes Jobs: what a worker's settings say of them."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field

from bondstone.base.cluster_settings import DEFAULT_CLUSTER
from bondstone.base.models import Manifest

_IMAGE: Final = r"^[a-z0-9][a-z0-9._/:-]{0,255}@sha256:[0-9a-f]{64}$"


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
