"""`bond state`: the Terraform state of a step, and the log it is kept in."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bondstone.cli.session import Reason, ServiceArgument, with_platform
from bondstone.terminal.output import Output, OutputFormat, emit, examples, note, say, table

if TYPE_CHECKING:
    from bondstone.base.process_identity import Holder
    from bondstone.client import Bondstone
    from bondstone.client.documents.service import Pushed, StateEntryDocument
    from bondstone.model.service import ServiceId

app = typer.Typer(help="The Terraform state of a step: pull it, push one, see who wrote it.", no_args_is_help=True)

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
    """Print the newest state as Terraform reads it. It holds secrets in plain.

    Of a service that is gone it is the last state, from the archive; `bond service archive` lists those of earlier
    services of the name.
    """
    from bondstone.base.errors import NotFound  # noqa: PLC0415 - see bondstone.cli.session

    refuse_terminal(file, "a state holds secrets in plain", reveal=reveal)

    async def read(bond: Bondstone) -> bytes:
        target, chosen = await _which(bond, service, step)
        snapshot = await bond.store.state(target, chosen).read()
        if snapshot.payload is not None:
            return snapshot.payload
        last = (await bond.store.archive.last_states(target)).get(chosen)
        if last is None:
            await _refuse_own(bond, service, chosen)
            raise NotFound(f"step {chosen} of {service} has no state", hint="it may never have been applied")
        note(
            f"the service is gone; this is its last state, put away as {last.name} at {last.at:%Y-%m-%d %H:%M:%SZ}"
        )
        return await bond.store.archive.read(target, last.name)

    hand_over(with_platform(read), file)


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
            "--force", help="also one that is not newer than the one that is there, or when that cannot be read"
        ),
    ] = False,
    force_lineage: Annotated[
        bool, typer.Option("--force-lineage", help="also one that began as the state of something else")
    ] = False,
    reason: Reason = "",
    output: Output = OutputFormat.TABLE,
) -> None:
    """Put a Terraform state in the place of a step's own. Waits for an operation that holds the state.

    A plan that waits for approval is made anew then, and asks again unless it does nothing that was not approved.
    """
    raw = read_file(file)
    waited = False

    def on_wait(holder: Holder) -> None:
        nonlocal waited
        if not waited:
            note(f"waiting for {holder} to let go of the state")
        waited = True

    async def work(bond: Bondstone) -> Pushed:
        _, chosen = await _which(bond, service, step)
        return await bond.push_state(
            service, chosen, raw, force=force, force_lineage=force_lineage, reason=reason, on_wait=on_wait
        )

    pushed = with_platform(work)

    def people() -> None:
        what = f"serial {pushed.serial}, {pushed.objects} objects"
        where = f"step {pushed.step} of {pushed.service}"
        say(f"{where} has that state now: {what}" if pushed.changed else f"{where} has that very state already")

    emit(pushed, output, people)


@app.command(epilog=examples("bond state log payments/orders --step database"))
def log(service: ServiceArgument, *, step: Step = "", output: Output = OutputFormat.TABLE) -> None:
    """List the entries of a step's state log: who claimed it, wrote states and let go, and when."""
    from bondstone.client.documents.service import StateEntryDocument  # noqa: PLC0415 - see bondstone.cli.session

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
    _write_private(file, payload)
    note(f"written to {file}; it holds secrets in plain")


def read_file(file: Path) -> bytes:
    """A file's bytes; what goes wrong in words."""
    from bondstone.base.errors import InvalidInput  # noqa: PLC0415 - see bondstone.cli.session

    try:
        return file.read_bytes()
    except OSError as error:
        raise InvalidInput(f"the file cannot be read: {error.strerror}", where=str(file)) from error


# Helpers ----------------------------------------------------------------------------------------------------


async def _which(bond: Bondstone, service: str, step: str) -> tuple[ServiceId, str]:
    """The service and the step that are meant, as far as the service, or its archive, knows its steps.

    Raises:
        NotFound: naming the steps there are.
    """
    from bondstone.base.errors import NotFound  # noqa: PLC0415
    from bondstone.client import service_id  # noqa: PLC0415 - see bondstone.cli.session

    target = service_id(service)
    archived = sorted(await bond.store.archive.last_states(target))
    try:
        state = await bond.service(service)
    except NotFound:  # gone for longer than Temporal remembers
        if not archived:
            raise
        steps = []
    else:
        steps = [spec.id for spec in state.current.steps] if state.current else []
        if state.current and step in {spec.id for spec in state.current.day_two.hooks}:
            return target, step
    if not steps or step in archived:
        steps = [*steps, *(name for name in archived if name not in steps)]
    if not step and len(steps) == 1:
        return target, steps[0]
    if step not in steps:
        raise NotFound(
            f"{service} has no step {step!r}" if step else "say which step",
            where=service,
            hint="its steps are " + (", ".join(steps) or "not known yet"),
        )
    return target, step


async def _refuse_own(bond: Bondstone, service: str, step: str) -> None:
    """Say where the state is when the platform does not have it because the promise says so."""
    from bondstone.client.states import refuse_own  # noqa: PLC0415 - see bondstone.cli.session

    current = (await bond.service(service)).current
    if current is not None:
        refuse_own(await bond.store.revisions.promise(current.revision), step)


def _write_private(file: Path, data: bytes) -> None:
    """Replace a file atomically by one of mode 0600."""
    from bondstone.base.errors import InvalidInput  # noqa: PLC0415 - see bondstone.cli.session

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
