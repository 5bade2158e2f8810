"""`bond promise test`: run the cases that ship with a promise."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bondstone.cli import context
from bondstone.terminal.output import Output, OutputFormat, emit, note, progress, say

if TYPE_CHECKING:
    from bondstone.executors.promise_tests import CaseReport, Trial
    from bondstone.policy import Module
    from bondstone.promise.cases import Case


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
    """Run a promise's tests with the real tools; nothing of a platform is needed or touched."""
    from bondstone.base import logs  # noqa: PLC0415 - see bondstone.cli.context
    from bondstone.base.errors import NotFound  # noqa: PLC0415
    from bondstone.executors.promise_tests import open_trial  # noqa: PLC0415
    from bondstone.executors.registry import load_executors  # noqa: PLC0415
    from bondstone.policy import load_modules  # noqa: PLC0415
    from bondstone.promise.cases import load_cases  # noqa: PLC0415
    from bondstone.promise.validation.before_publish import validate  # noqa: PLC0415

    settings = context.settings()
    # Warnings only: what the tools say is asked for with --verbose, and standard output is the result.
    logs.configure(settings.changed(log_level="warning"), stream=sys.stderr)
    executors = load_executors()
    promise = validate(directory, executors).require()
    cases = [(file, case) for file, case in load_cases(directory, promise) if only in case.name]
    if not cases:
        raise NotFound(
            f"no test has {only!r} in its name" if only else "the promise has no tests",
            where=str(directory),
            hint="cases are in tests/*.yaml",
        )
    organisation: list[Module] = load_modules(policies) if policies else []
    people = output is OutputFormat.TABLE

    async def run() -> list[CaseReport]:
        bench = open_trial(
            directory,
            promise,
            executors,
            settings,
            organisation=organisation,
            log=note if verbose else lambda _line: None,
        )
        async with bench as trial:
            return [await _run_one(trial, number, file, case) for number, (file, case) in enumerate(cases, 1)]

    async def _run_one(trial: Trial, number: int, file: str, case: Case) -> CaseReport:
        with progress(case.name):
            report = await trial.run(file, case, number)
        if people:
            _show(report)
        return report

    started = time.monotonic()
    reports = context.run(run())
    failed = [report for report in reports if not report.passed]
    seconds = round(time.monotonic() - started, 3)
    emit(
        {
            "promise": promise.name,
            "version": promise.version,
            "passed": len(reports) - len(failed),
            "failed": len(failed),
            "seconds": seconds,
            "cases": [
                {
                    "name": report.name,
                    "file": report.file,
                    "passed": report.passed,
                    "differences": list(report.differences),
                    "seconds": report.seconds,
                }
                for report in reports
            ],
        },
        output,
        lambda: say(f"{len(reports) - len(failed)} passed, {len(failed)} failed in {seconds:.1f}s"),
    )
    if failed:
        raise typer.Exit(1)


def _show(report: CaseReport) -> None:
    say(f"{'ok  ' if report.passed else 'FAIL'} {report.name} ({report.seconds:.1f}s)")
    for difference in report.differences:
        say(f"       {report.file}: {difference}")
