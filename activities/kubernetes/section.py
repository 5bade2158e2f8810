"""The `kubernetes` section of a step in a promise."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from bondstone.activities.clusters.outputs import ObjectOutput, Source
from bondstone.base.cluster_settings import DEFAULT_CLUSTER
from bondstone.base.models import Manifest
from bondstone.model.promise import Duration


class Wait(Manifest):
    """What must be true of an object before the step is done: a condition, or a field."""

    source: Source = Field(alias="object")
    """Which object: `Job/migrate`, `example.com/v1/Database/main`."""
    condition: str = Field(default="", max_length=200)
    """Of its status: `Ready`, or `Ready=False`."""
    path: str = Field(default="", max_length=512)
    """A field, as `kubectl -o jsonpath` has it; it must be there, and be what `equals` says if that is given."""
    equals: Any = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if bool(self.condition) == bool(self.path):
            raise ValueError("say one of condition and path")
        if self.equals is not None and not self.path:
            raise ValueError("equals goes with path")
        return self


class KubernetesSection(Manifest):
    """What a promise says of a Kubernetes step."""

    manifests: tuple[str | dict[str, Any], ...] = Field(min_length=1, max_length=500)
    """Files of the promise (`manifests/web.yaml`), or objects written here. Strings may hold `${…}`, those inside
    the files too; names of files may not."""
    namespace: str = Field(default="", max_length=200)
    """Where to; without one the service's team."""
    cluster: str = Field(default=DEFAULT_CLUSTER, min_length=1, max_length=200)
    """Name of one of the clusters that the pool's settings know."""
    cluster_scoped: bool = False
    """Allow objects that are in no namespace, or in another one."""
    rollout: bool = True
    """Wait until every Deployment, StatefulSet and DaemonSet is rolled out and every Job is complete."""
    ready: Literal["", "crossplane"] = ""
    """`crossplane`: wait until claims, composites and managed resources are `Synced` and `Ready`, definitions are
    served, and packages are installed and healthy."""
    wait: tuple[Wait, ...] = Field(default=(), max_length=100)
    """What else to wait for."""
    timeout: Duration = "5m"
    """How long to wait for what was made to be ready, and for what was removed to be gone."""
    prune: bool = True
    """Remove what this step applied before and no longer declares; else it stays until the service goes."""
    adopt: bool = False
    """Take over objects that are there already and belong to no other step; they go with the service then."""
    force_conflicts: bool = False
    """Take fields away from others who set them; without it that fails. Fields that were this step's before are
    taken back anyway."""
    outputs: dict[str, ObjectOutput] = Field(default={}, max_length=100)
    """What later steps and the promise may use."""


class GeneratedSection(KubernetesSection):
    """A section whose manifests another executor has written; there may be none."""

    manifests: tuple[str | dict[str, Any], ...] = Field(max_length=500)
