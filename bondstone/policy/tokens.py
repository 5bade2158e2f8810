"""Rego in tokens: enough to see where rules begin and end, never a second parser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

_SPLIT: Final = re.compile(
    r"""
    (?P<space>[ \t\r]+)
  | (?P<newline>\n)
  | (?P<comment>\#[^\n]*)
  | (?P<string>"(?:[^"\\\n]|\\.)*"|`[^`]*`)
  | (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<sign>:=|==|!=|<=|>=|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_CLOSERS: Final = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True, slots=True)
class Token:
    """One token with its place."""

    kind: Literal["string", "number", "name", "sign"]
    text: str
    line: int
    column: int
    depth: int
    """How many brackets it stands in; an opening bracket counts as outside itself, as does its closing one."""
    inside: str
    """The innermost bracket it stands in: `(`, `[`, `{` or nothing."""


def tokens(source: str) -> Iterator[Token]:
    """Every token of a module but white space and comments; unmatched brackets are the engine's to report."""
    line, line_start, stack = 1, 0, [""]
    for match in _SPLIT.finditer(source):
        kind, text = match.lastgroup or "sign", match.group()
        if kind == "newline":
            line, line_start = line + 1, match.end()
            continue
        if kind in {"space", "comment"}:
            continue
        if kind == "sign" and len(stack) > 1 and text == _CLOSERS[stack[-1]]:
            stack.pop()
        column = match.start() - line_start + 1
        yield Token(kind, text, line, column, len(stack) - 1, stack[-1])  # type: ignore[arg-type]  # the groups' names
        if kind == "sign" and text in _CLOSERS:
            stack.append(text)
        if "\n" in text:
            line, line_start = line + text.count("\n"), match.start() + text.rindex("\n") + 1


def statements(source: str) -> list[list[Token]]:
    """The tokens of a module, a list for each package line, import and rule (its `else` branches with it)."""
    lines: list[list[Token]] = []
    for token in tokens(source):
        previous = lines[-1][-1] if lines else None
        if previous is None or _begins(token, previous):
            lines.append([])
        lines[-1].append(token)
    return lines


def _begins(token: Token, previous: Token) -> bool:
    if token.depth or token.line == previous.line or token.text in {"else", "{", "}", ")", "]", "if", "contains"}:
        return False
    continued = previous.text in {
        "if",
        "contains",
        ":=",
        "=",
        "default",
        "every",
        "some",
        "in",
        "not",
        "else",
        "with",
    }
    return (
        token.kind == "name"
        and not continued
        and previous.text not in set("+-*/%&|<>.,") | {"==", "!=", "<=", ">="}
    )
