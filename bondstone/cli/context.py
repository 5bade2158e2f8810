"""What every command needs to know: which platform, who is asking, and how to run a coroutine.

Kept free of heavy imports, so that `bond --help` stays fast; see `bondstone.cli.app`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import typer

    from bondstone.base.settings import Settings

T = TypeVar("T")


@dataclass
class GlobalOptions:
    """The options that stand before (or anywhere among) those of a command."""

    data: Path | None = None
    actor: str = ""
    command: typer.Context | None = None
    """The command that was called, or the group it is in."""
    ended: Callable[[int], None] | None = None
    """Told the exit status of a command that is traced."""

    @property
    def words(self) -> str:
        """The command without its arguments, as in `bond service request`."""
        if self.command is None:
            return "bond"
        return f"{self.command.command_path} {self.command.invoked_subcommand or ''}".rstrip()


options = GlobalOptions()
"""Filled in by the root command, once per process."""


def settings(**overrides: Any) -> Settings:
    """The effective settings of this command, `--data` counted in.

    Raises:
        SettingsInvalid: naming each setting that is malformed.
    """
    from bondstone.base.settings import Settings  # noqa: PLC0415 - half a second of imports that --help must not pay

    return Settings.load(**{"data": options.data, **overrides})


def actor() -> str:
    """Who is asking: `--as NAME`, else as `bondstone.base.actor.who_asks` says."""
    from bondstone.base.actor import who_asks  # noqa: PLC0415 - only when asked

    return options.actor or who_asks()


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine to its end; Ctrl-C cancels it and becomes exit code 130."""
    import asyncio  # noqa: PLC0415 - only commands that talk to something need it

    return asyncio.run(main)
