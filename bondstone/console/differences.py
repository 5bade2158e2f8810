"""What differs between two folders of texts: revisions of a promise, policy sets, access documents. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from bondstone.base.canonical import digest

MAX_LINES: Final = 2000
"""Of all files together on one page."""
MAX_COMPARED: Final = 4000
"""Lines that one page compares, of both sides and all files: the time grows with their square. What both sides of
a file begin and end with is not counted, as it need not be compared."""
MAX_COLUMNS: Final = 300
_CONTEXT: Final = 3
_DIGEST_CHARS: Final = 16
_PLACE: Final = re.compile(r"([-+])([0-9]+)")
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
    too_large: str = ""
    """Why it is not compared line by line, and what can be said of both sides"""


def differences(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> list[FileDifference]:
    """The files that differ, by name, at most `MAX_LINES` lines of them. Not for an event loop.

    Args:
        before: Path to content.
        after: Path to content.
    """
    lines_left, compared_left = MAX_LINES, MAX_COMPARED
    files: list[FileDifference] = []
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) == after.get(name):
            continue
        kind: Literal["added", "removed", "changed"] = "changed"
        if name not in before or name not in after:
            kind = "added" if name not in before else "removed"
        try:
            texts = [side.get(name, b"").decode().splitlines() for side in (before, after)]
        except UnicodeDecodeError:
            texts = [[], []]
        begin, end = _same_around(*texts)
        middle = [text[max(begin - _CONTEXT, 0) : len(text) - max(end - _CONTEXT, 0)] for text in texts]
        compared = sum(map(len, middle)) if all(texts) else 0  # one side alone is only printed
        if compared > compared_left:
            files.append(FileDifference(name, kind, (), too_large=_too_large(compared, before[name], after[name])))
            continue
        compared_left -= compared
        lines = list(_compared(*middle, skipped=max(begin - _CONTEXT, 0)))
        files.append(FileDifference(name, kind, tuple(lines[:lines_left]), max(len(lines) - lines_left, 0)))
        lines_left -= min(len(lines), lines_left)
    return files


def _same_around(before: list[str], after: list[str]) -> tuple[int, int]:
    """How many lines both sides begin with, and how many of the rest they end with."""
    shorter = min(len(before), len(after))
    begin = next((at for at in range(shorter) if before[at] != after[at]), shorter)
    rest = shorter - begin
    end = next((at for at in range(rest) if before[-1 - at] != after[-1 - at]), rest)
    return begin, end


def _compared(before: list[str], after: list[str], *, skipped: int) -> Iterator[tuple[str, str]]:
    for line in list(difflib.unified_diff(before, after, lineterm="", n=_CONTEXT))[2:]:
        tone = _TONES.get(line[:1], "")
        text = _PLACE.sub(lambda match: f"{match[1]}{int(match[2]) + skipped}", line) if tone == "busy" else line
        yield tone, text[:MAX_COLUMNS]


def _too_large(lines: int, before: bytes, after: bytes) -> str:
    sides = (
        f"{word} {len(content)} bytes, sha256 {digest(content)[:_DIGEST_CHARS]}"
        for word, content in (("before", before), ("after", after))
    )
    why = f"too large to compare line by line: {lines} lines"
    if lines <= MAX_COMPARED:
        why = f"not compared line by line: with the files before it, that is more than {MAX_COMPARED} lines"
    return f"{why}; {'; '.join(sides)}"
