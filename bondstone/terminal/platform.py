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
    if platform.continued_count:
        count = platform.continued_count
        say(f"{count} {'continues' if count == 1 else 'continue'} where {'it' if count == 1 else 'they'} stood:")
        for words in platform.continued:
            say(f"  {words}")
        if count > len(platform.continued):
            say(f"  and {count - len(platform.continued)} more: `bond operation list`, `bond campaign list`")
    say(
        "Next: `bond demo`, or `bond promise list`. "
        + ("`bond down` stops it." if detached else "Ctrl-C stops it.")
    )
