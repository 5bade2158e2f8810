"""Text cut to what fits, at the place that can best be missed: the middle. Reasons come last, names come first."""

from __future__ import annotations

_HEAD_SHARE = 0.4


def shorten(text: str, most: int, *, pointer: str = "") -> str:
    """The text, its middle left out if it is too long.

    Args:
        text: Any text.
        most: Longest result, in characters.
        pointer: Where the whole text is, as in `see the step's log`.
    """
    if len(text) <= most:
        return text
    gap = f" … ({len(text) - most} characters cut{f', {pointer}' if pointer else ''}) … "
    budget = most - len(gap)
    if budget < len(gap):
        return text[: max(most - 1, 0)] + "…"
    head = int(budget * _HEAD_SHARE)
    return text[:head] + gap + text[len(text) - (budget - head) :]
