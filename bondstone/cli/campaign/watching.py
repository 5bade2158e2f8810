"""Campaigns watched until they end: a bar for each wave on a terminal, else a line for each change.

What is shown goes to standard error; the result is printed by the command when all is over.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Protocol

import typer

from bondstone.terminal.output import OutputFormat, cell, is_terminal, note
from bondstone.terminal.times import duration

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bondstone.client import Bondstone
    from bondstone.client.documents.campaign import CampaignDocument, WaveDocument

EXIT_FAILED: Final = 1
EXIT_AWAITING_APPROVAL: Final = 5
LINES: Final = 8
"""How many targets that run, and that failed, a live view has."""
TENTHS: Final = 10

_COLOURS = {
    "running": "yellow", "soaking": "cyan", "gate": "magenta", "done": "green", "paused": "red",
    "awaiting-approval": "magenta", "waiting-window": "cyan", "rolling-back": "red", "aborting": "red",
    "completed": "green", "completed-with-failures": "red", "aborted": "red", "rolled-back": "red",
}  # fmt: skip


class CampaignView(Protocol):
    """What is printed while a campaign runs."""

    def changed(self, document: CampaignDocument) -> None:
        """The campaign is not what it was."""


async def watch(bond: Bondstone, name: str, output: OutputFormat, *, leave: bool = False) -> CampaignDocument:
    """Watch a campaign until it has ended.

    Args:
        bond: The client.
        name: Of the campaign.
        output: What the result is printed as; programs that read our standard error get no progress on it.
        leave: Come back too when only people can let it go on: a gate, or a budget that is broken.

    Raises:
        asyncio.CancelledError: the person stopped watching; the campaign continues, and a line says so.
    """
    sys.stdout.flush()
    shown = output is OutputFormat.TABLE or is_terminal(sys.stderr)
    with _view(name, shown=shown) as view:
        try:
            return await bond.campaigns.wait(name, view.changed, through_approvals=not leave)
        except asyncio.CancelledError:
            note(f"campaign {name} continues; watch it with `bond campaign show {name} --watch`")
            raise


async def wait_for(bond: Bondstone, name: str, output: OutputFormat) -> CampaignDocument:
    """Watch a campaign until it has ended, or only people can let it go on."""
    return await watch(bond, name, output, leave=True)


def finish(document: CampaignDocument) -> None:
    """Leave with the exit code of a campaign that was watched; return when it completed without a failure.

    Raises:
        typer.Exit: with 5 when a wave waits for an approval, else 1.
    """
    if code := exit_code(document):
        raise typer.Exit(code)


def exit_code(document: CampaignDocument) -> int:
    """0 when it completed without a failure, 5 when a wave waits for an approval, else 1."""
    if document.status == "awaiting-approval":
        return EXIT_AWAITING_APPROVAL
    return 0 if document.status == "completed" else EXIT_FAILED


# Showing ----------------------------------------------------------------------------------------------------


@contextmanager
def _view(name: str, *, shown: bool) -> Iterator[CampaignView]:
    if not shown:
        yield _Nothing()
    elif not is_terminal(sys.stderr):
        yield Lines()
    else:
        from rich.console import Console  # noqa: PLC0415 - only on a terminal
        from rich.live import Live  # noqa: PLC0415

        bars = Bars(name)
        with Live(console=Console(stderr=True), get_renderable=bars.render, refresh_per_second=4):
            yield bars


class _Nothing:
    def changed(self, document: CampaignDocument) -> None:
        pass


class Lines:
    """A line for each change that is worth one, readable as a log."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._seen: dict[str, str] = {}

    def changed(self, document: CampaignDocument) -> None:
        """Say what is new."""
        for wave in document.waves:
            tenth = TENTHS * _done(wave) // max(wave.targets, 1)
            if wave.status != "waiting":
                text = f"wave {wave.name} {wave.status}: {_words(wave)}"
                self._line(f"wave {wave.name}", text, mark=f"{wave.status} {tenth} {wave.failed}")
        for failure in document.failures:
            why = failure.why()
            self._line(f"target {failure.service}", f"{failure.service} {failure.outcome}: {why}")
        people = [awaited for awaited in document.awaits if not awaited[:1].isdigit()]  # not how many run
        waits = f", waits for {'; '.join(people)}" if people else ""
        self._line("status", f"{document.name} {document.status}{waits}")

    def _line(self, key: str, text: str, *, mark: str = "") -> None:
        if self._seen.get(key) != (mark or text):
            self._seen[key] = mark or text
            note(f"{time.monotonic() - self._began:6.1f}s  {text}")


class Bars:
    """A bar for each wave, drawn again and again, with what runs, what failed, and what it waits for."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._found: CampaignDocument | None = None

    def changed(self, document: CampaignDocument) -> None:
        """Draw this from now on."""
        self._found = document

    def render(self) -> RenderableType:
        """The view as it is now."""
        from rich.console import Group  # noqa: PLC0415 - only on a terminal
        from rich.text import Text  # noqa: PLC0415

        document = self._found
        if document is None:
            return Text(f"campaign {self._name}: its targets are being chosen")
        head = Text.assemble(
            (f"{cell(document.name)}  ", "bold"),
            (document.status, _COLOURS.get(document.status, "")),
            f"  {document.operation} {document.promise} {document.to}".rstrip(),
            f"  {_elapsed(document.started_at, document.ended_at)}",
        )
        parts: list[RenderableType] = [head, self._waves(document)]
        parts += [Text(f"waits for {cell(awaited)}", style="cyan") for awaited in document.awaits]
        if document.budget:
            parts.append(Text(f"budget broken: {cell(document.budget)}", style="red"))
        for flight in document.flights[:LINES]:
            line = f"  {flight.service}  {flight.in_words()}  {_elapsed(flight.started_at, None)}"
            parts.append(Text(line, style="yellow"))
        if document.running > LINES:
            parts.append(Text(f"  and {document.running - LINES} more run", style="dim"))
        for failure in document.failures[-LINES:]:
            why = failure.why()
            parts.append(
                Text(f"  {failure.service}  {failure.outcome}: {cell(why)}", style="red", overflow="ellipsis")
            )
        return Group(*parts)

    def _waves(self, document: CampaignDocument) -> RenderableType:
        from rich.progress_bar import ProgressBar  # noqa: PLC0415 - only on a terminal
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
        for wave in document.waves:
            style = "red" if wave.failed else "green"
            bar = ProgressBar(
                total=max(wave.targets, 1),
                completed=_done(wave) if wave.targets else 1,
                width=40,
                complete_style=style,
                finished_style=style,
            )
            status = Text(wave.status, style=_COLOURS.get(wave.status, "dim"))
            grid.add_row(
                Text(cell(wave.name)), bar, Text(f"{_done(wave)}/{wave.targets}"), status, Text(_words(wave))
            )
        return grid


def _done(wave: WaveDocument) -> int:
    return wave.targets - wave.waiting - wave.running


def _words(wave: WaveDocument) -> str:
    others = _done(wave) - wave.succeeded - wave.failed
    numbers = {"succeeded": wave.succeeded, "failed": wave.failed, "running": wave.running, "others": others}
    return ", ".join(f"{number} {name}" for name, number in numbers.items() if number) or "nothing yet"


def _elapsed(started: datetime | None, ended: datetime | None) -> str:
    if started is None:
        return ""
    return duration(max((ended or datetime.now(UTC)) - started, timedelta()))
