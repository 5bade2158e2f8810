"""`bond schedule`: campaigns that start by themselves, again and again."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bondstone.cli import completion
from bondstone.cli.session import Reason, with_platform
from bondstone.terminal.output import Output, OutputFormat, emit, examples, fields, note, say, table
from bondstone.terminal.times import duration

if TYPE_CHECKING:
    from bondstone.client import Bondstone
    from bondstone.client.documents.campaign import ZonedTime
    from bondstone.client.documents.schedule import ScheduleDocument

app = typer.Typer(help="Campaigns that start by themselves, from a strategy.", no_args_is_help=True)


class Overlap(StrEnum):
    """What `--overlap` takes; as `bondstone.model.campaign.schedule.Overlap`, which is too heavy for --help."""

    SKIP = "skip"
    BUFFER_ONE = "buffer-one"
    BUFFER_ALL = "buffer-all"
    CANCEL_OTHER = "cancel-other"
    ALLOW = "allow"


Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="the schedule", show_default=False, autocompletion=completion.schedules),
]
Cron = Annotated[
    str, typer.Option("--cron", metavar="LINE", help="when: five fields, in local time", show_default=False)
]
Zone = Annotated[str, typer.Option("--time-zone", metavar="ZONE", help="IANA zone of the cron line")]
Overlapping = Annotated[
    Overlap | None,
    typer.Option(
        "--overlap",
        help="of a run that is due while the one before runs: leave it out (skip), run one of them, or all, "
        "afterwards (buffer-one, buffer-all), abort the one before (cancel-other), run both (allow)",
        show_default=False,
    ),
]
Jitter = Annotated[
    str, typer.Option("--jitter", metavar="TIME", help="be late by a random part of this, as in 5m")
]
CatchUp = Annotated[
    str,
    typer.Option("--catch-up", metavar="TIME", help="how late a run may start after the platform was away"),
]
Count = Annotated[
    int, typer.Option("--next", metavar="N", min=0, max=1000, help="how many of its next times to show")
]


@app.command(
    epilog=examples(
        'bond schedule create nightly-patch -f strategy.yaml --cron "0 1 * * *" --time-zone Europe/Berlin',
        'bond schedule create drift -f reconcile.yaml --cron "30 5 * * MON-FRI" --overlap buffer-one --jitter 5m',
    )
)
def create(
    name: Name,
    *,
    file: Annotated[
        str, typer.Option("--file", "-f", metavar="FILE", help="the strategy; - is stdin", show_default=False)
    ],
    cron: Cron,
    time_zone: Zone = "UTC",
    overlap: Overlapping = None,
    jitter: Jitter = "",
    catch_up: CatchUp = "1h",
    reason: Reason = "",
    paused: Annotated[bool, typer.Option("--paused", help="do not begin yet")] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Start a campaign from a strategy at every time that a cron line means.

    Each campaign is named after the schedule and the time it was due, in UTC: nightly-patch-20261125-0000. The
    strategy must say what is done: operation, promise, select. By default a run is left out while the one before
    runs.
    """
    data, where = read(file)

    async def work(bond: Bondstone) -> ScheduleDocument:
        return await bond.schedules.create(
            name,
            data,
            where,
            cron=cron,
            time_zone=time_zone,
            overlap=overlap.value if overlap else "skip",
            jitter=length(jitter, "--jitter"),
            catch_up=length(catch_up, "--catch-up"),
            reason=reason,
            paused=paused,
        )

    shown(with_platform(work), output)


@app.command(
    epilog=examples(
        "bond schedule update nightly-patch -f strategy.yaml",
        'bond schedule update nightly-patch --cron "0 2 * * *" --reason "the backup ends at two"',
    )
)
def update(
    name: Name,
    *,
    file: Annotated[str, typer.Option("--file", "-f", metavar="FILE", help="another strategy; - is stdin")] = "",
    cron: Cron = "",
    time_zone: Annotated[str, typer.Option("--time-zone", metavar="ZONE", help="IANA zone of the cron line")] = "",
    overlap: Overlapping = None,
    jitter: Jitter = "",
    catch_up: CatchUp = "",
    reason: Reason = "",
    output: Output = OutputFormat.TABLE,
) -> None:
    """Change what is named; the rest stays, and so do campaigns that go on."""
    data, where = read(file) if file else (None, "")

    async def work(bond: Bondstone) -> ScheduleDocument:
        return await bond.schedules.update(
            name,
            data,
            where,
            cron=cron,
            time_zone=time_zone,
            overlap=overlap.value if overlap else None,
            jitter=length(jitter, "--jitter") if jitter else None,
            catch_up=length(catch_up, "--catch-up") if catch_up else None,
            reason=reason,
        )

    shown(with_platform(work), output)


