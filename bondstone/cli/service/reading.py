"""`bond service`, the commands that read: list, show, wait, outputs, logs, history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer

from bondstone.cli import watch as watching
from bondstone.cli.session import Selector, ServiceArgument, with_platform
from bondstone.cli.watch import Watch
from bondstone.terminal.output import Output, OutputFormat, emit, examples, note, table

if TYPE_CHECKING:
    from bondstone.client import Bondstone, Operation
    from bondstone.client.documents.service import ServiceDocument
    from bondstone.model.service_row import ServiceRow

COMMIT_LOOK_SECONDS: Final = 0.2
"""How often a service is read that has to commit an operation which has ended."""

app = typer.Typer()
"""Its commands stand in the group of `bondstone.cli.service.commands`."""


@app.command(
    "list",
    epilog=examples(
        "bond service list --team payments --phase failed",
        "bond service list -l tier=data,env!=prod -o wide",
        "bond service list --where \"labels.tier == 'data' && health != 'healthy'\"",
        "bond service list --where 'drift > 0' -o wide",
        "bond service list --watch",
        "bond service list --all -o json",
    ),
)
def list_(
    *,
    team: Annotated[str, typer.Option("--team", metavar="TEAM", help="of this team only")] = "",
    promise: Annotated[str, typer.Option("--promise", metavar="PROMISE", help="of this promise only")] = "",
    phase: Annotated[str, typer.Option("--phase", metavar="PHASE", help="as in ready, provisioning, failed")] = "",
    selector: Selector = [],  # noqa: B006 - typer copies it
    where: Annotated[
        str, typer.Option("--where", metavar="CEL", help="an expression over a row's fields, see the examples")
    ] = "",
    everything: Annotated[
        bool, typer.Option("--all", "-a", help="also decommissioned ones, for as long as Temporal keeps them")
    ] = False,
    watch: Watch = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """List services. A label that a service lacks makes --where false for it."""
    from bondstone.client.selectors import equalities  # noqa: PLC0415 - see bondstone.cli.session
    from bondstone.client.selectors import selector as selects  # noqa: PLC0415

    labels, selected = equalities(selector), selects(selector)
    matches = None
    if where:
        from bondstone.client.row_filter import row_filter  # noqa: PLC0415 - CEL takes a quarter of a second

        matches = row_filter(where)

    async def find(bond: Bondstone) -> list[ServiceRow]:
        rows = await bond.services.list(team=team, promise=promise, phase=phase, labels=labels, ended=everything)
        return [row for row in rows if selected(row.labels) and (matches is None or matches(row))]

    def people(rows: Sequence[ServiceRow]) -> None:
        table(
            ["service", "revision", "phase", "health", "changed", "drift", "operation", "pool", "labels"],
            [
                [
                    row.id,
                    row.revision,
                    row.phase,
                    row.health,
                    row.changed_at,
                    row.drift or "",
                    row.operation,
                    row.pool,
                    row.labels,
                ]
                for row in rows
            ],
            empty="no services" + (" match" if any([team, promise, phase, selector, where]) else ""),
            wide=("drift", "operation", "pool", "labels"),
        )

    watching.show_list(find, people, output, watch=watch)


@app.command(
    epilog=examples(
        "bond service show payments/orders",
        "bond service show payments/orders --watch",
        "bond service show payments/orders -o jsonpath='{.outputs.path}'",
    )
)
def show(service: ServiceArgument, *, watch: Watch = False, output: Output = OutputFormat.TABLE) -> None:
    """Show one service: its phase and why, its inputs, outputs and last operations. Secrets are masked."""

    def people(document: ServiceDocument) -> None:
        from bondstone.cli import views  # noqa: PLC0415 - see bondstone.cli.session

        views.service(document)

    watching.show(lambda bond: bond.services.get(service), people, output, watch=watch)


@app.command(epilog=examples("bond service wait payments/orders"))
def wait(service: ServiceArgument, *, output: Output = OutputFormat.TABLE) -> None:
    """Watch a service until no operation of it runs or is queued.

    Exit code 0 when its last operation succeeded, 1 when it failed, 4 when a policy refused it, 5 when it waits
    for an approval.
    """
    from asyncio import sleep  # noqa: PLC0415 - see bondstone.cli.session

    from bondstone.cli import views, waiting  # noqa: PLC0415 - see bondstone.cli.session

    async def work(bond: Bondstone) -> ServiceDocument:
        watched = ""
        while True:
            document = await bond.services.get(service)
            running = next((each for each in reversed(document.operations) if not each.status.ended), None)
            if running is None:
                return document
            if running.id == watched:  # it has ended, and its service has not committed it yet
                await sleep(COMMIT_LOOK_SECONDS)
                continue
            watched = running.id
            ended = await waiting.wait_for(bond, bond.operation(running.id), output)
            if not ended.status.ended:
                return await bond.services.get(service)

    document = with_platform(work)
    emit(document, output, lambda: views.service_in_a_line(document))
    if document.operations:
        waits = next((each for each in document.operations if each.status == "awaiting-approval"), None)
        waiting.finish(waits or document.operations[0], output)


@app.command(
    epilog=examples("bond service outputs payments/orders", "bond service outputs payments/orders --reveal")
)
def outputs(
    service: ServiceArgument,
    *,
    reveal: Annotated[
        bool, typer.Option("--reveal", help="show secret outputs in plain, from the secret store")
    ] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Print a service's outputs. Secret ones are masked without --reveal."""
    from bondstone.cli import views  # noqa: PLC0415 - see bondstone.cli.session

    values = with_platform(lambda bond: bond.services.outputs(service, reveal=reveal))
    emit(values, output, lambda: views.tree(values, indent="") if values else note("no outputs"))


@app.command(
    epilog=examples("bond service logs payments/orders -f", "bond service logs payments/orders --step database")
)
def logs(
    service: ServiceArgument,
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="print new lines until the operation ends")
    ] = False,
    step: Annotated[str, typer.Option("--step", metavar="S", help="of this step only")] = "",
) -> None:
    """Print the logs of a service's last operation."""
    from bondstone.cli.views import show_logs  # noqa: PLC0415 - see bondstone.cli.session

    async def read(bond: Bondstone) -> None:
        await show_logs(bond, await _last_operation(bond, service), step=step, follow=follow)

    with_platform(read)


@app.command(epilog=examples("bond service history payments/orders"))
def history(service: ServiceArgument, *, output: Output = OutputFormat.TABLE) -> None:
    """Print the ledger of a service, oldest first, even after it was decommissioned."""
    from bondstone.base.errors import NotFound  # noqa: PLC0415
    from bondstone.cli import views  # noqa: PLC0415 - see bondstone.cli.session

    records = with_platform(lambda bond: bond.services.history(service))
    if not records:
        raise NotFound(
            f"the ledger has no record of {service}", hint="records are written when an operation has ended"
        )
    emit(records, output, lambda: views.history(records))


# Helpers ----------------------------------------------------------------------------------------------------


async def _last_operation(bond: Bondstone, service: str) -> Operation:
    """The operation that runs, else the last that ended."""
    from bondstone.base.errors import NotFound  # noqa: PLC0415 - see bondstone.cli.session

    operations = (await bond.services.get(service)).operations
    if not operations:
        raise NotFound(f"{service} has no operation")
    begun = next((each for each in operations if each.status != "queued"), operations[0])
    return bond.operation(begun.id)
