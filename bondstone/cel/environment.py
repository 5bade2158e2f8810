"""Environments of `cel-expr-python`: types by name, and our own bounded functions on text."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

from bondstone.cel.words import TOO_LARGE

MAX_SIZE: Final = 1 << 20
"""Most characters that the values an expression uses, or its result, may hold."""


MAX_PARTS: Final = 1000
"""Most parts that a text may be split into."""

_WRAPPERS: Final = {
    "string": "google.protobuf.StringValue",
    "int": "google.protobuf.Int64Value",
    "double": "google.protobuf.DoubleValue",
    "bool": "google.protobuf.BoolValue",
}


_KNOWN_TYPE = re.compile(r"[a-z]+(<[a-z<>, ]+>)?")


@lru_cache(maxsize=1)
def library() -> Any:
    """`cel-expr-python`. It takes 5 MiB, so processes load it with the first expression."""
    from cel_expr_python import cel  # noqa: PLC0415 - as above

    return cel


def environment(variables: Mapping[str, Any]) -> Any:
    """An environment of the library that declares some variables."""
    return library().NewEnv(variables=dict(variables), functions=_functions())


@lru_cache(maxsize=1)
def _functions() -> list[Any]:
    """Text functions of our own: those of CEL's extension have no bound on what they make."""
    cel = library()
    string, strings = cel.Type.STRING, cel.Type.List(cel.Type.STRING)

    def declare(name: str, takes: list[Any], gives: Any, call: Callable[..., Any]) -> Any:
        return cel.FunctionDecl(name, [cel.Overload(f"bond_{name}", gives, takes, True, call)])

    return [
        declare("lowerAscii", [string], string, str.lower),
        declare("upperAscii", [string], string, str.upper),
        declare("trim", [string], string, str.strip),
        declare("replace", [string, string, string], string, _replace),
        declare("split", [string, string], strings, _split),
        declare("join", [strings, string], string, _join),
    ]


def _replace(text: str, old: str, new: str) -> str:
    if len(text) + (text.count(old) * len(new)) > MAX_SIZE:
        raise ValueError(TOO_LARGE)
    return text.replace(old, new)


def _split(text: str, separator: str) -> list[str]:
    parts = text.count(separator) + 1 if separator else len(text)
    if parts > MAX_PARTS:
        raise ValueError(TOO_LARGE)
    return text.split(separator) if separator else list(text)


def _join(parts: list[str], separator: str) -> str:
    if sum(map(len, parts)) + len(parts) * len(separator) > MAX_SIZE:
        raise ValueError(TOO_LARGE)
    return separator.join(parts)


def cel_type(text: str) -> Any:
    """The library's type for one of ours; DYN for what it does not know."""
    cel = library()
    name = text.replace("(", "<").replace(")", ">")
    nullable = name.endswith("?")
    name = name.rstrip("?")
    if nullable:
        return cel.Type(_WRAPPERS[name]) if name in _WRAPPERS else cel.Type.DYN
    if name == "object" or not _KNOWN_TYPE.fullmatch(name):
        return cel.Type.DYN
    try:
        return cel.Type(name)
    except (RuntimeError, ValueError):
        return cel.Type.DYN


def type_name(kind: Any) -> str:
    """The short name of a type: `string` of STRING, `list` of LIST<STRING>."""
    return re.split(r"[<( ]", str(kind).lower())[0].removesuffix("_wrapper").removesuffix("_type")
