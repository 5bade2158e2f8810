"""`bond service archive`: what is kept of services that are gone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bondstone.cli.session import ServiceArgument, with_platform
from bondstone.cli.state import hand_over, refuse_terminal
from bondstone.terminal.output import Output, OutputFormat, emit, examples, table

if TYPE_CHECKING:
    from bondstone.client import Bondstone
    from bondstone.client.documents.service import ArchivedDocument

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
    """List what was put away when services of this name ended, or print one thing of it, in plain.

    That is the last state of each step, and the secrets where the promise says `secrets: archive`.
    """
    if name:
        _read(service, name, file, reveal=reveal)
    else:
        _list(service, output)


def _list(service: str, output: OutputFormat) -> None:
    from bondstone.client import service_id  # noqa: PLC0415 - see bondstone.cli.session
    from bondstone.client.documents.service import ArchivedDocument  # noqa: PLC0415

    async def read(bond: Bondstone) -> list[ArchivedDocument]:
        return [ArchivedDocument.of(item) for item in await bond.store.archive.list(service_id(service))]

    found = with_platform(read)
    emit(
        found,
        output,
        lambda: table(
            ["name", "kind", "at", "bytes"],
            [[item.name, item.kind, item.at, item.size] for item in found],
            empty="nothing was put away",
        ),
    )


def _read(service: str, name: str, file: Path | None, *, reveal: bool) -> None:
    from bondstone.client import service_id  # noqa: PLC0415 - see bondstone.cli.session

    refuse_terminal(file, "it holds secrets in plain", reveal=reveal)
    hand_over(with_platform(lambda bond: bond.store.archive.read(service_id(service), name)), file)
