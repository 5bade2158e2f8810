"""`--watch`: a result shown again whenever it has changed, until Ctrl-C."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from bondstone.cli.session import with_platform
from bondstone.terminal.display import display
from bondstone.terminal.output import OutputFormat, emit, emit_lines, is_terminal, names_of, plain

if TYPE_CHECKING:
    from bondstone.client import Bondstone

T = TypeVar("T")

LOOK_SECONDS: Final = 1.0
"""How often the platform is asked."""
_CLEAR: Final = "\x1b[H\x1b[2J\x1b[3J"

Watch = Annotated[bool, typer.Option("--watch", "-w", help="show it again whenever it has changed, until Ctrl-C")]


def show(
    read: Callable[[Bondstone], Awaitable[T]],
    people: Callable[[T], None],
    output: OutputFormat,
    *,
    watch: bool,
    over: Callable[[T], bool] = lambda _value: False,
) -> None:
    """Show one thing, and with `watch` again whenever it has changed.

    Args:
        read: Asks the platform.
        people: Prints it for people.
        output: What `-o` asks for; JSON becomes a line for each change.
        watch: Stay.
        over: Whether it will not change any more, which ends the watch.
    """
    if not watch:
        value = with_platform(read)
        emit(value, output, lambda: people(value))
        return

    async def work(bond: Bondstone) -> None:
        previous: object = None
        while True:
            value = await read(bond)
            if (current := plain(value)) != previous:
                previous = current
                _print(value, people, output)
            if over(value):
                return
            await _pause()

    with_platform(work)


def show_list(
    read: Callable[[Bondstone], Awaitable[Sequence[T]]],
    people: Callable[[Sequence[T]], None],
    output: OutputFormat,
    *,
    watch: bool,
) -> None:
    """Show a list, and with `watch` its changes: the whole of it on a terminal, else each row that is new.

    Args:
        read: Asks the platform.
        people: Prints rows for people.
        output: What `-o` asks for; JSON becomes a line for each row that has changed.
        watch: Stay.
    """
    if not watch:
        rows = with_platform(read)
        emit(rows, output, lambda: people(rows))
        return
    if output is OutputFormat.TABLE and is_terminal(sys.stdout):
        show(read, people, output, watch=True)
        return

    async def work(bond: Bondstone) -> None:
        previous: dict[str, Any] = {}
        while True:
            rows = await read(bond)
            known = {next(names_of(row)): row for row in rows}
            changed = [row for name, row in known.items() if plain(previous.get(name)) != plain(row)]
            if changed:
                _print_rows(changed, people, output)
            previous = known
            await _pause()

    with_platform(work)


async def _pause() -> None:
    import asyncio  # noqa: PLC0415 - help and completion need none

    await asyncio.sleep(LOOK_SECONDS)


def _print(value: T, people: Callable[[T], None], output: OutputFormat) -> None:
    if output is OutputFormat.JSON:
        emit_lines([value])
        return
    if output is OutputFormat.TABLE and is_terminal(sys.stdout):
        sys.stdout.write(_CLEAR)
    emit(value, output, lambda: people(value))


def _print_rows(rows: Sequence[T], people: Callable[[Sequence[T]], None], output: OutputFormat) -> None:
    if output is OutputFormat.JSON:
        emit_lines(rows)
        return
    emit(rows, output, lambda: people(rows))
    display.headers = False
