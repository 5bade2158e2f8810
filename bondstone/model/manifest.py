"""The manifest of a service: what `bond apply` reads and `bond export` writes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from bondstone.base.models import Manifest, Wire
from bondstone.model.promise import LabelKey, Name, SemVer


class ServiceMetadata(Manifest):
    """Which service this is, and how it is labelled."""

    team: Name
    """The team that owns it."""
    name: Name
    """Its name in the team."""
    labels: dict[LabelKey, Annotated[str, Field(max_length=128)]] = Field(default={}, max_length=32)
    """Labels that it shall have; others that people set stay."""


class ServiceManifestSpec(Manifest):
    """How the service shall be."""

    promise: Name
    """The promise it is a service of; it never changes."""
    version: SemVer | None = None
    """Exact version. Without it a new service gets the newest, and one that exists stays where it is."""
    inputs: dict[str, Any] = {}
    """Inputs that it shall have; others are left alone. A secret is `{$env: NAME}` or `{$file: PATH}`."""


class ServiceManifest(Manifest):
    """One service as its team wants it."""

    api_version: Literal["bondstone.dev/v1"] = Field(alias="apiVersion")
    """Always this."""
    kind: Literal["Service"]
    """Always this."""
    metadata: ServiceMetadata
    """Which service this is."""
    spec: ServiceManifestSpec
    """How it shall be."""

    @property
    def id(self) -> str:
        """`TEAM/NAME`."""
        return f"{self.metadata.team}/{self.metadata.name}"


class KeptPlatformManifest(Wire):
    """What a schedule, a freeze, a policy set or an access document keeps of the manifest that made it so."""

    name: str = Field("", max_length=64)
    """`metadata.name` of the manifest."""
    labels: dict[str, str] = {}
    """`metadata.labels`; `--prune --selector` goes by them."""
    content: dict[str, Any] = {}
    """What the manifest said, by field."""
