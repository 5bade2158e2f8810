"""Rego's `regex` functions by RE2, whose syntax and meaning are those of Go.

(Source: OPA 1.22, `v1/topdown/regex.go`; Go's `regexp` for splitting, replacing and finding all.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

import re2

from bondstone.rego.operands import require_strings, whole

MAX_PATTERN_BYTES: Final = 8 * 1024 * 1024
"""Memory that one compiled regular expression may take."""

_NAME_AFTER_DOLLAR: Final = re.compile(r"\$(?:(\$)|\{(\w+)\}|(\w+))")
_MOST_DIGITS: Final = 8
"""Of the number of a group."""


def regex_match(pattern: str, text: str) -> bool:
    """`regex.match`."""
    require_strings(pattern, text)
    return _compiled(pattern).search(text) is not None


def regex_is_valid(pattern: Any) -> bool:
    """`regex.is_valid`."""
    try:
        _compiled(pattern)
    except (TypeError, ValueError):
        return False
    return True


def regex_split(pattern: str, text: str) -> list[str]:
    """`regex.split`, as Go's `Split(text, -1)`."""
    require_strings(pattern, text)
    compiled = _compiled(pattern)
    if pattern and not text:
        return [""]
    parts: list[str] = []
    begin = end = 0
    for match in _matches(compiled, text):
        end = match.start()
        if match.end():
            parts.append(text[begin:end])
        begin = match.end()
    if end != len(text):
        parts.append(text[begin:])
    return parts


def regex_find_n(pattern: str, text: str, limit: int) -> list[str]:
    """`regex.find_n`."""
    require_strings(pattern, text)
    return [match.group() for match in _matches(_compiled(pattern), text, whole(limit))]


def regex_find_all_string_submatch_n(pattern: str, text: str, limit: int) -> list[list[str]]:
    """`regex.find_all_string_submatch_n`."""
    require_strings(pattern, text)
    matches = _matches(_compiled(pattern), text, whole(limit))
    return [[match.group(), *(group or "" for group in match.groups())] for match in matches]


def regex_replace(text: str, pattern: str, template: str) -> str:
    """`regex.replace`, as Go's `ReplaceAllString`."""
    require_strings(text, pattern, template)
    compiled = _compiled(pattern)
    parts: list[str] = []
    last = position = 0
    while position <= len(text):
        match = compiled.search(text, position)
        if match is None:
            break
        parts.append(text[last : match.start()])
        if match.end() > last or match.start() == 0:
            parts.append(_expanded(template, match))
        last = match.end()
        position = max(match.end(), position + 1)
    return "".join([*parts, text[last:]])


def regex_template_match(template: str, text: str, start: str, end: str) -> bool:
    """`regex.template_match`: literal text with regular expressions between two delimiters."""
    require_strings(template, text, start, end)
    if len(start.encode()) != 1 or len(end.encode()) != 1:
        raise ValueError("a delimiter must be one ASCII character")
    parts, literal, depth, begin = ["^"], 0, 0, 0
    for index, character in enumerate(template):
        if character == start:
            depth += 1
            begin = index if depth == 1 else begin
        elif character == end:
            depth -= 1
            if depth == 0:
                parts += [re2.escape(template[literal:begin]), f"({template[begin + 1 : index]})"]
                literal = index + 1
            elif depth < 0:
                raise ValueError("unbalanced delimiters")
    if depth:
        raise ValueError("unbalanced delimiters")
    return regex_match("".join([*parts, re2.escape(template[literal:]), "$"]), text)


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> Any:
    require_strings(pattern)
    if "\\C" in pattern:
        raise ValueError("error parsing regexp: invalid escape sequence: `\\C`")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = MAX_PATTERN_BYTES
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0] if error.args else error
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"error parsing regexp: {text}") from None


def _matches(compiled: Any, text: str, limit: int = -1) -> Iterator[Any]:
    """As Go finds all: an empty match right behind another one does not count."""
    position, last = 0, -1
    while limit and position <= len(text):
        match = compiled.search(text, position)
        if match is None:
            return
        empty_again = match.end() == position and match.start() == last
        position = position + 1 if match.end() == position else match.end()
        last = match.end()
        if not empty_again:
            limit -= 1
            yield match


def _expanded(template: str, match: Any) -> str:
    names = match.re.groupindex

    def value(reference: re.Match[str]) -> str:
        dollar, braced, plain = reference.groups()
        if dollar:
            return "$"
        name = braced or plain
        if name.isdigit():
            number = int(name) if len(name) <= _MOST_DIGITS else -1
            return (match.group(number) or "") if 0 <= number <= match.re.groups else ""
        return (match.group(names[name]) or "") if name in names else ""

    return _NAME_AFTER_DOLLAR.sub(value, template)
