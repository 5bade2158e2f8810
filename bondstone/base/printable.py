"""Text from outside, made fit to show: hidden characters spelt out, Markdown made harmless, too much cut.

Names, labels, messages and outputs of tools come from other people. A terminal obeys escape sequences; text that
turns around reads as another word; and a spreadsheet takes `=` for a formula behind what nobody sees.
"""

from __future__ import annotations

import re
from typing import Final

MAX_MARKDOWN_CHARS: Final = 300
"""Of a text from outside in Temporal's UI."""
_HEAD_SHARE: Final = 0.4
"""Of a shortened text: the part before the gap. Reasons come last, names come first."""
TURNING: Final = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
"""Marks, embeddings, overrides and isolates of direction, as the inside of a character class."""

_CONTROLS: Final = "\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff"
_UNSEEN: Final = (
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u2060-\u2065\u206a-\u206f\u2800\u3164\ufeff\uffa0"
    "\ufff0-\ufffb\U000e0000-\U000e0fff"
)
"""Default ignorable characters (Unicode, DerivedCoreProperties), blank ones, and tags; without the joiners and
variation selectors that emoji and some scripts are written with."""

_HIDDEN: Final = re.compile(f"[{_CONTROLS}{TURNING}{_UNSEEN}]")
_FILLER: Final = re.compile(f"[\\s{_CONTROLS}{TURNING}{_UNSEEN}\u200c\u200d\ufe00-\ufe0f]+")


def visible(text: str) -> str:
    r"""The text with every hidden character spelt out, as in `\x1b` or `\u202e`; tabs and line ends stay."""
    return _HIDDEN.sub(lambda match: _spelt(ord(match.group())), text)


def without_hidden(text: str) -> str:
    """The text without hidden characters; tabs and line ends stay."""
    return _HIDDEN.sub("", text)


def visible_json(text: str) -> str:
    """A JSON document that says the same, every hidden character in it as JSON's own escape."""
    return _HIDDEN.sub(lambda match: _as_json(match.group()), text)


def without_hidden_start(text: str) -> str:
    """The text from its first character on that somebody sees: what a spreadsheet begins to read with."""
    match = _FILLER.match(text)
    return text[match.end() :] if match else text


def is_plain(text: str) -> bool:
    """Whether a text has no hidden character."""
    return _HIDDEN.search(text) is None


def markdown(text: str) -> str:
    """A text on one line, made harmless in a Markdown table.

    Args:
        text: Anything that somebody wrote.
    """
    flat = " ".join(text.split())
    return "".join("\\" + char if char in "|`*_[]<>\\" else char for char in flat)[:MAX_MARKDOWN_CHARS]


def asked_by(who: str, reason: str = "") -> str:
    """Who asked for something, and why.

    Args:
        who: Their name.
        reason: In their words; may be empty.
    """
    return f"asked by {markdown(who)}{f': {markdown(reason)}' if reason else ''}"


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


def _spelt(code: int) -> str:
    if code < 0x100:  # noqa: PLR2004 - two digits
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"  # noqa: PLR2004 - four digits


def _as_json(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
