"""How `bond` speaks: tables for people, JSON or YAML for programs, errors in one format.

What a command prints on standard output is its result, complete also when piped; everything else (progress,
notes, errors) goes to standard error. Colours and live displays only on terminals, and never with `NO_COLOR`.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Annotated, Any, TextIO, TypeAlias

import typer

if TYPE_CHECKING:
    from bondstone.base.errors import ErrorInfo

JSON: TypeAlias = dict[str, Any] | list[Any] | str | int | float | bool | None


class OutputFormat(StrEnum):
    """What `-o` takes."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


Output = Annotated[
    OutputFormat,
    typer.Option("--output", "-o", help="table for people, json or yaml for programs", show_default=True),
]
"""The type of every command's `output` parameter; its default is `OutputFormat.TABLE`."""


def examples(*lines: str) -> str:
    """The epilog of a command: `@app.command(epilog=examples("bond up --detach"))`."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


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
        _write(json.dumps(plain(value), indent=2, ensure_ascii=False))
    else:
        _write(_yaml(plain(value)))
    sys.stdout.flush()


def emit_lines(values: Iterable[object]) -> None:
    """Print values as JSON Lines: for streams, where one document never ends."""
    for value in values:
        _write(json.dumps(plain(value), ensure_ascii=False))
        sys.stdout.flush()


def say(text: str = "") -> None:
    """Print one line of a result for people."""
    _write(_clean(text))


def note(text: str) -> None:
    """Print a remark that is not part of the result, on standard error."""
    typer.echo(_clean(text), err=True)


def table(headers: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str = "nothing to list") -> None:
    """Print rows under headers.

    On a terminal wide cells are folded to fit; otherwise every cell is printed whole, one row a line, columns
    two spaces apart.
    """
    cells = [[cell(value) for value in row] for row in rows]
    if not cells:
        note(empty)
    elif is_terminal(sys.stdout):
        _rich_table(headers, cells)
    else:
        titles = [header.upper() for header in headers]
        widths = [max(map(_width, column)) for column in zip(titles, *cells, strict=True)]
        for row in [titles, *cells]:
            padded = (text + " " * (width - _width(text)) for text, width in zip(row, widths, strict=True))
            _write("  ".join(padded).rstrip())
    sys.stdout.flush()


def fields(pairs: Mapping[str, object]) -> None:
    """Print one thing for people: a name and a value a line, values aligned, empty ones left out."""
    shown = {name: cell(value) for name, value in pairs.items() if value not in (None, "", (), [], {})}
    width = max(map(len, shown), default=0) + 1
    for name, text in shown.items():
        label = typer.style(f"{name}:", bold=True) if is_terminal(sys.stdout) else f"{name}:"
        _write(f"{label}{' ' * (width - len(name))}{text}")
    sys.stdout.flush()


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


def timestamp(at: datetime) -> str:
    """A time as programs read it: RFC 3339, UTC, milliseconds. A time without a zone is taken as UTC."""
    return _utc(at).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def cell(value: object) -> str:
    """A value as one line for people; nothing is `-`."""
    text = str(_scalar(value))
    match value:
        case None | "" | () | []:
            text = "-"
        case bool():
            text = "yes" if value else "no"
        case datetime():
            text = f"{_utc(value).replace(tzinfo=None).isoformat(sep=' ', timespec='seconds')}Z"
        case timedelta():
            text = duration(value)
        case Mapping():
            text = ",".join(f"{key}={cell(item)}" for key, item in value.items()) or "-"
        case list() | tuple():
            text = ",".join(map(cell, value))
    return " ".join(_clean(text).split("\n"))


def duration(length: timedelta) -> str:
    """A duration in its two largest units: `2.4s`, `3m10s`, `5h20m`, `2d4h`."""
    minute, hour, day = 60, 3600, 86400
    seconds = length.total_seconds()
    if round(seconds, 1) < minute:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < hour:
        return f"{whole // minute}m{whole % minute}s"
    if whole < day:
        return f"{whole // hour}h{whole % hour // minute}m"
    return f"{whole // day}d{whole % day // hour}h"


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

    with Console(stderr=True).status(escape(_clean(text))) as status:
        yield lambda text: status.update(escape(_clean(text)))


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
        error = {key: item for key, item in info.model_dump().items() if key != "problems" or item}
        document = plain({"error": error})
        text = json.dumps(document, ensure_ascii=False) if output is OutputFormat.JSON else _yaml(document)
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def error_text(info: ErrorInfo, *, color: bool = False) -> str:
    """`error[CODE]: what`, then where, each problem, and what to do next."""
    head = f"error[{info.code}]"
    lines = [f"{typer.style(head, fg='red', bold=True) if color else head}: {_clean(info.message)}"]
    if info.where:
        lines.append(f"  where: {_clean(info.where)}")
    lines += [f"  - {_clean(str(problem))}" for problem in info.problems]
    if info.hint:
        lines.append(f"  hint: {_clean(info.hint)}")
    return "\n".join(lines)


# Helpers ----------------------------------------------------------------------------------------------------


def _write(line: str) -> None:
    sys.stdout.write(line + "\n")


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


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


def _clean(text: str) -> str:
    """Without control characters: names and labels come from other people, and terminals obey escapes."""
    return "".join(char for char in text if char in "\n\t" or unicodedata.category(char) != "Cc")


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) > 0 for char in text)


_STYLES = {
    "ready": "green", "succeeded": "green", "healthy": "green", "running": "green", "active": "green",
    "failed": "red", "unhealthy": "red", "stopped": "red", "yanked": "red", "rejected": "red",
    "provisioning": "yellow", "queued": "yellow", "awaiting-approval": "yellow", "deprecated": "yellow",
    "rolled-back": "red", "abandoned": "red",
    "cancelled": "yellow", "starting": "yellow", "decommissioning": "yellow", "degraded": "yellow",
}  # fmt: skip


def _rich_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console  # noqa: PLC0415 - a sixth of a second that pipes and --help must not pay
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for header in headers:
        grid.add_column(header.upper(), overflow="fold")
    for row in rows:
        grid.add_row(*(Text(text, style=_STYLES.get(text, "")) for text in row))
    Console().print(grid)


def _yaml(value: JSON) -> str:
    import io  # noqa: PLC0415 - only for -o yaml

    from ruamel.yaml import YAML  # noqa: PLC0415

    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.allow_unicode = True
    writer.width = 2**16
    writer.representer.sort_base_mapping_type_on_output = False
    stream = io.StringIO()
    writer.dump(value, stream)
    return stream.getvalue().removesuffix("\n").removesuffix("\n...")
