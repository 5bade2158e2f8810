"""Taking known secrets out of text before it is kept or shown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

MASK: Final = "(secret)"

MIN_SECRET_LENGTH: Final = 4
"""Shorter values are left alone: masking every `1` or `no` would spoil the log, and show what they are."""

_MIN_LINE_LENGTH: Final = 8
"""Of a secret of several lines each line of this length is a secret too: a log is written line by line."""


class Redactor:
    """Replaces every known secret, as it is or as JSON writes it, by `(secret)`.

    Args:
        secrets: The values. Those shorter than `MIN_SECRET_LENGTH` are ignored.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._forms: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        """Learn more secrets, for the text to come."""
        found = {form for secret in secrets for form in _forms(secret)}
        if found <= self._forms:
            return
        self._forms |= found
        # The longest first: a secret that contains another one must not leave its rest behind.
        longest_first = sorted(self._forms, key=lambda form: (-len(form), form))
        self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def __call__(self, text: str) -> str:
        """The text without the secrets."""
        return self._pattern.sub(MASK, text) if self._pattern is not None else text


def known_secrets(values: Iterable[Any]) -> set[str]:
    """The strings to redact: every text in some secret values, and each structured value as JSON."""
    return {text for value in values for text in _texts(value)}


def plain_texts(value: Any) -> Iterator[str]:
    """The texts in a secret value by which it would be recognised in a log: its strings and numbers."""
    match value:
        case str():
            yield value
        case bool() | None:
            pass
        case int() | float():
            yield json.dumps(value)
        case dict():
            for item in value.values():
                yield from plain_texts(item)
        case list() | tuple():
            for item in value:
                yield from plain_texts(item)


def _forms(secret: str) -> Iterator[str]:
    """The spellings of a secret: itself, and inside JSON, and inside JSON that is a string in JSON."""
    lines = [line for line in secret.splitlines() if len(line.strip()) >= _MIN_LINE_LENGTH]
    for text in (secret, *lines):
        plain = text.strip("\r\n")
        if len(plain) < MIN_SECRET_LENGTH:
            continue
        yield plain
        for once in _escaped(plain):
            yield once
            yield from _escaped(once)


def _escaped(text: str) -> Iterator[str]:
    """As JSON writes it: ASCII only or not, and as Go does, which also escapes what HTML would trip over."""
    for ascii_only in (False, True):
        written = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
        yield written
        for char in "<>&\u2028\u2029":
            written = written.replace(char, f"\\u{ord(char):04x}")
        yield written


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield json.dumps(value)
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        yield json.dumps(value)
        for item in value:
            yield from _texts(item)
    elif value is not None and not isinstance(value, bool):
        yield json.dumps(value)
