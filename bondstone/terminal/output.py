"""How `bond` speaks: tables for people, JSON or YAML for programs, errors in one format.

What a command prints on standard output is its result, complete also when piped; everything else (progress,
notes, errors) goes to standard error. Colours and live displays only on terminals, and never with `NO_COLOR`.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final, TextIO, TypeAlias

import typer

from bondstone.base.printable import is_plain, visible, visible_json
from bondstone.terminal.display import display
from bondstone.terminal.tables import GAP, layout
from bondstone.terminal.times import age, duration, moment, moment_and_age, timestamp

if TYPE_CHECKING:
    from bondstone.base.errors import ErrorInfo

JSON: TypeAlias = dict[str, Any] | list[Any] | str | int | float | bool | None


class OutputFormat(StrEnum):
    """What `-o` takes; the command line has made `wide` a table, and `jsonpath=QUERY` a jsonpath, before."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"
    JSONPATH = "jsonpath"


Output = Annotated[
    OutputFormat,
    typer.Option(
        "--output",
        "-o",
        metavar="FORMAT",
        help="table or wide for people; json, yaml, name or jsonpath=QUERY for programs",
        show_default=True,
    ),
]
"""The type of every command's `output` parameter; its default is `OutputFormat.TABLE`."""


def examples(*lines: str) -> str:
    """The epilog of a command: `@app.command(epilog=examples("bond up --detach"))`.

    What is too long for 80 columns continues in the next line, as a shell takes it.
    """
    return "\b\nExamples:\n" + "\n".join(f"  {part}" for line in lines for part in _continued(line))


def _continued(line: str) -> Iterator[str]:
    limit = 76
    while len(line) > limit:
        at = max(line.rfind(" ", 0, limit - 1), line.find(" ")) if line[:limit].strip().count(" ") else -1
        if at <= len(line) - len(line.lstrip()):
            break
        yield f"{line[:at].rstrip()} \\"
        line = f"    {line[at:].lstrip()}"
    yield line


# Results ----------------------------------------------------------------------------------------------------


def emit(value: object, output: OutputFormat, people: Callable[[], None] | None = None) -> None:
    """Print a command's result: `value` as JSON or YAML, or for people by calling `people`.

    Args:
        value: A pydantic model, a dataclass, or mappings and sequences of them.
        output: What `-o` said.
        people: Prints the result for people; without it they get YAML.
    """
    if output is OutputFormat.TABLE and people is not None:
        people()
    elif output is OutputFormat.JSON:
        _write(_as_json(plain(value), indent=2))
    elif output is OutputFormat.NAME:
        for name in names_of(value):
            _write(_for_terminal(name))
    elif output is OutputFormat.JSONPATH:
        for line in query(plain(value), display.jsonpath):
            _write(_for_terminal(line))
    else:
        _write(as_yaml(plain(value)))
    sys.stdout.flush()


def emit_lines(values: Iterable[object]) -> None:
    """Print values as JSON Lines: for streams, where one document never ends."""
    for value in values:
        _write(_as_json(plain(value)))
        sys.stdout.flush()


def say(text: str = "") -> None:
    """Print one line of a result for people."""
    _write(visible(text))


def paragraph(text: str, *, indent: int = 2) -> None:
    """Print a text for people, indented; on a terminal it is wrapped between words, and no word is broken."""
    _write(" " * indent + _wrapped(visible(text), indent + 2))


def emit_text(text: str) -> None:
    """Print a text that is a result as it stands; on a terminal what is hidden in it is spelt out."""
    _write(_for_terminal(text))


def note(text: str) -> None:
    """Print a remark that is not part of the result, on standard error."""
    if sys.stdout is not None:
        sys.stdout.flush()  # what was printed before comes first where both go to one file
    typer.echo(visible(text), err=True)


def table(
    headers: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    empty: str = "nothing to list",
    wide: Collection[str] = (),
) -> None:
    """Print rows under headers.

    On a terminal the table fits its width: text is wrapped, identifiers are never broken. Otherwise every cell is
    printed whole, one row a line, columns two spaces apart.

    Args:
        headers: Titles of the columns.
        rows: A value for each column; a time is shown as its age.
        empty: Said when there are no rows.
        wide: Titles of columns that are shown with `-o wide` only.
    """
    shown = [index for index, header in enumerate(headers) if display.wide or header not in wide]
    cells = [[_table_cell(row[index]) for index in shown] for row in rows]
    if not cells:
        note(empty)
        return
    terminal = is_terminal(sys.stdout)
    width = shutil.get_terminal_size((80, 24)).columns if terminal else 0
    titles = [headers[index].upper() for index in shown]
    head, lines = layout(titles, cells, width)
    if head is not None and display.headers:
        _write(_styled_line(head, bold=terminal))
    for line in lines:
        _write(_styled_line(line, coloured=terminal))
    sys.stdout.flush()


