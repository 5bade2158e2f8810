"""What the commands that ask for an operation share: their options, what they say, and how they end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bondstone.cli import completion
from bondstone.cli.session import with_platform
from bondstone.terminal.output import OutputFormat, emit, note, say

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bondstone.client import Bondstone, Operation
    from bondstone.client.documents.service import OperationDocument

Values = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="K=V",
        autocompletion=completion.inputs,
        help="an input, read as YAML; dots nest: --set net.cidr=10.0.0.0/8",
    ),
]
Strings = Annotated[
    list[str],
    typer.Option(
        "--set-string",
        metavar="K=TEXT",
        autocompletion=completion.inputs,
        help="an input that is always text, even if it looks like a number",
    ),
]
FromFiles = Annotated[
    list[str], typer.Option("--set-file", metavar="K=FILE", help="an input that is the text of a file")
]
Secrets = Annotated[
    list[str],
    typer.Option(
        "--secret",
        metavar="K",
        autocompletion=completion.input_names,
        help="a secret input, from a hidden prompt or one line of standard input for each",
    ),
]
Files = Annotated[
    list[str], typer.Option("--file", "-f", metavar="FILE", help="inputs as YAML or JSON; - is standard input")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="show what would change and what the policies say; change nothing")
]
Ask = Annotated[
    bool, typer.Option("--ask", help="let every plan that changes something wait for another person's approval")
]


def accepted(
    ask: Callable[[Bondstone], Awaitable[Operation]],
    *,
    wait: bool,
    output: OutputFormat,
    dry_run: bool = False,
    verb: str = "accepted",
    must_succeed: bool = True,
) -> None:
    """Ask, say what was accepted, and with `wait` watch it and leave with its exit code; a dry run is watched."""
    from bondstone.cli import plan_views, views, waiting  # noqa: PLC0415 - see bondstone.cli.session

    watched = wait or dry_run

    async def work(bond: Bondstone) -> OperationDocument:
        operation = await ask(bond)
        for warning in operation.warnings:
            note(f"warning: {warning}")
        return await (waiting.wait_for(bond, operation, output) if watched else operation.get())

    document = with_platform(work)

    def people() -> None:
        if dry_run:
            plan_views.dry_run(document)
        elif watched:
            views.outcome(document)
        else:
            change = views.from_to(document) or f"with {document.revision}"
            say(f"{document.id} {verb}: {document.kind} {change}")
            note(f"watch it with `bond operation wait {document.id}`")

    emit(document, output, people)
    if watched and must_succeed:
        waiting.finish(document, output)
