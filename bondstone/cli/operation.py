"""`bond operation`: runs of work on services."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from bondstone.cli import watch as watching
from bondstone.cli.session import OperationArgument, with_platform
from bondstone.cli.watch import Watch
from bondstone.terminal.output import Output, OutputFormat, emit, examples, say, table

if TYPE_CHECKING:
    from bondstone.client import Bondstone
    from bondstone.client.documents.service import OperationDocument
    from bondstone.model.rows import OperationRow

app = typer.Typer(help="Runs of work on services: what they plan, do and print.", no_args_is_help=True)

Step = Annotated[str, typer.Option("--step", metavar="S", help="of this step only")]


@app.command("list", epilog=examples("bond operation list", "bond operation list payments/orders -o json"))
def list_(
    service: Annotated[
        str, typer.Argument(metavar="[TEAM/NAME]", help="of this service only", show_default=False)
    ] = "",
    *,
    watch: Watch = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """List operations, newest first, for as long as Temporal remembers them."""

    def people(rows: Sequence[OperationRow]) -> None:
        from bondstone.cli.views import took  # noqa: PLC0415 - see bondstone.cli.session

        table(
            ["operation", "kind", "status", "started", "took", "revision"],
            [
                [row.id, row.kind, row.status, row.started_at, took(row.started_at, row.finished_at), row.revision]
                for row in rows
            ],
            empty="no operations",
            wide=("revision",),
        )

    watching.show_list(lambda bond: bond.operations.list(service), people, output, watch=watch)


@app.command(epilog=examples("bond operation show payments/orders/op/1", "bond operation show a/b/op/1 --watch"))
def show(operation: OperationArgument, *, watch: Watch = False, output: Output = OutputFormat.TABLE) -> None:
    """Show one operation: why it is where it is, its steps, what each changed, what went wrong."""

    def people(document: OperationDocument) -> None:
        from bondstone.cli import views  # noqa: PLC0415 - see bondstone.cli.session

        views.operation(document)

    watching.show(
        lambda bond: bond.operations.get(operation),
        people,
        output,
        watch=watch,
        over=lambda document: document.status.ended,
    )


@app.command(
    epilog=examples(
        "bond operation plan payments/orders/op/1", "bond operation plan payments/orders/op/1 --step database"
    )
)
def plan(operation: OperationArgument, *, step: Step = "", output: Output = OutputFormat.TABLE) -> None:
    """Show what an operation plans: every change, what the policies said, who must approve. Secrets are masked."""
    from bondstone.cli import plan_views  # noqa: PLC0415 - see bondstone.cli.session

    documents = with_platform(lambda bond: bond.operations.plans(operation, step=step))

    def people() -> None:
        for index, document in enumerate(documents):
            if index:
                say()
            plan_views.plan(document)

    emit(documents, output, people)


@app.command(
    epilog=examples("bond operation logs payments/orders/op/1", "bond operation logs payments/orders/op/1 -f")
)
def logs(
    operation: OperationArgument,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="print new lines until it ends")] = False,
    step: Step = "",
) -> None:
    """Print the logs of an operation's steps."""
    from bondstone.cli.views import show_logs  # noqa: PLC0415 - see bondstone.cli.session

    async def read(bond: Bondstone) -> None:
        await show_logs(bond, bond.operation(operation), step=step, follow=follow)

    with_platform(read)


@app.command(epilog=examples("bond operation wait payments/orders/op/1"))
def wait(operation: OperationArgument, *, output: Output = OutputFormat.TABLE) -> None:
    """Watch an operation until it has ended.

    Exit code 0 when it succeeded, 1 when it failed, 4 when a policy refused it, 5 when it waits for an approval.
    """
    from bondstone.cli import views, waiting  # noqa: PLC0415 - see bondstone.cli.session

    async def watch(bond: Bondstone) -> OperationDocument:
        return await waiting.wait_for(bond, bond.operation(operation), output)

    document = with_platform(watch)
    emit(document, output, lambda: views.outcome(document))
    waiting.finish(document, output)