def fields(pairs: Mapping[str, object]) -> None:
    """Print one thing for people: a name and a value a line, values aligned, empty ones left out."""
    shown = {
        name: moment_and_age(value) if isinstance(value, datetime) else cell(value)
        for name, value in pairs.items()
        if value not in (None, "", (), [], {})
    }
    width = max(map(len, shown), default=0) + 1
    for name, text in shown.items():
        label = typer.style(f"{name}:", bold=True) if is_terminal(sys.stdout) else f"{name}:"
        _write(f"{label}{' ' * (width - len(name))}{_wrapped(text, width + 1)}")
    sys.stdout.flush()


def _wrapped(text: str, indent: int) -> str:
    """A text that fits the terminal, its further lines indented; whole where there is no terminal."""
    if not is_terminal(sys.stdout):
        return text
    width = max(shutil.get_terminal_size((80, 24)).columns - indent, 20)
    if len(text) <= width:
        return text
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    return f"\n{' ' * indent}".join(lines) or text


def plain(value: object) -> JSON:
    """`value` as what JSON can hold: times in RFC 3339 UTC, durations in seconds, names unchanged."""
    if hasattr(value, "model_dump"):
        value = value.model_dump(by_alias=True)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(_scalar(key)): plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return [plain(item) for item in sorted(value, key=str)]
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [plain(item) for item in value]
    return _scalar(value)


def cell(value: object) -> str:
    """A value as one line for people; nothing is `-`."""
    text = str(_scalar(value))
    match value:
        case None | "" | () | []:
            text = "-"
        case bool():
            text = "yes" if value else "no"
        case datetime():
            text = moment(value)
        case timedelta():
            text = duration(value)
        case Mapping():
            text = ",".join(f"{key}={cell(item)}" for key, item in value.items()) or "-"
        case list() | tuple():
            text = ",".join(map(cell, value))
    return " ".join(visible(text).split("\n"))


def names_of(value: object) -> Iterator[str]:
    """What a result, or each element of it, is called: what another command takes.

    Raises:
        InvalidInput: it has no name.
    """
    if isinstance(value, list | tuple):
        for each in value:
            yield from names_of(each)
        return
    held = plain(value)
    if not isinstance(held, dict):
        held = {}
    if {"promise", "version", "digest"} <= held.keys():
        yield f"{held['promise']}@{held['version']}"
        return
    name = next((held[key] for key in _NAMED_BY if held.get(key) not in (None, "")), None)
    if name is None:
        from bondstone.base.errors import InvalidInput  # noqa: PLC0415 - failures only

        raise InvalidInput("this result has no name", hint="use -o json")
    yield str(name)


_NAMED_BY: Final = ("id", "name", "build", "campaign", "operation", "schedule", "sequence", "position", "version")


def query(value: JSON, path: str) -> Iterator[str]:
    """What a JSONPath (RFC 9535) finds in a result, a line each; text as it is, everything else as JSON.

    Args:
        value: The result, as `-o json` prints it.
        path: `$[*].id`; the form of kubectl, `{[*].id}` or `{.id}`, is understood too.

    Raises:
        InvalidInput: it is not a JSONPath.
    """
    import jsonpath  # noqa: PLC0415 - only for -o jsonpath

    text = path.strip().removeprefix("{").removesuffix("}").strip()
    try:
        values = jsonpath.findall(text if text.startswith("$") else f"${text}", value)
    except jsonpath.JSONPathError as error:
        from bondstone.base.errors import InvalidInput  # noqa: PLC0415 - failures only

        raise InvalidInput(
            f"{path!r} is not a JSONPath: {str(error).splitlines()[0]}",
            where="-o jsonpath",
            hint="write it as in -o jsonpath='$[*].id'",
        ) from error
    for item in values:
        yield item if isinstance(item, str) else _as_json(item)


# Progress ---------------------------------------------------------------------------------------------------


@contextmanager
def progress(text: str) -> Iterator[Callable[[str], None]]:
    """Show what is going on while a block runs; the yielded function changes the text.

    A spinner on a terminal (on standard error, gone afterwards); nothing otherwise: say what matters with `note`.
    """
    if not is_terminal(sys.stderr):
        yield lambda _text: None
        return
    from rich.console import Console  # noqa: PLC0415 - only on a terminal
    from rich.markup import escape  # noqa: PLC0415

    with Console(stderr=True).status(escape(visible(text))) as status:
        yield lambda text: status.update(escape(visible(text)))


