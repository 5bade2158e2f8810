"""What differs between two folders of texts: revisions of a promise, policy sets, access documents. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

MAX_LINES: Final = 2000
"""Of all files together on one page."""
MAX_COLUMNS: Final = 300
_CONTEXT: Final = 3
_TONES: Final = {"+": "good", "-": "bad", "@": "busy"}


@dataclass(frozen=True, slots=True)
class FileDifference:
    """One file that differs."""

    name: str
    kind: Literal["added", "removed", "changed"]
    lines: tuple[tuple[str, str], ...]
    """Tone and text of each line, as `diff -u` prints them; none of a file that is no text"""
    left_out: int = 0
    """How many further lines there are"""


def differences(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> list[FileDifference]:
    """The files that differ, by name, at most `MAX_LINES` lines of them.

    Args:
        before: Path to content.
        after: Path to content.
    """
    lines_left = MAX_LINES
    files: list[FileDifference] = []
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) == after.get(name):
            continue
        lines = list(_lines(before.get(name, b""), after.get(name, b"")))
        kind: Literal["added", "removed", "changed"] = "changed"
        if name not in before or name not in after:
            kind = "added" if name not in before else "removed"
        files.append(FileDifference(name, kind, tuple(lines[:lines_left]), max(len(lines) - lines_left, 0)))
        lines_left -= min(len(lines), lines_left)
    return files


def _lines(before: bytes, after: bytes) -> Iterator[tuple[str, str]]:
    try:
        texts = (before.decode().splitlines(), after.decode().splitlines())
    except UnicodeDecodeError:
        return
    for line in list(difflib.unified_diff(*texts, lineterm="", n=_CONTEXT))[2:]:
        yield _TONES.get(line[:1], ""), line[:MAX_COLUMNS]
