"""The `kratix` section of a step in a promise; `bond promise init --from kratix:FILE` writes it."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from bondstone.base.cluster_settings import DEFAULT_CLUSTER
from bondstone.base.models import Manifest
from bondstone.model.promise import Duration


class Container(Manifest):
    """One container of a pipeline."""

    name: str = Field(min_length=1, max_length=63)
    """What logs and errors call it."""
    image: str = Field(min_length=1, max_length=500)
    """Name it by digest (`name@sha256:…`), so that a plan means the same on every worker."""
    command: tuple[str, ...] = Field(default=(), max_length=100)
    """In place of the image's entrypoint."""
    args: tuple[str, ...] = Field(default=(), max_length=100)
    """In place of the image's command."""
    env: dict[str, str] = Field(default={}, max_length=100)
    """Beside the variables of the contract."""


class Pipeline(Manifest):
    """Containers that run one after the other and share their files."""

    name: str = Field(min_length=1, max_length=63)
    """As `KRATIX_PIPELINE_NAME`."""
    containers: tuple[Container, ...] = Field(min_length=1, max_length=20)
    """In their order."""


class ObjectKind(Manifest):
    """The kind of the object that the pipelines read."""

    group: str = Field(max_length=253)
    """As in `marketplace.kratix.io`."""
    version: str = Field(max_length=63)
    """As in `v1alpha1`."""
    kind: str = Field(max_length=63)
    """As in `redis`."""
    plural: str = Field(max_length=253)
    """As `KRATIX_CRD_PLURAL`."""
    cluster_scoped: bool = False
    """As `KRATIX_CLUSTER_SCOPED`."""


class KratixSection(Manifest):
    """What a promise says of a step that runs the pipelines of a Kratix promise."""

    promise: str = Field(min_length=1, max_length=63)
    """Name of the Kratix promise: `KRATIX_PROMISE_NAME`."""
    workflow: Literal["resource", "promise"] = "resource"
    """Whose workflow it is: of a request, or of the promise itself."""
    api: ObjectKind
    """The kind of the object."""
    object: dict[str, Any]
    """The object that the containers find in `/kratix/input/object.yaml`: the request, or the promise. The first
    pipeline finds its `status`, which may be the output of a step before."""
    configure: tuple[Pipeline, ...] = Field(min_length=1, max_length=20)
    """Pipelines that say what there shall be, in their order."""
    delete: tuple[Pipeline, ...] = Field(default=(), max_length=20)
    """Pipelines that run before what was made is removed."""
    network: Literal["none", "pool"] = "none"
    """`pool`: the network that the pool's settings name (`container_network`), while a step is planned, too."""
    namespace: str = Field(default="default", max_length=200)
    """Of what the pipelines write without one."""
    cluster: str = Field(default=DEFAULT_CLUSTER, min_length=1, max_length=200)
    """Name of one of the clusters that the pool's settings know."""
    destination: str = Field(default="", max_length=200)
    """Name of one of the git repositories that the pool's settings know: files are pushed to it, and no cluster is
    reached. Without it, what pipelines write is applied to the cluster."""
    timeout: Duration = "5m"
    """How long one container may run, and how long to wait for what was applied to be ready."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if not self.destination:
            return self
        if extra := sorted({"cluster", "namespace"} & self.model_fields_set):
            raise ValueError(f"{' and '.join(extra)} do not go with destination: files are pushed, not applied")
        names = [pipeline.name for pipeline in self.configure]
        if len(set(names)) != len(names):
            raise ValueError(
                "pipelines of configure need names of their own: each has a folder of the destination"
            )
        return self
