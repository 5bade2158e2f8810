"""`bond campaign`: one operation over a selected fleet, in waves, under a failure budget, inside windows."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bondstone.cli import completion
from bondstone.cli.campaign.verbs import app as verbs
from bondstone.cli.session import Reason, Wait, with_platform
from bondstone.cli.watch import Watch as ListWatch
from bondstone.cli.watch import show_list
from bondstone.terminal.output import Output, OutputFormat, emit, examples, note, plain, say

if TYPE_CHECKING:
    from bondstone.client import Bondstone
    from bondstone.client.documents.campaign import CampaignDocument, PreviewDocument
    from bondstone.model.campaign.report import CampaignReport

app = typer.Typer(help="One operation over a fleet: in waves, under a failure budget.", no_args_is_help=True)

File = Annotated[
    str,
    typer.Option("--file", "-f", metavar="FILE", help="the campaign; - is standard input", show_default=False),
]
Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="the campaign", show_default=False, autocompletion=completion.campaigns),
]
NewName = Annotated[str, typer.Option("--name", metavar="NAME", help="instead of the name in the file")]


class ReportFormat(StrEnum):
    """What `-o` of `report` takes."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    JUNIT = "junit"
    HTML = "html"


@app.command(
    epilog=examples(
        "bond campaign run -f cve-2026-1234.yaml --wait",
        "bond campaign run -f cve-2026-1234.yaml --name cve-again --supersedes cve-2026-1234",
        "bond campaign run -f cve-2026-1234.yaml --pinned 4f1c0b7a",
    )
)
def run(
    *,
    file: File,
    name: NewName = "",
    reason: Reason = "",
    supersedes: Annotated[
        str, typer.Option("--supersedes", metavar="NAME", help="take over from this campaign, which ends")
    ] = "",
    pinned: Annotated[
        str,
        typer.Option(
            "--pinned",
            metavar="DIGEST",
            help="digest of `preview --plan`; a plan that goes beyond it waits for an approval",
        ),
    ] = "",
    wait: Wait = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Start a campaign. Everything that can be known to be wrong is said before, and then nothing starts.

    With --wait the exit code is 0 when it completed without a failure, 1 when it did not or when its budget has
    paused it, 5 when a wave waits for an approval.
    """
    from bondstone.cli.campaign import watching  # noqa: PLC0415 - see bondstone.cli.session

    data, where = _read(file)

    async def work(bond: Bondstone) -> CampaignDocument:
        started = await bond.campaigns.run(
            data, where, name=name, reason=reason, supersedes=supersedes, pinned=pinned
        )
        return await watching.wait_for(bond, started.name, output) if wait else started

    document = with_platform(work)

    def people() -> None:
        from bondstone.cli.campaign import views  # noqa: PLC0415 - see bondstone.cli.session

        if wait:
            views.outcome(document)
            return
        targets, waves = document.targets, len(document.waves)
        say(f"campaign {document.name} started: {_counted(targets, 'target')} in {_counted(waves, 'wave')}")
        for sentence in document.effect:
            say(f"  {sentence}")
        note(f"watch it with `bond campaign show {document.name} --watch`")

    emit(document, output, people)
    if wait:
        watching.finish(document)


@app.command(epilog=examples("bond campaign validate -f cve-2026-1234.yaml"))
def validate(*, file: File, output: Output = OutputFormat.TABLE) -> None:
    """Check a campaign's file. It needs no platform. `preview` checks it beside the fleet too."""
    data, where = _read(file)
    check = with_platform(lambda bond: bond.campaigns.validate(data, where))
    emit(check, output, lambda: say(f"{where}: campaign {check.name} is valid, {_counted(check.waves, 'wave')}"))


@app.command(
    epilog=examples(
        "bond campaign preview -f cve-2026-1234.yaml",
        "bond campaign preview -f cve-2026-1234.yaml --time-zone Europe/London -o json",
        "bond campaign preview -f cve-2026-1234.yaml --plan",
    )
)
def preview(
    *,
    file: File,
    name: NewName = "",
    time_zone: Annotated[
        str, typer.Option("--time-zone", metavar="ZONE", help="where you are, else as this machine says")
    ] = "",
    every: Annotated[bool, typer.Option("--all", help="name every service, however many they are")] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="plan every target too, and keep the plans under a digest")
    ] = False,
    at_once: Annotated[int, typer.Option("--at-once", metavar="N", min=1, max=100, help="plans at once")] = 4,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Show what a campaign would do, to which services and when, without starting anything.

    Times are worked out from how long such operations took so far; they suppose that all succeed and that
    approvals are given at once. With --plan each target gets a dry run: what it would change and destroy, and what
    the policies say. `bond campaign run --pinned` keeps to such a preview.
    """
    from bondstone.cli.campaign import planning  # noqa: PLC0415 - see bondstone.cli.session

    data, where = _read(file)
    zone = _zone(time_zone)

    async def work(bond: Bondstone) -> PreviewDocument:
        with planning.shown(plan=plan) as on_target:
            return await bond.campaigns.preview(
                data, where, name=name, time_zone=zone, plan=plan, at_once=at_once, on_target=on_target
            )

    document = with_platform(work)

    def people() -> None:
        from bondstone.cli.campaign import views  # noqa: PLC0415 - see bondstone.cli.session

        views.preview(document, every=every)
        if document.plans:
            planning.show(document.plans, file=file, every=every)

    emit(document, output, people)


@app.command("list", epilog=examples("bond campaign list", "bond campaign list --watch"))
def list_(*, watch: ListWatch = False, output: Output = OutputFormat.TABLE) -> None:
    """List campaigns, newest first, for as long as Temporal remembers them."""
    from bondstone.cli.campaign import views  # noqa: PLC0415 - see bondstone.cli.session

    show_list(lambda bond: bond.campaigns.list(), views.rows, output, watch=watch)


@app.command(epilog=examples("bond campaign show cve-2026-1234", "bond campaign show cve-2026-1234 --watch"))
def show(
    name: Name,
    *,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="show it live until it has ended")] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Show a campaign: its waves, what runs, what failed, whom or what it waits for."""
    from bondstone.cli.campaign import views, watching  # noqa: PLC0415 - see bondstone.cli.session

    async def find(bond: Bondstone) -> CampaignDocument:
        if watch:
            return await watching.watch(bond, name, output)
        return await bond.campaigns.get(name)

    document = with_platform(find)
    emit(document, output, lambda: views.campaign(document))


