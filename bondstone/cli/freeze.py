"""`bond freeze`: times in which campaigns start nothing."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from bondstone.cli import completion
from bondstone.cli.session import with_platform
from bondstone.terminal.output import Output, OutputFormat, cell, emit, examples, say

app = typer.Typer(help="Times in which campaigns start nothing: create, list, delete.", no_args_is_help=True)

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="the freeze", show_default=False, autocompletion=completion.freezes)
]
_TIME = "RFC 3339, as in 2026-12-24T00:00:00Z; without an offset it is local time"
Begins = Annotated[str, typer.Option("--from", metavar="TIME", help=f"else now; {_TIME}")]
Ends = Annotated[str, typer.Option("--until", metavar="TIME", help="the end; else it lasts until it is deleted")]


@app.command(
    epilog=examples(
        "bond freeze create year-end --from 2026-12-24T00:00:00Z --until 2027-01-02T00:00:00Z --reason 'year end'",
        "bond freeze create audit --team payments --exempt EMG --reason 'the auditors are here'",
    )
)
def create(
    name: Name,
    *,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="why, for the record", show_default=False)
    ],
    team: Annotated[str, typer.Option("--team", metavar="T", help="of this team only")] = "",
    exempt: Annotated[
        list[str],
        typer.Option("--exempt", metavar="CLASS", help="allowed changes: EMG means EMG-17; may be repeated"),
    ] = [],  # noqa: B006 - typer copies it
    begins: Begins = "",
    ends: Ends = "",
    output: Output = OutputFormat.TABLE,
) -> None:
    """Let campaigns start nothing; what runs finishes. It binds campaigns that go on at once."""
    begins_at, ends_at = _time(begins, "--from"), _time(ends, "--until")
    document = with_platform(
        lambda bond: bond.freezes.create(
            name, team=team, exempt=exempt, reason=reason, begins_at=begins_at, ends_at=ends_at
        )
    )
    until = f"until {cell(document.ends_at)}" if document.ends_at else "until `bond freeze delete`"
    whose = f"team {document.team}" if document.team else "the whole platform"
    emit(document, output, lambda: say(f"freeze {name} of {whose} from {cell(document.begins_at)} {until}"))


@app.command("list", epilog=examples("bond freeze list", "bond freeze list --ended"))
def list_(
    *,
    ended: Annotated[bool, typer.Option("--ended", help="also those that have ended")] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """List the current and future freezes, by name."""
    from bondstone.cli.campaign import views  # noqa: PLC0415 - see bondstone.cli.session

    documents = with_platform(lambda bond: bond.freezes.list(ended=ended))
    emit(documents, output, lambda: views.freezes(documents))


@app.command(epilog=examples("bond freeze delete year-end"))
def delete(name: Name, *, output: Output = OutputFormat.TABLE) -> None:
    """End a freeze now; that there was one stays on record."""
    emit(
        with_platform(lambda bond: bond.freezes.delete(name)), output, lambda: say(f"freeze {name} has ended now")
    )


def _time(text: str, option: str) -> datetime | None:
    from bondstone.base.errors import InvalidInput  # noqa: PLC0415 - see bondstone.cli.session

    if not text:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(
            f"{text!r} is not a time", where=option, hint="write it as in 2026-12-24T00:00:00Z"
        ) from error
    return instant.astimezone() if instant.tzinfo is None else instant
