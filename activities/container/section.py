"""The `container` section of a step in a promise."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints

from bondstone.base.models import Manifest
from bondstone.model.promise import Duration

Verb = Literal["plan", "apply", "destroy", "drift"]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$")]
VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")]

IMAGE: Final = r"^[a-z0-9][a-z0-9._/:-]{0,255}@sha256:[0-9a-f]{64}$"


class ContainerOutput(Manifest):
    """One output: a key of the `outputs.json` that the image writes."""

    sensitive: bool = False
    """It is a secret: it goes to the secret store and is shown nowhere."""


class ContainerSection(Manifest):
    """What a promise says of a container step."""

    image: str = Field(pattern=IMAGE, max_length=400)
    """Name and digest: `registry.example/tools/dns@sha256:…`. Never a tag, never an expression."""
    command: tuple[str, ...] = Field(default=(), max_length=100)
    """Arguments of the image's entry point. They can be seen on the worker: no secret may be in them."""
    env: dict[VariableName, str] = Field(default={}, max_length=100)
    """Variables. They can be seen on the worker: no secret may be in them."""
    inputs: dict[str, Any] = {}
    """What the image is told, in `/bond/input/step.json`."""
    files: dict[FileName, str] = Field(default={}, max_length=100)
    """Texts by name, in `/bond/input/files`: the way for secrets."""
    actions: tuple[Verb, ...] = Field(default=("plan", "apply", "destroy", "drift"), min_length=1, max_length=4)
    """What the image can do. Without `plan` each change of what it is told is one of unknown effect; without
    `destroy` what it made stays when the service goes; without `drift` nobody looks for any."""
    network: Literal["none", "pool"] = "none"
    """`pool`: the network that the settings of the pool name (`container_network`; for Jobs, that of pods)."""
    cpus: float = Field(default=1, gt=0, le=64)
    """Most processors."""
    memory_mib: int = Field(default=256, ge=16, le=65536)
    """Most memory, in MiB."""
    processes: int = Field(default=256, ge=1, le=4096)
    """Most processes and threads."""
    time: Duration = "10m"
    """How long one run may take; then it is killed."""
    outputs: dict[str, ContainerOutput] = Field(default={}, max_length=100)
    """What later steps and the promise may use."""
