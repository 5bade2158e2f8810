"""The page of every command of `bond`: from the commands themselves, their help as they print it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bondstone.cli.app import COMMANDS, build

PAGE = "docs/reference/cli.md"
WIDTH = 100

HEAD = """# The `bond` command

Nouns and verbs. `TEAM/NAME` names a service, `TEAM/NAME/op/N` an operation. Results go to standard output, progress,
notes and errors to standard error; `-o json` and `-o yaml` give the same result for programs, with the fields that
[these schemas](schemas) describe. `--data` and `--as` may stand anywhere on the line. Exit codes and error codes:
[errors](errors.md). Settings: [settings](settings.md).

"""


def text() -> str:
    """The whole page."""
    root = build()
    context = root.make_context("bond", [], resilient_parsing=True, terminal_width=WIDTH)
    pages = [HEAD, _block("bond", context)]
    for name in COMMANDS:
        lazy = root.get_command(context, name)
        if lazy is not None:
            pages += _command(lazy, name, context)
    return "\n".join(pages)


def _command(command: Any, name: str, parent: Any) -> Iterator[str]:
    """One command and those below it."""
    context = command.make_context(name, [], parent=parent, resilient_parsing=True, terminal_width=WIDTH)
    yield _block(context.command_path, context)
    commands = getattr(context.command, "commands", {})
    for below, subcommand in commands.items():
        yield from _command(subcommand, below, context)


def _block(path: str, context: Any) -> str:
    level = "#" * min(2 + path.count(" ") // 2, 3)
    return f"{level} {path}\n\n```\n{_tidy(context.command.get_help(context))}\n```\n"


def _tidy(help_text: str) -> str:
    """Without trailing spaces, which the help of a wide terminal has none of and a narrow one's has."""
    return "\n".join(line.rstrip() for line in help_text.strip().splitlines())
