"""`bond state`: the Terraform state of a step, and the log it is kept in."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bondstone.cli.session import Reason, ServiceArgument, with_platform
from bondstone.terminal.output import Output, OutputFormat, emit, examples, note, say, table

if TYPE_CHECKING:
    from bondstone.client.documents.state import HolderDocument

app = typer.Typer(help="The Terraform state of a step: pull it, push one, see who wrote it.", no_args_is_help=True)

Step = Annotated[str, typer.Option("--step", metavar="S", help="the step; needed only when several have a state")]


@app.command(
    epilog=examples(
        "bond state pull payments/orders --step database -f terraform.tfstate",
        "bond state pull payments/orders --step database | jq .resources",
    )
)
def pull(
    service: ServiceArgument,
    *,
    step: Step = "",
    file: Annotated[
        Path | None, typer.Option("--file", "-f", metavar="FILE", help="write it there, readable by you alone")
    ] = None,
    reveal: Annotated[bool, typer.Option("--reveal", help="print it even to a terminal")] = False,
) -> None:
    """Print the newest state as Terraform reads it. It holds secrets in plain.

    Of a service that is gone it is the last state, from the archive; `bond service archive` lists those of earlier
    services of the name.
    """
    refuse_terminal(file, "a state holds secrets in plain", reveal=reveal)
    state = with_platform(lambda bond: bond.state.pull(service, step=step))
    if state.archived_at is not None:
        note(
            f"the service is gone; this is its last state, archived as {state.archived_as} "
            f"at {state.archived_at:%Y-%m-%d %H:%M:%SZ}"
        )
    hand_over(state.content, file)


@app.command(
    epilog=examples(
        "bond state push payments/orders --step database terraform.tfstate --reason 'moved a table, OPS-12'",
        "bond state pull payments/orders -f x.tfstate && terraform state rm -state=x.tfstate null_resource.old "
        "&& bond state push payments/orders x.tfstate",
    )
)
def push(
    service: ServiceArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="a Terraform state", show_default=False)],
    *,
    step: Step = "",
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="also one that is not newer than the stored one, or when the stored one cannot be read"
        ),
    ] = False,
    force_lineage: Annotated[
        bool, typer.Option("--force-lineage", help="push a state of another lineage, too")
    ] = False,
    reason: Reason = "",
    output: Output = OutputFormat.TABLE,
) -> None:
    """Put a Terraform state in the place of a step's own. Waits for an operation that holds the state.

    A plan that waits for approval is made anew then, and asks again unless it does nothing that was not approved.
    """
    raw = read_file(file)
    waited = False

    def on_wait(holder: HolderDocument) -> None:
        nonlocal waited
        if not waited:
            note(f"waiting for {holder} to release the state")
        waited = True

    pushed = with_platform(
        lambda bond: bond.state.push(
            service, raw, step=step, force=force, force_lineage=force_lineage, reason=reason, on_wait=on_wait
        )
    )

    def people() -> None:
        what = f"serial {pushed.serial}, {pushed.objects} objects"
        where = f"step {pushed.step} of {pushed.service}"
        say(f"{where} has that state now: {what}" if pushed.changed else f"{where} has that very state already")

    emit(pushed, output, people)


@app.command(epilog=examples("bond state log payments/orders --step database"))
def log(service: ServiceArgument, *, step: Step = "", output: Output = OutputFormat.TABLE) -> None:
    """List the entries of a step's state log: who claimed it, wrote states and let go, and when."""
    entries = with_platform(lambda bond: bond.state.log(service, step=step))
    emit(
        entries,
        output,
        lambda: table(
            ["position", "kind", "at", "bytes", "attempt", "host", "pid", "for"],
            [
                [
                    entry.position,
                    entry.kind,
                    entry.at,
                    entry.size,
                    entry.holder.attempt,
                    entry.holder.host,
                    entry.holder.pid,
                    entry.holder.by,
                ]
                for entry in entries
            ],
            empty="the log is empty",
            wide=("host", "pid"),
        ),
    )


def refuse_terminal(file: Path | None, why: str, *, reveal: bool) -> None:
    """Refuse to print secrets to a terminal unasked."""
    from bondstone.base.errors import InvalidInput  # noqa: PLC0415 - see bondstone.cli.session

    if file is None and sys.stdout.isatty() and not reveal:
        raise InvalidInput(
            f"{why}, and this is a terminal", hint="write it to a file with -f FILE, pipe it, or say --reveal"
        )


def hand_over(payload: bytes, file: Path | None) -> None:
    """Give out what holds secrets: to a file of its reader's alone, or to standard output."""
    if file is None:
        sys.stdout.buffer.write(payload if payload.endswith(b"\n") else payload + b"\n")
        return
    _write(file, payload)
    note(f"written to {file}; it holds secrets in plain")


def read_file(file: Path) -> bytes:
    """A file's bytes; what goes wrong in words."""
    from bondstone.base.errors import InvalidInput  # noqa: PLC0415 - see bondstone.cli.session

    try:
        return file.read_bytes()
    except OSError as error:
        raise InvalidInput(f"the file cannot be read: {error.strerror}", where=str(file)) from error


# Helpers ----------------------------------------------------------------------------------------------------


def _write(file: Path, data: bytes) -> None:
    """Replace a file, with words for a disk that does not take it."""
    from bondstone.base.errors import InvalidInput  # noqa: PLC0415 - see bondstone.cli.session
    from bondstone.base.files import write_private  # noqa: PLC0415

    try:
        write_private(file, data)
    except OSError as error:
        raise InvalidInput(f"the file cannot be written: {error.strerror}", where=str(file)) from error
