"""`bond events`: what happened on the platform, and what happens."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer

from bondstone.cli.session import with_platform
from bondstone.terminal.display import display
from bondstone.terminal.output import Output, OutputFormat, emit, emit_lines, examples, table

if TYPE_CHECKING:
    from bondstone.client import Bondstone
    from bondstone.client.documents.event import EventDocument

app = typer.Typer()

LOOK_SECONDS: Final = 1.0
MAX_RUNNING: Final = 20
"""So many of the newest operations that run are asked what they wait for."""


@app.command(epilog=examples("bond events", "bond events payments/orders --since 2d", "bond events -w -o json"))
def events(
    target: Annotated[
        str,
        typer.Argument(metavar="[TEAM[/NAME]]", help="of this team or service only", show_default=False),
    ] = "",
    *,
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help="events not older than this, as in 30m, 2d")
    ] = "1h",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="stay, and print new lines until Ctrl-C")] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Print what happened: operations and campaigns that started, ended, or wait for people; oldest first."""
    from bondstone.base.errors import InvalidInput  # noqa: PLC0415 - see bondstone.cli.session
    from bondstone.model.promise import seconds  # noqa: PLC0415

    try:
        begin = datetime.now(UTC) - timedelta(seconds=seconds(since))
    except ValueError as error:
        raise InvalidInput(str(error), where="--since") from None

    async def happened(bond: Bondstone) -> list[EventDocument]:
        from bondstone.client.documents.event import events as listed  # noqa: PLC0415

        service = target if "/" in target else ""
        operations, gates = await asyncio.gather(bond.operations.list(service), bond.approvals.list())
        campaigns = [] if target else await bond.campaigns.list()
        running = [row.id for row in operations if row.status == "running"][:MAX_RUNNING]
        begun = await asyncio.gather(*map(bond.operations.get, running))
        prefix = f"{target}/" if target else ""
        return [
            each for each in listed(operations, campaigns, gates, begun)
            if each.at >= begin and each.subject.startswith(prefix)
        ]  # fmt: skip

    if not watch:
        documents = with_platform(happened)
        emit(documents, output, lambda: _people(documents))
        return

    async def follow(bond: Bondstone) -> None:
        shown: set[tuple[str, str, datetime]] = set()
        while True:
            new = [each for each in await happened(bond) if (each.subject, each.event, each.at) not in shown]
            shown.update((each.subject, each.event, each.at) for each in new)
            if new:
                _print(new, output)
            await asyncio.sleep(LOOK_SECONDS)

    with_platform(follow)


def _print(new: Sequence[EventDocument], output: OutputFormat) -> None:
    if output is OutputFormat.JSON:
        emit_lines(new)
        return
    emit(new, output, lambda: _people(new))
    display.headers = False


def _people(documents: Sequence[EventDocument]) -> None:
    table(
        ["when", "subject", "event", "about"],
        [[each.at, each.subject, each.event, each.about] for each in documents],
        empty="nothing happened; --since looks further back",
    )
