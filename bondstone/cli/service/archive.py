"""`bond service archive`: what is kept of services that are gone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bondstone.cli.session import ServiceArgument, with_platform
from bondstone.cli.state import hand_over, refuse_terminal
from bondstone.terminal.output import Output, OutputFormat, emit, examples, table

app = typer.Typer()
"""Its command stands in the group of `bondstone.cli.service.commands`."""


@app.command(
    name="archive",
    epilog=examples(
        "bond service archive payments/orders",
        "bond service archive payments/orders op-7/state/database -f database.tfstate",
    ),
)
def show(
    service: ServiceArgument,
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="one of those listed, to be printed", show_default=False)
    ] = "",
    *,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", metavar="FILE", help="write it there, readable by you alone")
    ] = None,
    reveal: Annotated[bool, typer.Option("--reveal", help="print it even to a terminal")] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """List what was archived when services of this name ended, or print one object of it, in plain.

    That is the last state of each step, and the secrets where the promise says `secrets: archive`.
    """
    if name:
        _read(service, name, file, reveal=reveal)
    else:
        _list(service, output)


def _list(service: str, output: OutputFormat) -> None:
    archived = with_platform(lambda bond: bond.services.list_archive(service))
    emit(
        archived,
        output,
        lambda: table(
            ["name", "kind", "at", "bytes"],
            [[item.name, item.kind, item.at, item.size] for item in archived],
            empty="nothing is archived",
        ),
    )


def _read(service: str, name: str, file: Path | None, *, reveal: bool) -> None:
    refuse_terminal(file, "it holds secrets in plain", reveal=reveal)
    hand_over(with_platform(lambda bond: bond.services.read_archive(service, name)), file)