# Errors -----------------------------------------------------------------------------------------------------


def requested_format(arguments: Sequence[str]) -> OutputFormat:
    """What `-o` asks for, read without parsing the rest: a usage error too answers in the format asked for."""
    for index, argument in enumerate(arguments):
        if argument == "--":
            break
        if argument in {"-o", "--output"}:
            value = arguments[index + 1] if index + 1 < len(arguments) else ""
        elif argument.startswith("--output="):
            value = argument.removeprefix("--output=")
        elif argument.startswith("-o"):
            value = argument.removeprefix("-o").removeprefix("=")
        else:
            continue
        if value in {"json", "yaml"}:
            return OutputFormat(value)
    return OutputFormat.TABLE


def print_error(info: ErrorInfo, output: OutputFormat) -> None:
    """Print an error to standard error in the one format there is."""
    sys.stdout.flush()
    if output is OutputFormat.TABLE:
        text = error_text(info, color=is_terminal(sys.stderr))
    else:
        always = {"code", "message", "where", "hint"}
        error = {key: item for key, item in info.model_dump().items() if item or key in always}
        document = plain({"error": error})
        text = _as_json(document) if output is OutputFormat.JSON else as_yaml(document)
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def error_text(info: ErrorInfo, *, color: bool = False) -> str:
    """`error[CODE]: what`, then where, each problem, and what to do next."""
    head = f"error[{info.code}]"
    lines = [f"{typer.style(head, fg='red', bold=True) if color else head}: {visible(info.message)}"]
    if info.where:
        lines.append(f"  where: {visible(info.where)}")
    lines += [f"  - {visible(str(problem))}" for problem in info.problems]
    if info.hint:
        lines.append(f"  hint: {visible(info.hint)}")
    return "\n".join(lines)


# Helpers ----------------------------------------------------------------------------------------------------


def _write(line: str) -> None:
    sys.stdout.write(line + "\n")


def _as_json(value: object, *, indent: int | None = None) -> str:
    """JSON whose hidden characters are escaped: the same value to a program, and harmless on a terminal."""
    return visible_json(json.dumps(value, indent=indent, ensure_ascii=False))


def _for_terminal(text: str) -> str:
    """A text for whoever reads standard output: a program as it is, a person with what is hidden spelt out."""
    return visible(text) if sys.stdout.isatty() else text


def _table_cell(value: object) -> str:
    return age(value) if isinstance(value, datetime) else cell(value)


def _styled_line(cells: Sequence[str], *, bold: bool = False, coloured: bool = False) -> str:
    """A line of a table, without trailing spaces; on a terminal known states have their colour."""
    last = len(cells) - 1
    shown = []
    for index, text in enumerate(cells):
        trimmed = text.rstrip()
        colour = _STYLES.get(trimmed) if coloured else None
        styled = typer.style(trimmed, fg=colour, bold=bold or None) if (colour or bold) and trimmed else trimmed
        shown.append(styled if index == last else styled + " " * (len(text) - len(trimmed)))
    return (" " * GAP).join(shown).rstrip()


def _scalar(value: object) -> str | int | float | bool | None:
    match value:
        case Enum():
            return _scalar(value.value)
        case None | bool() | str() | int() | float():
            return value
        case datetime():
            return timestamp(value)
        case timedelta():
            return value.total_seconds()
    return str(value)


def is_terminal(stream: TextIO) -> bool:
    """Whether colours and live displays are wanted there."""
    return stream.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")


_STYLES = {
    "ready": "green", "succeeded": "green", "healthy": "green", "running": "green", "active": "green",
    "failed": "red", "unhealthy": "red", "stopped": "red", "yanked": "red", "rejected": "red",
    "provisioning": "yellow", "queued": "yellow", "awaiting-approval": "yellow", "deprecated": "yellow",
    "rolled-back": "red", "abandoned": "red",
    "cancelled": "yellow", "starting": "yellow", "decommissioning": "yellow", "degraded": "yellow",
}  # fmt: skip


def as_yaml(value: JSON) -> str:
    """A value as YAML, its fields in their order."""
    import io  # noqa: PLC0415 - only for -o yaml

    from ruamel.yaml import YAML  # noqa: PLC0415

    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.allow_unicode = is_plain(json.dumps(value, ensure_ascii=False))
    writer.width = 2**16
    writer.representer.sort_base_mapping_type_on_output = False
    stream = io.StringIO()
    writer.dump(value, stream)
    return stream.getvalue().removesuffix("\n").removesuffix("\n...")
