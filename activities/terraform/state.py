"""Terraform's state file (version 4), as far as the adapter has to understand it. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from bondstone.executors.protocol import Output


@dataclass(frozen=True, slots=True)
class TerraformState:
    """One state file."""

    raw: bytes
    serial: int
    """Grows by one with each write."""
    lineage: str
    """Made once when a state begins; states of different lineages have nothing to do with each other."""
    content: dict[str, Any]

    @property
    def outputs(self) -> dict[str, Output]:
        """The outputs of the root module."""
        outputs_read: dict[str, Any] = self.content.get("outputs") or {}
        return {
            name: Output(value=item.get("value"), sensitive=bool(item.get("sensitive")))
            for name, item in outputs_read.items()
        }

    @property
    def is_bare(self) -> bool:
        """Whether it holds no object: nothing is left to destroy."""
        return not any(item.get("mode") == "managed" for item in self.content.get("resources") or ())

    def follows(self, other: TerraformState | None) -> bool:
        """Whether it is a later state of the same life; anything follows nothing."""
        return other is None or (self.lineage == other.lineage and self.serial > other.serial)


def parse_state(raw: bytes | None) -> TerraformState | None:
    """Read a state file.

    Returns:
        None for what is no whole state file: Terraform rewrites it in place, so a reader may see half of one.
    """
    if not raw:
        return None
    try:
        content = json.loads(raw)
        return TerraformState(
            raw=raw, serial=int(content["serial"]), lineage=str(content["lineage"]), content=content
        )
    except (ValueError, KeyError, TypeError):
        return None