@app.command("list", epilog=examples("bond schedule list", "bond schedule list -o json"))
def list_schedules(*, output: Output = OutputFormat.TABLE) -> None:
    """List every schedule, with when it is due next and what it started last."""
    rows = with_platform(lambda bond: bond.schedules.list())
    emit(
        rows,
        output,
        lambda: table(
            ["name", "cron", "zone", "operation", "promise", "next", "last", ""],
            [
                [
                    row.name,
                    row.cron,
                    row.time_zone,
                    row.operation,
                    row.promise,
                    row.next,
                    row.last,
                    row.note if row.paused else "",
                ]
                for row in rows
            ],
            empty="there is no schedule; `bond schedule create` makes one",
            wide=("zone", "promise", "last"),
        ),
    )


@app.command(
    epilog=examples("bond schedule show nightly-patch", "bond schedule show nightly-patch --next 30 -o json")
)
def show(
    name: Name,
    *,
    count: Count = 5,
    local: Annotated[str, typer.Option("--local", metavar="ZONE", help="show times in this zone too")] = "",
    output: Output = OutputFormat.TABLE,
) -> None:
    """Show when a schedule is due (there and in UTC), what it ran, what it missed and who changed it."""
    shown(with_platform(lambda bond: bond.schedules.get(name, count=count, time_zone=local)), output)


@app.command(epilog=examples('bond schedule pause nightly-patch --reason "end of quarter, CHG-12"'))
def pause(
    name: Name,
    *,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="why, for the record", show_default=False)
    ],
    output: Output = OutputFormat.TABLE,
) -> None:
    """Start nothing on its own from now on; running campaigns are not touched."""
    shown(with_platform(lambda bond: bond.schedules.pause(name, reason=reason)), output)


@app.command(epilog=examples("bond schedule resume nightly-patch"))
def resume(name: Name, *, reason: Reason = "", output: Output = OutputFormat.TABLE) -> None:
    """Start campaigns again. What was due meanwhile stays missed; `backfill` runs it."""
    shown(with_platform(lambda bond: bond.schedules.resume(name, reason=reason)), output)


@app.command(epilog=examples("bond schedule trigger nightly-patch --reason 'the fix is out'"))
def trigger(
    name: Name, *, overlap: Overlapping = None, reason: Reason = "", output: Output = OutputFormat.TABLE
) -> None:
    """Start its campaign now, also while it is paused."""

    async def work(bond: Bondstone) -> str:
        return await bond.schedules.trigger(name, overlap=overlap.value if overlap else None, reason=reason)

    campaign = with_platform(work)

    def people() -> None:
        if campaign:
            say(f"campaign {campaign} started")
            note(f"watch it with `bond campaign show {campaign} --watch`")
        else:
            say("no campaign started so far: another one runs, or no control worker answers")
            note("--overlap allow starts it beside the other one")

    emit({"schedule": name, "campaign": campaign or None}, output, people)


@app.command(
    epilog=examples(
        "bond schedule backfill nightly-patch --from 2026-11-20 --to 2026-11-24",
        "bond schedule backfill nightly-patch --from 2026-11-20T01:00+01:00 --to 2026-11-20T01:00+01:00",
    )
)
def backfill(
    name: Name,
    *,
    begin: Annotated[
        str, typer.Option("--from", metavar="TIME", help="the first, in the schedule's zone", show_default=False)
    ],
    end: Annotated[
        str, typer.Option("--to", metavar="TIME", help="the last, in the schedule's zone", show_default=False)
    ],
    overlap: Overlapping = None,
    reason: Reason = "",
    output: Output = OutputFormat.TABLE,
) -> None:
    """Start the campaigns of times that have passed; by default one after the other. None is run twice."""

    async def work(bond: Bondstone) -> tuple[datetime, ...]:
        zone = (await bond.schedules.get(name, count=0)).time_zone
        first, last = instant(begin, zone, "--from"), instant(end, zone, "--to")
        return await bond.schedules.backfill(
            name, first, last, overlap=overlap.value if overlap else "buffer-all", reason=reason
        )

    times = with_platform(work)
    emit(
        {"schedule": name, "times": list(times)},
        output,
        lambda: say(f"{len(times)} campaign{'' if len(times) == 1 else 's'} started or waiting"),
    )


