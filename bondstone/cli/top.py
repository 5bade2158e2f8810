"""`bond top`: the platform at a glance."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Final

import typer

from bondstone.cli import watch as watching
from bondstone.terminal.output import Output, OutputFormat, examples, fields, is_terminal, say, table

if TYPE_CHECKING:
    from bondstone.client import Bondstone
    from bondstone.client.documents.platform import OverviewDocument

app = typer.Typer()

SHOWN: Final = 10
"""Rows of each table; `-o json` has all."""


@app.command(epilog=examples("bond top", "bond top --once", "bond top -o json"))
def top(
    *,
    once: Annotated[bool, typer.Option("--once", help="print it once, on a terminal too")] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Show services by phase, what runs, what waits for people, campaigns, and who works; live on a terminal."""
    live = not once and output is OutputFormat.TABLE and is_terminal(sys.stdout)
    watching.show(_read, _people, output, watch=live)


async def _read(bond: Bondstone) -> OverviewDocument:
    from bondstone.client.documents.platform import OverviewDocument  # noqa: PLC0415 - see bondstone.cli.session

    services, operations, gates, campaigns, queues = await asyncio.gather(
        bond.services.list(),
        bond.operations.list(),
        bond.approvals.list(),
        bond.campaigns.list(),
        bond.workers.queues(bond.settings.pools),
    )
    return OverviewDocument(
        services=dict(sorted(Counter(row.phase for row in services).items())),
        operations=tuple(row for row in reversed(operations) if row.finished_at is None),
        approvals=tuple(gates),
        campaigns=tuple(row for row in campaigns if row.ended_at is None),
        queues=tuple(queues),
    )


def _people(overview: OverviewDocument) -> None:
    counts = ", ".join(f"{count} {phase}" for phase, count in overview.services.items())
    workers = ", ".join(f"{len(queue.pollers)} {queue.pool or 'control'}" for queue in overview.queues)
    fields(
        {
            "services": f"{sum(overview.services.values())}: {counts}" if counts else "none",
            "workers": workers,
            "running": len(overview.operations),
            "approvals": len(overview.approvals) or "none wait",
        }
    )
    if overview.operations:
        say()
        table(
            ["operation", "kind", "status", "since"],
            [[row.id, row.kind, row.status, row.started_at] for row in overview.operations[:SHOWN]],
        )
    if overview.approvals:
        say()
        table(
            ["approval of", "step", "since", "missing"],
            [
                [gate.operation, gate.step, gate.asked_at, "; ".join(gate.missing)]
                for gate in overview.approvals[:SHOWN]
            ],
        )
    if overview.campaigns:
        say()
        table(
            ["campaign", "status", "since"],
            [[row.name, row.status, row.started_at] for row in overview.campaigns[:SHOWN]],
        )
