"""`bond policy`: the organisation's rules, which apply to every promise."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from bondstone.cli.session import with_platform
from bondstone.terminal.output import (
    Output,
    OutputFormat,
    emit,
    emit_text,
    examples,
    fields,
    note,
    progress,
    say,
    table,
)

if TYPE_CHECKING:
    from bondstone.client import Bondstone
    from bondstone.client.documents.policy import PolicyCheck

EXIT_DENIED: Final = 4

app = typer.Typer(help="The organisation's rules: sets of Rego policies.", no_args_is_help=True)


@app.command(epilog=examples("bond policy publish policies/", "bond policy publish promises/_organisation"))
def publish(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="the folder with *.rego files", show_default=False)
    ],
    *,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Check policies and put them in force as a new set; what is in force already changes nothing."""
    published = with_platform(lambda bond: bond.policies.publish(directory))
    word = "published" if published.published else "unchanged"
    emit(published, output, lambda: say(f"{word} policy set {published.version} sha256:{published.digest}"))


@app.command("list", epilog=examples("bond policy list", "bond policy list -o json"))
def list_sets(*, output: Output = OutputFormat.TABLE) -> None:
    """List every policy set, newest first; the newest is in force."""
    sets = with_platform(lambda bond: bond.policies.list())
    rows = [
        [
            each.version,
            "in force" if index == 0 else "",
            len(each.files),
            each.published_at,
            each.published_by,
            each.digest[:12],
        ]
        for index, each in enumerate(sets)
    ]
    emit(
        sets,
        output,
        lambda: table(
            ["version", "", "files", "published", "by", "digest"],
            rows,
            empty="no policies are published: every plan that its promise allows is applied",
        ),
    )


@app.command(epilog=examples("bond policy show", "bond policy show 3", "bond policy show --source labels.rego"))
def show(
    version: Annotated[
        int | None, typer.Argument(metavar="VERSION", help="which set; else the one in force", show_default=False)
    ] = None,
    *,
    source: Annotated[
        str, typer.Option("--source", metavar="FILE", help="print this file instead, as it was published")
    ] = "",
    output: Output = OutputFormat.TABLE,
) -> None:
    """Show one policy set: its rules, and the files they are in."""
    from bondstone.base.errors import NotFound  # noqa: PLC0415 - see bondstone.cli.context

    document = with_platform(lambda bond: bond.policies.get(version))
    if source:
        text = document.sources.get(source)
        if text is None:
            raise NotFound(
                f"policy set {document.version} has no file {source!r}",
                hint=f"its files: {', '.join(document.files)}",
            )
        emit_text(text.removesuffix("\n"))
        return

    def people() -> None:
        fields(
            {
                "version": document.version,
                "digest": document.digest,
                "published": document.published_at,
                "by": document.published_by,
            }
        )
        say()
        table(
            ["rule", "level", "file"],
            [[rule.rule, rule.level, rule.file] for rule in document.rules],
            empty="no rule decides anything",
        )
        note("`bond policy show --source FILE` prints a file")

    emit(document, output, people)


@app.command(
    epilog=examples("bond policy check policies/", "bond policy check policies/ -o json", "bond policy check")
)
def check(
    directory: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DIR]", help="the folder with *.rego files; else the set in force", show_default=False
        ),
    ] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="name the services that it allows too")] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Ask policies about the last plan of every service, and change nothing.

    Exit code 4 when any service would be denied, else 0.
    """

    async def work(bond: Bondstone) -> PolicyCheck:
        with progress("checking the fleet's plans") as update:
            return await bond.policies.check(
                directory, on_service=lambda done, count: update(f"checked {done} of {count} services")
            )

    impact = with_platform(work)

    def people() -> None:
        shown = [item for item in impact.services if every or item.outcome != "allow"]
        table(
            ["service", "promise", "would be", "", "because"],
            [
                [
                    item.service,
                    item.promise,
                    _WOULD_BE[item.outcome],
                    "new" if item.newly else "",
                    item.problem
                    or "; ".join(finding.message for step in item.steps for finding in step.policy.findings),
                ]
                for item in shown
            ],
            empty="every service is allowed" if impact.services else "there are no services",
            wide=("promise",),
        )
        totals = ", ".join(f"{count} {_WOULD_BE[outcome]}" for outcome, count in sorted(impact.counts.items()))
        note(f"{len(impact.services)} services: {totals or 'none'}; nothing was changed")

    emit(impact, output, people)
    if impact.counts.get("deny"):
        raise typer.Exit(EXIT_DENIED)


@app.command("test", epilog=examples("bond policy test policies/", "bond policy test policies/ -o json"))
def run_tests(
    directory: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="the folder with *.rego and *_test.rego files", show_default=False),
    ],
    *,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Run the `test_` rules of policies. It needs and changes no platform.

    Exit code 1 when any fails, else 0.
    """
    from bondstone.policy import testing  # noqa: PLC0415 - see bondstone.cli.session

    report = testing.run_tests(directory)

    def people() -> None:
        for item in report.tests:
            say(f"{_TESTED[item.outcome]} {item.name}")
            if item.problem:
                say(f"       {item.file}: {item.problem}")
        note(f"{report.passed} passed, {report.failed} failed, by {report.engine}")

    emit(report, output, people)
    if report.failed:
        raise typer.Exit(1)


_TESTED: Final = {"passed": "ok  ", "failed": "FAIL", "error": "FAIL", "skipped": "skip"}
_WOULD_BE: Final = {
    "allow": "allowed",
    "warn": "warned",
    "approval": "asked about",
    "deny": "denied",
    "unknown": "unknown",
}
