"""Answers that fit into an agent's window: long texts and lists are cut, and say so. Pure."""

from __future__ import annotations

import json
from typing import Any, Final

MAX_CHARS: Final = 24_000
"""Of one answer, as JSON."""
MAX_TEXT: Final = 2_000
MAX_ITEMS: Final = 50
MAX_DEPTH: Final = 12
_SMALLEST_TEXT: Final = 60


def bounded(value: Any, max_chars: int = MAX_CHARS) -> tuple[Any, bool]:
    """A JSON value that is no longer than that, and whether something was cut.

    Args:
        value: What JSON can say.
        max_chars: Of the value as JSON.
    """
    text, items = MAX_TEXT, MAX_ITEMS
    cut = _cut(value, text, items, MAX_DEPTH)
    while len(json.dumps(cut)) > max_chars and text > _SMALLEST_TEXT:
        text, items = text // 2, max(1, items // 2)
        cut = _cut(value, text, items, MAX_DEPTH)
    if len(json.dumps(cut)) > max_chars:
        cut = _short(json.dumps(cut), max_chars // 4)
    return cut, cut != value


def _cut(value: Any, text: int, items: int, depth: int) -> Any:
    if isinstance(value, str):
        return _short(value, text)
    if not isinstance(value, dict | list):
        return value
    if depth == 0:
        return "… (nested deeper than is shown)"
    if isinstance(value, list):
        shown = [_cut(item, text, items, depth - 1) for item in value[:items]]
        return shown if len(value) <= items else [*shown, f"… and {len(value) - items} more"]
    kept = dict(list(value.items())[:items])
    cut = {_short(str(key), text): _cut(item, text, items, depth - 1) for key, item in kept.items()}
    return cut if len(value) <= items else {**cut, "…": f"and {len(value) - items} more"}


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}… ({len(text) - most} more characters)"
