"""How this process shows results: read by every printer, set once by the command line before a command runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Display:
    """Options that stand anywhere on a command line, whatever the command."""

    wide: bool = False
    """Show the columns that a table leaves out: `-o wide`."""
    headers: bool = True
    """Print the titles of a table's columns; not with `--no-headers`."""
    utc: bool = False
    """Give times in full, in UTC, instead of ages and local times: `--utc`."""
    jsonpath: str = ""
    """The query of `-o jsonpath=QUERY`."""


display = Display()
"""Of this process."""
