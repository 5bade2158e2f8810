"""Tables that fit a terminal: text is wrapped at words, identifiers are never broken. Pure layout, no printing."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import zip_longest
from typing import Final, NamedTuple

GAP: Final = 2
"""Spaces between two columns."""
LEAST_TEXT_WIDTH: Final = 16
"""Narrower than this text is not wrapped while another layout fits."""

_BREAKS: Final = re.compile(r"(?<=[ ,;])")
"""Where a cell may be wrapped: after a space, a comma or a semicolon. Identifiers have none of them."""


class Layout(NamedTuple):
    """A table laid out: each line is a list of padded cells."""

    head: list[str] | None
    """Titles of the columns; None where each row is a block with its own"""
    lines: list[list[str]]


def layout(titles: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> Layout:
    """A table that fits.

    A table that is too wide has its text wrapped; one that is still too wide shows each row as a block: the first
    cell, and below it a line for each other.

    Args:
        titles: Of the columns.
        rows: Cells by row, a line of text each.
        width: Of the terminal, in characters; 0 for any.
    """
    natural = [max(map(text_width, column)) for column in zip(titles, *rows, strict=True)]
    widths = _fitted(titles, rows, natural, width) if width else natural
    if widths is None:
        return Layout(None, _blocks(titles, rows, width))
    lines: list[list[str]] = []
    for row in rows:
        wrapped = [_wrap(cell, limit) for cell, limit in zip(row, widths, strict=True)]
        lines += [_padded(cells, widths) for cells in zip_longest(*wrapped, fillvalue="")]
    return Layout(_padded(titles, widths), lines)


def text_width(text: str) -> int:
    """Columns that a text takes on a terminal."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) > 0 for char in text)


def _fitted(
    titles: Sequence[str], rows: Sequence[Sequence[str]], natural: list[int], width: int
) -> list[int] | None:
    """Widths that fit, the widest text narrowed first; None when identifiers alone are too wide."""
    columns = list(zip(titles, *rows, strict=True))
    least = [
        min(limit, max(LEAST_TEXT_WIDTH, *(text_width(part.rstrip()) for cell in column for part in _parts(cell))))
        for column, limit in zip(columns, natural, strict=True)
    ]
    widths = list(natural)
    excess = sum(widths) + GAP * (len(widths) - 1) - width
    while excess > 0:
        index = max(range(len(widths)), key=lambda each: (widths[each] > least[each], widths[each]))
        if widths[index] <= least[index]:
            return None
        others = [size for each, size in enumerate(widths) if each != index and size < widths[index]]
        step = min(excess, widths[index] - max(least[index], max(others, default=0)) or 1)
        widths[index] -= step
        excess -= step
    return widths


def _padded(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [cell + " " * (limit - text_width(cell)) for cell, limit in zip(cells, widths, strict=True)]


def _parts(cell: str) -> list[str]:
    return [part for part in _BREAKS.split(cell) if part] or [""]


def _wrap(cell: str, limit: int) -> list[str]:
    """A cell as lines of at most so many columns, where its words allow."""
    lines = [""]
    for part in _parts(cell):
        if lines[-1] and text_width(lines[-1] + part.rstrip()) > limit:
            lines.append("")
        lines[-1] += part
    return [line.rstrip() for line in lines]


def _blocks(titles: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[list[str]]:
    label = max((text_width(title) for title in titles[1:]), default=0) + GAP
    lines: list[list[str]] = []
    for row in rows:
        lines += [[line] for line in _wrap(row[0], width)]
        for title, cell in zip(titles[1:], row[1:], strict=True):
            if cell in {"", "-"}:
                continue
            first, *rest = _wrap(cell, max(width - label - GAP, LEAST_TEXT_WIDTH))
            lines.append([" " * GAP + f"{title:<{label - GAP}}", first])
            lines += [[" " * label, line] for line in rest]
    return lines
