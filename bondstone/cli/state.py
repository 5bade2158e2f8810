"""`bond state`: the Terraform state of a step, and the log it is kept in."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bondstone.cli.output import Output, OutputFormat, emit, examples, note, table
from bondstone.cli.session import ServiceArgument, with_platform

if TYPE_CHECKING:
    from bondstone.client import Bondstone
    from bondstone.client.documents import StateEntryDocument
    from bondstone.model.service import ServiceId

app = typer.Typer(help="The Terraform state of a step: pull it, or see who wrote it.", no_args_is_help=True)

Step = Annotated[str, typer.Option("--step", metavar="S", help="whose state; may be left out when there is one")]


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
    """Print the newest state as Terraform reads it. It holds secrets in plain."""
    from bondstone.errors import InvalidInput, NotFound  # noqa: PLC0415 - see bondstone.cli.session

    if file is None and sys.stdout.isatty() and not reveal:
        raise InvalidInput(
            "a state holds secrets in plain, and this is a terminal",
            hint="write it to a file with -f FILE, pipe it, or say --reveal",
        )

    async def read(bond: Bondstone) -> bytes:
        found = await _which(bond, service, step)
        snapshot = await bond.store.state(found[0], found[1]).read()
        if snapshot.payload is None:
            raise NotFound(f"step {found[1]} of {service} has no state", hint="it may never have been applied")
        return snapshot.payload

    payload = with_platform(read)
    if file is None:
        sys.stdout.buffer.write(payload if payload.endswith(b"\n") else payload + b"\n")
        return
    _write_private(file, payload)
    note(f"written to {file}; it holds secrets in plain")


@app.command(epilog=examples("bond state log payments/orders --step database"))
def log(service: ServiceArgument, *, step: Step = "", output: Output = OutputFormat.TABLE) -> None:
    """List the entries of a step's state log: who claimed it, wrote states and let go, and when."""
    from bondstone.client.documents import StateEntryDocument  # noqa: PLC0415 - see bondstone.cli.session

    async def read(bond: Bondstone) -> list[StateEntryDocument]:
        found = await _which(bond, service, step)
        return [StateEntryDocument.of(entry) for entry in await bond.store.state(*found).entries()]

    entries = with_platform(read)
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
        ),
    )


# Helpers ----------------------------------------------------------------------------------------------------


async def _which(bond: Bondstone, service: str, step: str) -> tuple[ServiceId, str]:
    """The service and the step that are meant, as far as the service knows its steps.

    Raises:
        NotFound: naming the steps there are.
    """
    from bondstone.client import service_id  # noqa: PLC0415 - see bondstone.cli.session
    from bondstone.errors import NotFound  # noqa: PLC0415

    target = service_id(service)
    state = await bond.service(service)
    steps = [spec.id for spec in state.current.steps] if state.current else []
    if not step and len(steps) == 1:
        return target, steps[0]
    if step not in steps:
        raise NotFound(
            f"{service} has no step {step!r}" if step else "say which step",
            where=service,
            hint="its steps are " + (", ".join(steps) or "not known yet"),
        )
    return target, step


def _write_private(file: Path, data: bytes) -> None:
    """Replace a file atomically by one of mode 0600."""
    from bondstone.errors import InvalidInput  # noqa: PLC0415 - see bondstone.cli.session

    try:
        handle, name = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)  # mkstemp makes it 0600
        try:
            with os.fdopen(handle, "wb") as opened:
                opened.write(data)
            Path(name).replace(file)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InvalidInput(f"the file cannot be written: {error.strerror}", where=str(file)) from error
