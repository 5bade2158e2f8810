"""A platform on this machine, in a few lines for people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bondstone.terminal.output import fields, say

if TYPE_CHECKING:
    from bondstone.base.platform_file import Platform


def print_summary(platform: Platform, data: Path, *, detached: bool = False) -> None:
    """Say where a healthy platform is, and what to do next."""
    took = f" in {platform.ready_seconds:.1f} s" if platform.ready_seconds is not None else ""
    say(f"Bondstone is ready{took}.")
    fields(
        {
            "  HTTP API": platform.settings.get("api"),
            "  Temporal UI": platform.settings.get("temporal_ui"),
            "  Temporal": platform.settings.get("temporal_address"),
            "  data": data,
            "  logs": data / "log",
        }
    )
    say(
        "Next: `bond demo`, or `bond promise list`. "
        + ("`bond down` stops it." if detached else "Ctrl-C stops it.")
    )