@app.command(epilog=examples("bond campaign wait cve-2026-1234"))
def wait(name: Name, *, output: Output = OutputFormat.TABLE) -> None:
    """Watch a campaign until it has ended, waits for an approval, or its budget has paused it.

    Exit code 0 when it completed without a failure, 5 when a wave waits for an approval, else 1.
    """
    from bondstone.cli.campaign import views, watching  # noqa: PLC0415 - see bondstone.cli.session

    async def work(bond: Bondstone) -> CampaignDocument:
        return await watching.wait_for(bond, name, output)

    document = with_platform(work)
    emit(document, output, lambda: views.outcome(document))
    watching.finish(document)


@app.command(
    epilog=examples(
        "bond campaign report cve-2026-1234",
        "bond campaign report cve-2026-1234 -o html --to cve-2026-1234.html",
        "bond campaign report cve-2026-1234 -o junit > report.xml",
    )
)
def report(
    name: Name,
    *,
    output: Annotated[
        ReportFormat, typer.Option("--output", "-o", help="html is one page that can be mailed", show_default=True)
    ] = ReportFormat.TABLE,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="write it to this file instead", show_default=False)
    ] = None,
) -> None:
    """Report a campaign: who, what and why, what people did, and of each target what became of it.

    It can be had at any time, also long after the campaign and Temporal's memory of it have ended.
    """
    from bondstone.cli.campaign import views  # noqa: PLC0415 - see bondstone.cli.session

    document = with_platform(lambda bond: bond.campaigns.report(name))
    if output is ReportFormat.TABLE and to is None:
        views.report(document)
        return
    text = _rendered(document, output)
    if to is None:
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    from bondstone.base.errors import InvalidInput  # noqa: PLC0415 - see bondstone.cli.session

    try:
        to.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise InvalidInput(f"the report cannot be written: {error.strerror}", where=str(to)) from error
    note(f"{to}: {len(text.encode())} bytes")


app.registered_commands += verbs.registered_commands


# Helpers ----------------------------------------------------------------------------------------------------


def _rendered(document: CampaignReport, output: ReportFormat) -> str:
    from bondstone.base.errors import InvalidInput  # noqa: PLC0415
    from bondstone.campaign.report.formats import as_csv, as_junit  # noqa: PLC0415 - see bondstone.cli.session
    from bondstone.campaign.report.page import as_html  # noqa: PLC0415

    match output:
        case ReportFormat.JSON:
            return f"{json.dumps(plain(document), indent=2, ensure_ascii=False)}\n"
        case ReportFormat.CSV:
            return as_csv(document)
        case ReportFormat.JUNIT:
            return as_junit(document)
        case ReportFormat.HTML:
            return as_html(document)
        case ReportFormat.TABLE:
            raise InvalidInput(
                "a table cannot be written to a file", hint="choose -o json, csv, junit or html with --to"
            )


def _read(file: str) -> tuple[bytes, str]:
    """What a file holds, and how messages name it."""
    from bondstone.base.errors import InvalidInput, NotFound  # noqa: PLC0415 - see bondstone.cli.session
    from bondstone.documents.yaml_places import MAX_BYTES  # noqa: PLC0415

    try:
        with sys.stdin.buffer if file == "-" else Path(file).open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)  # reading it as a document refuses what is larger
    except FileNotFoundError as error:
        raise NotFound("there is no such file", where=file) from error
    except OSError as error:
        raise InvalidInput(f"the file cannot be read: {error.strerror}", where=file) from error
    return data, "standard input" if file == "-" else file


def _zone(option: str) -> str:
    """The IANA zone of who asks; empty when this machine does not say."""
    import os  # noqa: PLC0415 - only for a preview

    from bondstone.base.errors import InvalidInput  # noqa: PLC0415
    from bondstone.campaign.windows import zone_names  # noqa: PLC0415 - see bondstone.cli.session

    if option:
        if option not in zone_names():
            raise InvalidInput(f"there is not a time zone {option!r}", hint="an IANA name, as in Europe/London")
        return option
    link = Path("/etc/localtime")
    linked = str(link.resolve()).partition("zoneinfo/")[2] if link.is_symlink() else ""
    zone_name = os.environ.get("TZ", "").removeprefix(":") or linked
    return zone_name if zone_name in zone_names() else ""


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
