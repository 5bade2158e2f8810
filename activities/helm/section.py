"""The `helm` section of a step in a promise."""

from __future__ import annotations

import re
from typing import Any, Final, Self

from pydantic import Field, model_validator

from bondstone.activities.clusters.outputs import ObjectOutput
from bondstone.base.cluster_settings import DEFAULT_CLUSTER
from bondstone.base.models import Manifest
from bondstone.model.promise import Duration

OCI: Final = "oci://"
_DIGEST: Final = re.compile(r"(?:sha256:)?[0-9a-f]{64}")


class HelmSection(Manifest):
    """What a promise says of a Helm step."""

    chart: str = Field(min_length=1, max_length=512)
    """Folder or archive in the promise (`chart`), `oci://registry/path/name`, or the name of a chart in
    `repository`. Never an expression."""
    repository: str = Field(default="", max_length=512)
    """`https://…` of the chart repository that holds `chart`."""
    version: str = Field(default="", max_length=100)
    """Of a chart that is not in the promise."""
    digest: str = Field(default="", max_length=100)
    """sha256 of that chart's archive (`helm pull`, then `sha256sum`)."""
    values: dict[str, Any] = {}
    """Values of the chart; strings may hold `${…}`."""
    cluster: str = Field(default=DEFAULT_CLUSTER, min_length=1, max_length=200)
    """Name of one of the clusters that the pool's settings know."""
    namespace: str = Field(default="", max_length=200)
    """Where to; without one the service's team."""
    create_namespace: bool = False
    """Make the namespace if it is not there. It stays when the service goes."""
    release: str = Field(default="", max_length=200)
    """Name of the release; without one `<service>-<step>`."""
    timeout: Duration = "5m"
    """How long Helm waits for what it made to be ready."""
    wait: bool = True
    """Wait until all is ready."""
    atomic: bool = True
    """Undo what fails: a first install is taken away, an upgrade rolled back."""
    outputs: dict[str, ObjectOutput] = Field(default={}, max_length=100)
    """What later steps and the promise may use."""

    @property
    def is_remote(self) -> bool:
        """Whether the chart is somewhere else than in the promise."""
        return self.chart.startswith(OCI) or bool(self.repository)

    @property
    def sha256(self) -> str:
        """The digest without its prefix."""
        return self.digest.removeprefix("sha256:")

    @model_validator(mode="after")
    def _pinned(self) -> Self:
        if self.chart.startswith(OCI) and self.repository:
            raise ValueError("an oci:// chart takes no `repository`")
        if self.repository and not self.repository.startswith("https://"):
            raise ValueError("repository must be an https:// URL")
        if self.is_remote and not (self.version and _DIGEST.fullmatch(self.digest)):
            raise ValueError("a chart that is not in the promise is pinned: say version, and digest (sha256, hex)")
        if not self.is_remote and (self.version or self.digest):
            raise ValueError("version and digest are for charts that are not in the promise")
        if self.atomic and not self.wait:
            raise ValueError("atomic needs wait: say atomic: false too")
        return self
