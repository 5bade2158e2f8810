"""`bond promise test`: run the cases that ship with a promise."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bondstone.cli import context
from bondstone.cli.session import with_platform
from bondstone.terminal.output import Output, OutputFormat, emit, note, say

if TYPE_CHECKING:
    from bondstone.client import Bondstone
    from bondstone.client.documents.promise import CaseDocument, PromiseTestReport


def run_cases(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="the folder that holds promise.yaml", show_default=False)
    ],
    *,
    policies: Annotated[
        Path | None,
        typer.Option("--policies", metavar="DIR", help="the organisation's policies, beside the promise's own"),
    ] = None,
    only: Annotated[str, typer.Option("--only", metavar="TEXT", help="only cases whose name has this in it")] = "",
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="show what the tools say")] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Run a promise's tests with the real tools. It needs and changes no platform."""
    from bondstone.base import logs  # noqa: PLC0415 - see bondstone.cli.session

    # Warnings only: what the tools print is asked for with --verbose, and standard output is the result.
    logs.configure(context.settings().changed(log_level="warning"), stream=sys.stderr)
    people = output is OutputFormat.TABLE

    async def run(bond: Bondstone) -> PromiseTestReport:
        return await bond.promises.test(
            directory,
            only=only,
            policies=policies,
            on_case=_show if people else None,
            on_line=note if verbose else None,
        )

    report = with_platform(run)
    emit(report, output, lambda: say(f"{report.passed} passed, {report.failed} failed in {report.seconds:.1f}s"))
    if report.failed:
        raise typer.Exit(1)


def _show(case: CaseDocument) -> None:
    say(f"{'ok  ' if case.passed else 'FAIL'} {case.name} ({case.seconds:.1f}s)")
    for difference in case.differences:
        say(f"       {case.file}: {difference}")
