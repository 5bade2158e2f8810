"""Text from outside in the Markdown that Temporal's UI shows: made harmless, and short."""

from __future__ import annotations

from typing import Final

MAX_CHARS: Final = 300


def escape(text: str) -> str:
    """A text on one line, made harmless in a Markdown table.

    Args:
        text: Anything that somebody wrote.
    """
    flat = " ".join(text.split())
    return "".join("\\" + char if char in "|`*_[]<>\\" else char for char in flat)[:MAX_CHARS]


def asked_by(who: str, reason: str = "") -> str:
    """Who asked for something, and why.

    Args:
        who: Their name.
        reason: In their words; may be empty.
    """
    return f"asked by {escape(who)}{f': {escape(reason)}' if reason else ''}"
