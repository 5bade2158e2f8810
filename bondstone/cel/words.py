"""What the library says, in words for the author of an expression; never with a value in them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from bondstone.cel.syntax import Parsed


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with an expression, and where in it (line and column from 1)."""

    message: str
    line: int = 1
    column: int = 1
    hint: str = ""


TAKES_NULL: Final = frozenset({"_==_", "_!=_", "@in", "_in_", "_&&_", "_||_"})


_ERROR_LINE = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*)")


_UNDECLARED = re.compile(r"undeclared reference to '([^']*)' \(in container ''\)")


OVERLOAD = re.compile(r"found no matching overload for '([^']*)' applied to '\((.*)\)'")


_UNEXPECTED = re.compile(
    r"Syntax error: (?:mismatched|extraneous|no viable alternative at) input '(.*?)'(?: expecting .*)?$"
)


_FUNCTION_NAMES: Final = (
    "size", "string", "int", "uint", "double", "bool", "bytes", "timestamp", "duration", "matches", "startsWith",
    "endsWith", "contains", "exists", "exists_one", "all", "map", "filter", "has", "lowerAscii", "upperAscii",
    "trim", "replace", "split", "join",
)  # fmt: skip


def compile_faults(text: str, parsed: Parsed | None = None, names: Iterable[str] = ()) -> Iterator[Fault]:
    """The errors of the compiler in our words, with columns of the expression as it was written."""
    has_details = False
    for line, column, message in errors_of(text, parsed):
        if has_details and "yntax" in message:
            continue  # the first syntax error is the one that helps
        has_details = True
        yield _fault(message, line, column, names)
    if not has_details:
        deep = "recursion" in text
        yield Fault("the expression is nested too deeply" if deep else "the expression does not compile")


def errors_of(text: str, parsed: Parsed | None) -> Iterator[tuple[int, int, str]]:
    """Line, column and message of each error of the compiler, as the author wrote the expression."""
    for line_text, column_text, message in _ERROR_LINE.findall(text):
        line, column = max(int(line_text), 1), max(int(column_text), 1)
        if parsed and line == 1:
            column -= sum(1 for offset in parsed.inserted if offset < column)
        yield line, max(column, 1), message


def _fault(message: str, line: int, column: int, names: Iterable[str]) -> Fault:
    if match := _UNDECLARED.match(message):
        name = match[1]
        close = difflib.get_close_matches(name, [*_FUNCTION_NAMES, *names], n=1)
        hint = f"did you mean `{close[0]}`?" if close else "text is written in quotes: 'text'"
        return Fault(f"there is nothing named `{name}`", line, column, hint)
    if match := OVERLOAD.match(message):
        operator, types = match[1], _readable_types(match[2])
        return Fault(
            f"{_operator(operator)} does not work on ({types})", line, column, _overload_hint(operator, types)
        )
    if match := _UNEXPECTED.match(message):
        if match[1] == "<EOF>":
            return Fault("the expression ends too early", line, column)
        return Fault(f"`{match[1]}` is not expected here", line, column)
    if "recursion" in message:
        return Fault("the expression is nested too deeply", line, column)
    return Fault(message.removeprefix("Syntax error: "), line, column)


def _operator(name: str) -> str:
    if name in {"_?_:_", "_[_]"}:
        return "`? :`" if name == "_?_:_" else "`[ ]`"
    return f"`{name.strip('_@') or name}`"


def _readable_types(text: str) -> str:
    text = re.sub(r"wrapper\((\w+)\)", r"\1 or null", text)
    return text.replace("null_type", "null")


def _overload_hint(operator: str, types: str) -> str:
    if operator == "_?_:_":
        return "the condition must be true or false, and both branches of one type"
    if "double" in types and "int" in types:
        return "write whole numbers as 2.0 beside a number, or convert with double(…)"
    if operator == "_+_" and "string" in types:
        return "turn the other side into text with string(…)"
    if operator in {"_==_", "_!=_"} and "null" in types:
        return "this value is never null: it is required or has a default"
    return ""


TOO_LARGE: Final = "the result is too large"


_NO_OVERLOAD = re.compile(r"No matching overloads found : (.+?)\((.*)\)$")


def eval_words(text: str) -> str:
    """An error of evaluation in words that hold no value, only kinds of values."""
    if match := _NO_OVERLOAD.search(text):
        types = re.sub(r"[^a-z0-9_,]", "", match[2].lower()).replace("int64", "int").replace("null_type", "null")
        return f"{_operator(match[1])} does not work on ({types.replace(',', ', ')})"
    for sign, words in (
        ("divide by zero", "it divides by zero"),
        ("modulus by zero", "it divides by zero"),
        ("Index error", "an index is outside the list"),
        ("Key not found", "the map has no such key"),
        ("Iteration budget", "it takes too many iterations"),
        ("overflow", "a number is too large"),
        (TOO_LARGE, TOO_LARGE),
        ("invalid regular expression", "the regular expression is not valid"),
    ):
        if sign in text:
            return words
    return "it cannot be evaluated for these values"
