"""Templates: JSON trees whose strings hold `${…}` expressions in CEL.

A string that is exactly one `${…}` keeps the type of its value; otherwise the parts are joined as text; `$${` is
a literal `${`. Null, maps and lists cannot be joined into text: a silent `null` in a name is found too late.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bondstone.base.errors import ExpressionInvalid
from bondstone.cel import (
    MAX_SIZE,
    ROOTS,
    Compiled,
    Fault,
    Variables,
    VariableScope,
    evaluate,
    references,
    tokens,
)

__all__ = [
    "MAX_EXPRESSIONS",
    "ROOTS",
    "Compiled",
    "Expr",
    "Fault",
    "TemplateExpression",
    "TemplateProblem",
    "VariableScope",
    "Variables",
    "check",
    "evaluate",
    "parts",
    "references",
    "references_in",
    "render",
    "strings_in",
]

MAX_EXPRESSIONS: Final = 500
"""Most expressions in one document."""

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Expr:
    """One `${…}` of a template string."""

    text: str
    start: int
    """Offset in the string of the first character after `${`."""


@dataclass(frozen=True, slots=True)
class TemplateProblem:
    """A fault of one expression, and where in a tree its string is."""

    path: Path
    fault: Fault
    offset: int
    """Offset in the string of the place that is meant."""


@dataclass(frozen=True, slots=True)
class TemplateExpression:
    """One expression of a tree that compiles: where it is, and what it gives."""

    path: Path
    expression: str
    offset: int
    type: str
    """CEL type of the result; `string` when the string holds more than this one expression."""
    references: frozenset[str]


def parts(text: str) -> list[str | Expr]:
    """Split a template string into literal text and expressions.

    Raises:
        ExpressionInvalid: when a `${` has no end.
    """
    if "${" not in text:
        return [text] if text else []
    pieces: list[str | Expr] = []
    literal: list[str] = []
    position = 0
    while position < len(text):
        if text.startswith("$${", position):
            literal.append("${")
            position += 3
        elif text.startswith("${", position):
            end = _end(text, position + 2)
            if literal:
                pieces.append("".join(literal))
                literal = []
            pieces.append(Expr(text[position + 2 : end], position + 2))
            position = end + 1
        else:
            literal.append(text[position])
            position += 1
    if literal:
        pieces.append("".join(literal))
    return pieces


def _end(text: str, start: int) -> int:
    """Offset of the `}` that closes the expression at `start`; strings and braces inside do not count."""
    depth = 0
    for kind, word, offset in tokens(text, start):
        if kind != "other":
            continue
        if word == "{":
            depth += 1
        elif word == "}":
            if depth == 0:
                return offset
            depth -= 1
    raise ExpressionInvalid("`${` has no closing `}`", hint="write $${ where a literal ${ is meant")


def check(
    template: Any, scope: VariableScope, *, path: Path = ()
) -> tuple[list[TemplateProblem], list[TemplateExpression]]:
    """Compile every expression of a tree: what is wrong, and what the good ones use and give."""
    findings: list[TemplateProblem] = []
    uses: list[TemplateExpression] = []
    for at, text in strings_in(template, path):
        try:
            pieces = parts(text)
        except ExpressionInvalid as error:
            findings.append(TemplateProblem(at, Fault(error.message, hint=error.hint), max(text.rfind("${"), 0)))
            continue
        for piece in pieces:
            if isinstance(piece, str):
                continue
            compiled = scope.compile(piece.text)
            findings += [
                TemplateProblem(at, fault, piece.start + offset_of(piece.text, fault.line, fault.column))
                for fault in compiled.faults
            ]
            if compiled.faults:
                continue
            kind = compiled.type if len(pieces) == 1 else "string"
            uses.append(TemplateExpression(at, piece.text, piece.start, kind, compiled.references))
            if len(pieces) > 1 and (name := _whole_nullable(piece.text, scope)):
                fault = Fault(
                    f"`{name}` may be null, which cannot be joined into text",
                    hint=f"give it a default, or choose: {name} == null ? '' : {name}",
                )
                findings.append(TemplateProblem(at, fault, piece.start))
            if len(pieces) > 1 and compiled.type in {"list", "map", "null"}:
                fault = Fault(
                    f"a {compiled.type} cannot be joined into text", hint="use an expression that gives text"
                )
                findings.append(TemplateProblem(at, fault, piece.start))
    return findings, uses


def _whole_nullable(expression: str, scope: VariableScope) -> str:
    """The path that an expression is nothing but, when it may be null."""
    path = expression.strip()
    return scope.nullable(path) if references(path) == {path} else ""


def offset_of(text: str, line: int, column: int) -> int:
    """Offset in a text of a line and column from 1."""
    before = text.split("\n")[: line - 1]
    return min(sum(len(part) + 1 for part in before) + column - 1, len(text))


def render(template: Any, variables: Variables) -> Any:
    """The tree with every expression replaced by its value.

    Raises:
        ExpressionInvalid: naming the expression; never repeating a value.
    """
    if isinstance(template, str):
        return _render_text(template, variables)
    if isinstance(template, Mapping):
        return {key: render(item, variables) for key, item in template.items()}
    if isinstance(template, list | tuple):
        return [render(item, variables) for item in template]
    return template


def _render_text(text: str, variables: Variables) -> Any:
    if "${" not in text:
        return text
    pieces = parts(text)
    if len(pieces) == 1 and isinstance(pieces[0], Expr):
        return evaluate(pieces[0].text, variables)
    out = [piece if isinstance(piece, str) else _as_text(piece, variables) for piece in pieces]
    if sum(map(len, out)) > MAX_SIZE:
        raise ExpressionInvalid("the result is too large", where=text[:80])
    return "".join(out)


def _as_text(piece: Expr, variables: Variables) -> str:
    match evaluate(piece.text, variables):
        case str() as value:
            return value
        case bool() | int() as value:
            return json.dumps(value)
        case float() as value:
            return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)  # noqa: PLR2004
        case None:
            raise ExpressionInvalid(
                "null cannot be joined into text",
                where=f"${{{piece.text}}}",
                hint="give the input a default, or choose in the expression: x == null ? 'none' : x",
            )
    raise ExpressionInvalid("a list or a map cannot be joined into text", where=f"${{{piece.text}}}")


def references_in(template: Any) -> set[str]:
    """Every path that the expressions of a tree use."""
    return {
        name
        for _, text in strings_in(template)
        for piece in parts(text)
        if isinstance(piece, Expr)
        for name in references(piece.text)
    }


def strings_in(template: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Every string value of a tree, with its path; keys are not templates."""
    if isinstance(template, str):
        yield path, template
    elif isinstance(template, Mapping):
        for key, item in template.items():
            yield from strings_in(item, (*path, key))
    elif isinstance(template, list | tuple):
        for index, item in enumerate(template):
            yield from strings_in(item, (*path, index))