@app.command(epilog=examples("bond schedule delete nightly-patch --reason 'replaced by weekly-patch'"))
def delete(name: Name, *, reason: Reason = "", output: Output = OutputFormat.TABLE) -> None:
    """Let it start nothing more. Campaigns that go on are not touched, and its ledger stays."""
    with_platform(lambda bond: bond.schedules.delete(name, reason=reason))
    emit({"schedule": name, "deleted": True}, output, lambda: say(f"schedule {name} is deleted"))


# Helpers ----------------------------------------------------------------------------------------------------


def shown(document: ScheduleDocument, output: OutputFormat) -> None:
    """Print a schedule."""
    emit(document, output, lambda: _people(document))


def read(file: str) -> tuple[bytes, str]:
    """A file's bytes, or those of standard input, and its name for messages."""
    import sys  # noqa: PLC0415 - two commands

    from bondstone.base.errors import InvalidInput  # noqa: PLC0415 - see bondstone.cli.session

    if file == "-":
        return sys.stdin.buffer.read(), "standard input"
    try:
        return Path(file).read_bytes(), file
    except OSError as error:
        raise InvalidInput(f"the file cannot be read: {error.strerror}", where=file) from error


def length(text: str, option: str) -> timedelta:
    """A duration as people write it; nothing is none."""
    from bondstone.base.errors import InvalidInput  # noqa: PLC0415 - see bondstone.cli.session
    from bondstone.model.promise import seconds  # noqa: PLC0415

    try:
        return timedelta(seconds=seconds(text)) if text else timedelta(0)
    except ValueError as error:
        raise InvalidInput(str(error), where=option) from None


def instant(text: str, time_zone: str, option: str) -> datetime:
    """A time as people write it; in the schedule's zone unless it says another offset."""
    from bondstone.base.errors import InvalidInput  # noqa: PLC0415
    from bondstone.campaign.windows import zone  # noqa: PLC0415 - see bondstone.cli.session

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(
            f"{text!r} is not a time", where=option, hint="write 2026-11-20 or 2026-11-20T01:00"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=zone(time_zone))


def _people(document: ScheduleDocument) -> None:
    fields(
        {
            "schedule": document.name,
            "when": f"{document.cron} in {document.time_zone}",
            "does": f"{document.operation} {document.promise}".strip() + f", strategy {document.strategy}",
            "why": document.reason,
            "as": document.requested_by,
            "state": f"paused: {document.note}" if document.paused else "active",
            "overlap": document.overlap,
            "jitter": duration(timedelta(seconds=document.jitter_seconds)) if document.jitter_seconds else "",
            "catch-up": duration(timedelta(seconds=document.catch_up_seconds)),
            "created": f"{document.created_at:%Y-%m-%d %H:%M:%SZ} by {document.created_by}",
            "running": document.running,
            "waiting": [f"due {_utc(at)}" for at in document.waiting],
        }
    )
    if document.zone_data != "ours":
        whose = "the Temporal server's own" if document.zone_data == "server" else "another version's"
        note(f"its times are by {whose} data of {document.time_zone}, and windows are by this version's")
        note(f"`bond schedule update {document.name}` has both use the same")
    if document.next:
        say()
        zones = list(document.next[0].local)
        table(["next", *zones], [[_utc(at), *at.local.values()] for at in document.next])
    if document.runs:
        say()
        table(
            ["campaign", "was due", "started", "status"],
            [[run.campaign, run.planned_at, run.started_at, run.status] for run in document.runs],
        )
    if document.missed:
        say()
        zones = list(document.misses[0].at.local) if document.misses else []
        table(["missed", *zones, "why"], [[_utc(it.at), *it.at.local.values(), it.why] for it in document.misses])
        if document.missed > len(document.misses):
            note(f"{document.missed} in all")
        note(f"`bond schedule backfill {document.name}` runs times that have passed")
    if document.acts:
        say()
        table(["done", "at", "by", "note"], [[act.what, act.at, act.by, act.note] for act in document.acts])


def _utc(at: ZonedTime) -> str:
    return f"{at.utc:%Y-%m-%d %H:%M:%SZ}"
