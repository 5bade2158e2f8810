"""The command line before it is parsed: options that may stand anywhere, and what `-o` asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bondstone.terminal.display import display

VALUES: Final = ("--data", "--as", "--context")
"""Options of the root that take a value."""
FLAGS: Final = ("--utc", "--no-headers")
"""Options of the root that take none."""


def prepare(arguments: Sequence[str]) -> list[str]:
    """The arguments as the root command reads them: its own options first, `-o` reduced to a format.

    `-o wide` is a table with all of its columns, and the query of `-o jsonpath=QUERY` is remembered; both are set
    in `bondstone.terminal.display`.

    Args:
        arguments: As they were typed.
    """
    display.wide, display.headers, display.utc, display.jsonpath = False, True, False, ""
    first: list[str] = []
    rest: list[str] = []
    remaining = iter(arguments)
    for argument in remaining:
        if argument == "--":
            return [*first, *rest, argument, *remaining]
        if argument in VALUES:
            first += [argument, *([value] if (value := next(remaining, None)) is not None else [])]
        elif argument in FLAGS or argument.startswith(tuple(f"{option}=" for option in VALUES)):
            first.append(argument)
        elif argument in {"-o", "--output"}:
            rest += [argument, *([_format(value)] if (value := next(remaining, None)) is not None else [])]
        elif argument.startswith("--output="):
            rest.append(f"--output={_format(argument.removeprefix('--output='))}")
        elif argument.startswith("-o") and not argument.startswith("--"):
            rest += ["-o", _format(argument.removeprefix("-o").removeprefix("="))]
        else:
            rest.append(argument)
    return [*first, *rest]


def _format(text: str) -> str:
    if text == "wide":
        display.wide = True
        return "table"
    name, equals, query = text.partition("=")
    if name == "jsonpath" and equals:
        display.jsonpath = query
        return name
    return text
