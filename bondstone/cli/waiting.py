"""`--wait`: operations watched until they end, as a live table on a terminal, else a line for each change.

What is shown goes to standard error; the result is printed by the command when all is over.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Protocol

import typer

from bondstone.base.printable import visible
from bondstone.terminal.output import OutputFormat, is_terminal, note, print_error
from bondstone.terminal.times import duration

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bondstone.client import Bondstone, Operation
    from bondstone.client.documents.service import OperationDocument
    from bondstone.client.documents.step import ChangesDocument, StepDocument

STILL_SECONDS: Final = 10.0
"""A step that has stood still for this long makes us look whether anybody polls its pool."""
SILENCE_SECONDS: Final = 15.0
"""How long a platform may not answer before it is worth a remark."""
PATIENCE_SECONDS: Final = 180.0
"""How long a platform that does not answer is waited for."""
MAX_NAMED: Final = 20
"""So many operations are named when somebody stops watching them."""
EXIT_FAILED: Final = 1
EXIT_REFUSED: Final = 4
EXIT_AWAITING_APPROVAL: Final = 5

_POOLED = frozenset({"planning", "applying"})
_COLOURS = {
    "succeeded": "green", "unchanged": "green", "kept": "green", "planning": "yellow", "checking": "yellow",
    "applying": "yellow", "running": "yellow", "queued": "yellow", "failed": "red", "cancelled": "red",
    "blocked": "red", "rejected": "red", "rolled-back": "red", "awaiting-approval": "magenta",
    "deferred": "yellow",
}  # fmt: skip


class OperationsView(Protocol):
    """What is told while operations run."""

    def changed(self, record: OperationDocument) -> None:
        """An operation is not what it was."""

    def remark(self, text: str) -> None:
        """Something worth a line of its own."""


async def wait_for(bond: Bondstone, operation: Operation, output: OutputFormat) -> OperationDocument:
    """Watch one operation and its steps; programs that read our standard error get no progress on it."""
    shown = output is OutputFormat.TABLE or is_terminal(sys.stderr)
    [record] = await watch(bond, [operation], steps=True, shown=shown)
    return record


async def watch(
    bond: Bondstone, operations: Sequence[Operation], *, steps: bool = False, shown: bool = True
) -> list[OperationDocument]:
    """Watch operations until each has ended or waits for an approval.

    Args:
        bond: The client.
        operations: What to watch.
        steps: Show the steps of each, instead of a line for each operation.
        shown: Whether to show anything at all.

    Raises:
        Unreachable: the platform has not answered for `PATIENCE_SECONDS`.
        asyncio.CancelledError: the person stopped the view; the operations continue, and the view says so.
    """
    sys.stdout.flush()
    with _view([operation.id for operation in operations], steps=steps, shown=shown) as view:
        try:
            return list(await asyncio.gather(*(_one(bond, operation, view) for operation in operations)))
        except asyncio.CancelledError:
            _say_that_they_continue(operations)
            raise


def finish(record: OperationDocument, output: OutputFormat) -> None:
    """Say how a watched operation failed, and leave with its exit code; return when it succeeded.

    Raises:
        typer.Exit: with 1 when it failed, 4 when it was refused, 5 when it waits for an approval.
    """
    if record.status == "awaiting-approval":
        _say_what_it_waits_for(record)
        raise typer.Exit(EXIT_AWAITING_APPROVAL)
    if record.error is not None and record.status != "succeeded":
        print_error(record.error.changed(where=record.error.where or record.id), output)
    if code := exit_code(record):
        raise typer.Exit(code)


def exit_code(record: OperationDocument) -> int:
    """0 when it succeeded, 4 when it was refused (by policy, say), else 1."""
    from bondstone.base.errors import BY_CODE, Refused  # noqa: PLC0415 - see bondstone.cli.session

    if record.status == "succeeded":
        return 0
    kind = BY_CODE.get(record.error.code) if record.error else None
    refused = record.status == "rejected" or (kind is not None and issubclass(kind, Refused))
    return EXIT_REFUSED if refused else EXIT_FAILED


# Watching ---------------------------------------------------------------------------------------------------


async def _one(bond: Bondstone, operation: Operation, view: OperationsView) -> OperationDocument:
    """Watch one operation, through restarts of the platform."""
    from bondstone.base.errors import Unreachable  # noqa: PLC0415 - see bondstone.cli.session

    pools = _Pools(bond, operation.id, view)
    watcher = asyncio.create_task(pools.watch())
    answered = time.monotonic()

    def changed(record: OperationDocument) -> None:
        nonlocal answered
        answered = time.monotonic()
        pools.changed(record)
        view.changed(record)

    is_announced = False
    try:
        while True:
            try:
                return await operation.wait(changed, patience_seconds=0)
            except Unreachable as error:
                silence = time.monotonic() - answered
                if silence > PATIENCE_SECONDS:
                    raise
                if silence > SILENCE_SECONDS and not is_announced:
                    view.remark(f"{error.message}; still waiting, nothing is lost")
                    is_announced = True
                await asyncio.sleep(1)
    finally:
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)


class _Pools:
    """Looks whether somebody polls the pool of a step that stands still."""

    def __init__(self, bond: Bondstone, operation: str, view: OperationsView) -> None:
        self._bond = bond
        self._operation = operation
        self._view = view
        self._since: dict[str, tuple[str, float]] = {}
        self._steps: dict[str, StepDocument] = {}
        self._reported: set[str] = set()

    def changed(self, record: OperationDocument) -> None:
        """Take note of what each step does, and since when."""
        self._steps = {f"{step.part}{step.id}": step for step in record.steps}
        for name, step in self._steps.items():
            if self._since.get(name, ("", 0))[0] != step.status:
                self._since[name] = (step.status, time.monotonic())

    async def watch(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(STILL_SECONDS / 5)
            await self.look()

    async def look(self) -> None:
        """Ask about the pool of each step that stands still, and say once when nobody polls it."""
        for step in self._still():
            if step.pool not in self._reported and await self._nobody_polls(step.pool):
                self._reported.add(step.pool)
                self._view.remark(
                    f"no worker polls pool {step.pool}: step {step.id} of {self._operation} waits for one "
                    f"(none runs there, or all are busy; `bond status` shows the pools)"
                )

    def _still(self) -> list[StepDocument]:
        now = time.monotonic()
        return [
            self._steps[step]
            for step, (status, since) in self._since.items()
            if status in _POOLED and now - since > STILL_SECONDS and step in self._steps
        ]

    async def _nobody_polls(self, pool: str) -> bool:
        try:
            [_control, queue] = await self._bond.workers.queues([pool])
        except Exception:  # noqa: BLE001 - the wait itself finds out whether the platform answers
            return False
        return not queue.pollers


def _say_what_it_waits_for(record: OperationDocument) -> None:
    """Which plans wait for whose approval, with the whole commands that show and approve them."""
    from bondstone.cli.views import approve_command  # noqa: PLC0415 - see bondstone.cli.session

    for gate in (each for each in record.approvals if each.status == "waiting"):
        why = "; ".join(need.reason for need in gate.needs if need.reason)
        if why:
            note(f"  because:     {why}")
        note(f"  look at it:  bond operation plan {record.id} --step {gate.step}")
        note(f"  approve it:  {approve_command(gate)}")
    note(f"  then watch:  bond operation wait {record.id}")


def _say_that_they_continue(operations: Sequence[Operation]) -> None:
    if len(operations) == 1:
        note(f"{operations[0].id} continues; watch it with `bond operation wait {operations[0].id}`")
        return
    note(f"{len(operations)} operations continue; `bond operation list` shows them:")
    for operation in operations[:MAX_NAMED]:
        note(f"  {operation.id}")
    if len(operations) > MAX_NAMED:
        note(f"  and {len(operations) - MAX_NAMED} more")


# Showing ----------------------------------------------------------------------------------------------------


@contextmanager
def _view(operations: Sequence[str], *, steps: bool, shown: bool) -> Iterator[OperationsView]:
    if not shown:
        yield _Remarks()
    elif not is_terminal(sys.stderr):
        yield _Lines(steps=steps)
    else:
        from rich.console import Console  # noqa: PLC0415 - only on a terminal
        from rich.live import Live  # noqa: PLC0415

        table = _Table(operations, steps=steps)
        with Live(
            console=Console(stderr=True), get_renderable=table.render, refresh_per_second=8, transient=False
        ) as live:
            table.remark = lambda text: live.console.print(visible(text), markup=False)  # type: ignore[method-assign] # above the table
            yield table


class _Remarks:
    """Nothing but remarks."""

    def changed(self, record: OperationDocument) -> None:
        pass

    def remark(self, text: str) -> None:
        note(text)


class _Lines(_Remarks):
    """A line for each change, readable as a log; of many operations only what is worth a line."""

    def __init__(self, *, steps: bool) -> None:
        self._steps = steps
        self._began = time.monotonic()
        self._seen: dict[str, str] = {}

    def changed(self, record: OperationDocument) -> None:
        if self._steps and not record.status.ended:
            self._line(record.id, "", f"{record.kind} {record.revision} {record.status}")
        for step in record.steps:
            if step.status != "pending" and (self._steps or step.status in {"applying", "failed"}):
                name = _name(step)
                self._line(record.id, name, f"{name}: {step_words(step)}")
        if record.status.ended:
            self._line(record.id, "", f"{record.kind} {record.status}{_took(record)}")

    def remark(self, text: str) -> None:
        note(f"{time.monotonic() - self._began:6.1f}s  {text}")

    def _line(self, operation: str, step: str, text: str) -> None:
        if self._seen.get(f"{operation} {step}") != text:
            self._seen[f"{operation} {step}"] = text
            self.remark(f"{operation}  {text}")


class _Table(_Remarks):
    """A table that is drawn again and again: the steps of one operation, or a line for each of many."""

    def __init__(self, operations: Sequence[str], *, steps: bool) -> None:
        self._steps = steps
        self._operations = operations
        self._records: dict[str, OperationDocument] = {}

    def changed(self, record: OperationDocument) -> None:
        self._records[record.id] = record

    def render(self) -> RenderableType:
        from rich.table import Table  # noqa: PLC0415 - only on a terminal
        from rich.text import Text  # noqa: PLC0415

        grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for header in ("", "STATUS", "CHANGES", "TIME"):
            grid.add_column(header, overflow="fold")
        for record in filter(None, map(self._records.get, self._operations)):
            title = f"{record.kind} {record.service} ({record.revision})"
            current = record.steps if not self._steps else ()
            busy = next((step for step in current if step.status in {"planning", "checking", "applying"}), None)
            waits = record.status == "awaiting-approval"
            status = f"{busy.id}: {busy.status}" if busy and not waits else str(record.status)
            totals = "" if self._steps else str(_sum(record))
            grid.add_row(Text(title), _coloured(status), Text(totals), _elapsed(record))
            for step in record.steps if self._steps else ():
                changes = str(step.changes) if step.plan else ""
                grid.add_row(Text(f"  {_name(step)}"), _coloured(step.status), Text(changes), _elapsed(step))
        return grid


def _name(step: StepDocument) -> str:
    return f"{step.part}: {step.id}" if step.part else step.id


def step_words(step: StepDocument) -> str:
    """What a step does or did, in a few words."""
    words = str(step.status)
    if step.plan and step.status in {"checking", "applying", "succeeded"}:
        words += f" {step.changes}"
    if step.status in {"succeeded", "failed"}:
        words += _took(step)
    if step.error:
        words += f": {step.error.message.splitlines()[0]}"
    return words


def _sum(record: OperationDocument) -> ChangesDocument:
    """The planned changes of all its steps."""
    from bondstone.client.documents.step import ChangesDocument  # noqa: PLC0415 - see bondstone.cli.session

    return sum((step.changes for step in record.steps), ChangesDocument())


def _took(what: OperationDocument | StepDocument) -> str:
    if what.started_at and what.finished_at:
        return f" in {duration(what.finished_at - what.started_at)}"
    return ""


def _elapsed(what: OperationDocument | StepDocument) -> str:
    if not what.started_at:
        return ""
    end = what.finished_at or datetime.now(UTC)
    return duration(max(end - what.started_at, timedelta()))


def _coloured(status: str) -> RenderableType:
    from rich.text import Text  # noqa: PLC0415 - only on a terminal

    return Text(status, style=_COLOURS.get(status.rpartition(" ")[2], ""))
