"""Taking known secrets out of text before it is kept or shown.

A secret is recognised as it is, in any mixture of upper and lower case, and as other programs write it: escaped
for JSON (once or twice), for HTML, for a shell or in a URL; in hexadecimal; in base64, wherever it begins inside
the encoded bytes. Of a secret of several lines each line is a secret too, because logs are written line by line.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import quote

MASK: Final = "(secret)"

MIN_SECRET_LENGTH: Final = 4
"""Shorter values are left alone: masking every `1` or `no` would spoil the log, and show what they are."""

_MIN_LINE_LENGTH: Final = 8
"""Lines of a secret shorter than this are left alone, but for a PEM, whose last line may be short."""

_PEM: Final = "-----BEGIN "

_WRAPPED_AT: Final = (64, 76)
"""Line lengths of base64 in PEM files and in MIME, which is what `base64` writes."""

_UNQUOTED: Final = ("", "/", "!~*'()", "!~*'();/?:@&=+$,#", "$&+=:@", "$&+,;=")
"""What URL encoders leave alone: RFC 3986, Python, `encodeURIComponent`, `encodeURI`, Go's paths and user info."""


class Redactor:
    """Replaces every known secret, in every form it is known by, by `(secret)`.

    Args:
        secrets: The values. Those shorter than `MIN_SECRET_LENGTH` are ignored.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._known: set[str] = set()
        # By their first characters: one look-up for each place in a text, however many secrets there are.
        self._forms: dict[str, list[str]] = {}
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        """Learn more secrets, for the text to come."""
        for secret in secrets:
            if secret in self._known:
                continue
            self._known.add(secret)
            for form in {_lowered(form) for form in _forms(secret)}:
                beginning = self._forms.setdefault(form[:MIN_SECRET_LENGTH], [])
                if form not in beginning:
                    beginning.append(form)
                    # The longest first: a secret that contains another one must not leave its rest behind.
                    beginning.sort(key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """The text without the secrets."""
        if not self._forms:
            return text
        lowered, forms = _lowered(text), self._forms
        parts: list[str] = []
        start = position = 0
        last = len(text) - MIN_SECRET_LENGTH
        while position <= last:
            match = self._at(lowered, position) if lowered[position : position + 4] in forms else 0
            if match:
                parts += [text[start:position], MASK]
                start = position = position + match
            else:
                position += 1
        return "".join([*parts, text[start:]]) if parts else text

    def is_in(self, value: Any) -> bool:
        """Whether a JSON value shows a known secret: in a text, a number or a key of it, or across its members."""
        text = json.dumps(value, ensure_ascii=False)
        return self(text) != text

    def masked(self, value: Any) -> Any:
        """A copy of a JSON value without the secrets, keys included; a number that is one becomes the mask."""
        known: dict[str, str] = {}  # documents of tools say the same few hundred things over and over

        def masked(item: Any) -> Any:
            match item:
                case str():
                    if (text := known.get(item)) is None:
                        text = known[item] = self(item)
                    return text
                case dict():
                    return {masked(str(key)): masked(inner) for key, inner in item.items()}
                case list() | tuple():
                    return [masked(inner) for inner in item]
                case int() | float() if not isinstance(item, bool):
                    return MASK if self.is_in(item) else item
            return item

        return masked(value)

    def _at(self, lowered: str, position: int) -> int:
        """The length of the longest form that stands at a place; 0 when none does."""
        for form in self._forms[lowered[position : position + MIN_SECRET_LENGTH]]:
            if lowered.startswith(form, position):
                return len(form)
        return 0


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
    """The spellings of a secret, and of each of its lines."""
    shortest = MIN_SECRET_LENGTH if _PEM in secret else _MIN_LINE_LENGTH
    lines = [line for line in secret.splitlines() if len(line.strip()) >= shortest]
    for text in dict.fromkeys((secret, *lines)):
        plain = text.strip("\r\n")
        if len(plain) < MIN_SECRET_LENGTH:
            continue
        yield plain
        for once in _escaped(plain):
            yield once
            yield from _escaped(once)
        yield from _quoted(plain)
        data = plain.encode("utf-8", "replace")
        yield data.hex()
        yield data.hex(":")
        for written in dict.fromkeys((text, plain, *_escaped(plain))):
            yield from _in_base64(written.encode("utf-8", "replace"))


def _escaped(text: str) -> Iterator[str]:
    """As JSON writes it: ASCII only or not, and as Go does, which also escapes what HTML would trip over."""
    for ascii_only in (False, True):
        written = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
        yield written
        for char in "<>&\u2028\u2029":
            written = written.replace(char, f"\\u{ord(char):04x}")
        yield written


def _quoted(text: str) -> Iterator[str]:
    """As URLs, pages, shells and YAML write it."""
    data = text.encode("utf-8", "replace")
    for unquoted in _UNQUOTED:
        written = quote(data, safe=unquoted)
        yield written
        yield written.replace("%20", "+")
    yield "".join(f"%{byte:02x}" for byte in data)
    yield html.escape(text)
    yield html.escape(text).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")
    yield text.replace("'", "'\\''")
    yield text.replace("'", "''")
    yield repr(text)[1:-1]


def _in_base64(data: bytes) -> Iterator[str]:
    """Its base64, both alphabets: alone, in lines, and what does not depend on the bytes around it."""
    alone = base64.b64encode(data).decode()
    forms = [alone]
    for width in _WRAPPED_AT:
        if len(alone) > width:
            forms += [alone[begin : begin + width] for begin in range(0, len(alone), width)]
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + data).decode()
        # a character holds six bits: leave out those that share some with a byte before or behind
        forms.append(encoded[-(-before * 8 // 6) : (before + len(data)) * 8 // 6])
    for text in forms:
        if len(text) >= MIN_SECRET_LENGTH:
            yield text
            yield text.replace("+", "-").replace("/", "_")


def _lowered(text: str) -> str:
    """The text in lower case, each character in its place: a few become several in lower case, and stay."""
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered
    return "".join(char if len(lower := char.lower()) != 1 else lower for char in text)


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
