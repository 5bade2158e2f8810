"""What a step that stands for a part is told; made from an entry of `requires`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from bondstone.base.models import Manifest
from bondstone.model.promise import Name, VersionRange


class ServiceSection(Manifest):
    """One part: which promise, which versions, which service, and its inputs."""

    promise: Name
    """The promise of the part."""
    version: VersionRange = ">=0"
    """Versions that will do. A part that is made gets the newest of them."""
    service: str = Field(min_length=3, max_length=200)
    """`TEAM/NAME` of the part."""
    bind: bool = False
    """The part exists already and is shared: it is neither made nor changed nor taken down."""
    adopted: Literal["release", "decommission"] = "release"
    """What becomes of a part at its parent's end when it existed before and was given to the parent."""
    inputs: dict[str, Any] = {}
    """Inputs of a part that is made."""
