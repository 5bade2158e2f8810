"""Words that tests outside of CI quote are still in the source: those of `tests/peers` and `tests/backstage`.

CI does not run these tests, since they need programs that it lacks. So a message that was written anew would break
them unseen. A quote is what such a test looks for in a text, or matches an error by. The source must have it, or
have a message that it fits, whatever is put into the places of that.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
FOLDERS = ("tests/peers", "tests/backstage")
SOURCES = ("bondstone", "activities", "workflows", "workers")
LEAST_WORDS = 3
"""Of a quote, and of those that a message shares with it beside what is put in: with fewer too much would fit."""


def text_of(node: ast.expr) -> str | None:
    """A text, with a mark in each place that is filled in; None of anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values)
    return None


def words_of(text: str) -> list[str]:
    """Its words; a place that is filled in is one that holds the mark."""
    return [word for part in text.split() if (word := part.strip(".,:;()'\"`"))]


def quotes() -> dict[str, str]:
    """Every quote of some words, and where it stands."""
    result = {}
    for path in sorted(path for folder in FOLDERS for path in (ROOT / folder).glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            quote = None
            if isinstance(node, ast.keyword) and node.arg == "match":
                quote = text_of(node.value)
            elif isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In):
                quote = text_of(node.left)
            if quote and sum(map(str.isalpha, words_of(quote))) >= LEAST_WORDS:
                result[quote.replace("\\", "").replace("\0", "it")] = f"{path.name}:{node.lineno}"
    return result


@cache
def messages() -> list[list[str]]:
    """The words of every text of the source that has enough of them."""
    files = {path.resolve() for folder in SOURCES for path in (ROOT / folder).rglob("*.py")}
    nodes = (node for path in files for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    texts = {text for node in nodes if isinstance(node, ast.expr) and (text := text_of(node))}
    return [words for words in map(words_of, texts) if len(words) >= LEAST_WORDS]


def fits(quote: list[str], message: list[str], same: int = 0) -> bool:
    """Whether a quote and a message go on alike until one of them ends, with enough words that are the same."""
    if not quote or not message:
        return same >= LEAST_WORDS
    if "\0" in message[0]:
        return fits(quote[1:], message[1:], same) or fits(quote[1:], message, same)
    return quote[0] == message[0] and fits(quote[1:], message[1:], same + 1)


def is_ours(quote: str) -> bool:
    """Whether a message of the source has these words, or these words have the message."""
    words = words_of(quote)
    known = [message for message in messages() if len(set(words) & set(message)) >= LEAST_WORDS]
    return any(
        any(fits(words, message[at:]) for at in range(len(message)))
        or any(fits(words[at:], message) for at in range(len(words)))
        for message in known
    )


@pytest.mark.parametrize(("quote", "where"), [(quote, where) for quote, where in quotes().items()], ids=str)
def test_words_of_ours_that_tests_outside_of_ci_quote_are_in_the_source(quote: str, where: str) -> None:
    assert is_ours(quote), f"{where} quotes what no message says"


def test_words_that_no_message_says_are_noticed() -> None:
    assert len(quotes()) > 10
    assert not is_ours("Store/shop/orders was not made ready within 8s")
    assert not is_ours("nobody has signed in")
