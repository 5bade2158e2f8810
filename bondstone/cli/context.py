"""What every command needs to know: which platform, who is asking, and how to run a coroutine.

Kept free of heavy imports, so that `bond --help` stays fast; see `bondstone.cli.app`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
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
    """The platform's data directory, by `--data` or by a context."""
    typed_data: Path | None = None
    """What `--data` said."""
    actor: str = ""
    context: str = ""
    """Name of the context in use; empty for none."""
    values: Mapping[str, str] = field(default_factory=dict)
    """Settings that the context gives."""
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

    return Settings.load(**{**options.values, "data": options.data, **overrides})


def choose(data: Path | None, named: str) -> None:
    """Choose the platform: the named context, else `--data` or variables, else the context in use.

    Args:
        data: What `--data` says.
        named: What `--context` says; default: `BOND_CONTEXT`.

    Raises:
        NotFound: there is no context of that name.
    """
    from bondstone.base.contexts import read_contexts  # noqa: PLC0415 - not for `--version`

    named = named or os.environ.get("BOND_CONTEXT", "")
    options.data, options.typed_data, options.context, options.values = data, data, "", {}
    if data is not None and not named:
        return
    contexts = read_contexts()
    chosen = named or contexts.current
    if not chosen or (not named and chosen not in contexts.known):
        return
    values = dict(contexts.get(chosen))
    if not named:  # what the environment says wins over a context that was chosen some time
        if winning_variable():
            return
        values = {key: value for key, value in values.items() if f"BOND_{key.upper()}" not in os.environ}
    where = values.pop("data", "")
    options.data = data or (Path(where) if where else None)
    options.context, options.values = chosen, values


def winning_variable() -> str:
    """The variable that names a platform in place of the context in use; empty when there is none."""
    names = ("BOND_DATA", "BOND_TEMPORAL_ADDRESS", "TEMPORAL_ADDRESS")
    return next((name for name in names if name in os.environ), "")


def actor() -> str:
    """Who is asking: `--as NAME`, else as `bondstone.base.actor.who_asks` says."""
    from bondstone.base.actor import who_asks  # noqa: PLC0415 - only when asked

    return options.actor or who_asks()


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine to its end; Ctrl-C cancels it and becomes exit code 130."""
    import asyncio  # noqa: PLC0415 - only commands that talk to something need it

    return asyncio.run(main)
