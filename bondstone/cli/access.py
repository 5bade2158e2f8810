"""`bond access`: who may do what, by the published access document."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from bondstone.cli.session import with_api, with_platform
from bondstone.terminal.output import Output, OutputFormat, cell, emit, examples, note, say, table

EXIT_REFUSED: Final = 4

app = typer.Typer(
    help="Who may do what: publish and read the access document, ask it, and list who was refused.",
    no_args_is_help=True,
)

File = Annotated[Path, typer.Argument(metavar="FILE", help="the access document", show_default=False)]


@app.command(epilog=examples("bond access publish access.yaml"))
def publish(file: File, *, output: Output = OutputFormat.TABLE) -> None:
    """Check an access document and put it in force; what is in force already changes nothing."""
    source = _text(file)
    answer = with_api(lambda http: http.post("/access", {"source": source}))
    word = "published" if answer["published"] else "unchanged"
    version = answer["access"]["version"]
    emit(answer, output, lambda: say(f"{word} access document {version} sha256:{answer['access']['digest']}"))


@app.command(epilog=examples("bond access validate access.yaml"))
def validate(file: File, *, output: Output = OutputFormat.TABLE) -> None:
    """Check an access document on this machine; every mistake with its line and column. Nothing is published."""
    source = _text(file)
    document = with_platform(lambda bond: bond.access.validate(source, str(file)))
    answer = {"file": str(file), "grants": len(document.spec.grants)}
    emit(answer, output, lambda: say(f"{file} is valid: {answer['grants']} grants"))


@app.command("list", epilog=examples("bond access list"))
def list_(*, output: Output = OutputFormat.TABLE) -> None:
    """List access documents, the newest first; that one is in force."""
    rows: list[dict[str, Any]] = with_api(lambda http: http.get("/access"))
    shown = [
        [str(row["version"]), str(row["grants"]), row["published_by"], cell(row["published_at"]), row["reason"]]
        for row in rows
    ]
    headers = ["version", "grants", "by", "published", "reason"]
    emit(rows, output, lambda: table(headers, shown, empty="no access document is published"))


@app.command(epilog=examples("bond access show", "bond access show -o json"))
def show(*, output: Output = OutputFormat.TABLE) -> None:
    """Show the access document in force, as it was written."""
    answer = with_api(lambda http: http.get("/access/current"))
    emit(answer, output, lambda: say(answer["source"].rstrip() or "(its source was not kept)"))


@app.command(
    epilog=examples(
        "bond access can service.update --team payments",
        "bond access can approval.approve --team payments --promise postgres",
    )
)
def can(
    verb: Annotated[
        str, typer.Argument(metavar="VERB", help="as in service.update; the docs list them", show_default=False)
    ],
    *,
    team: Annotated[str, typer.Option("--team", metavar="T", help="of which team")] = "",
    promise: Annotated[str, typer.Option("--promise", metavar="P", help="of which promise")] = "",
    label: Annotated[
        list[str], typer.Option("--label", metavar="KEY=VALUE", help="with this label; may be repeated")
    ] = [],  # noqa: B006 - typer copies it
    output: Output = OutputFormat.TABLE,
) -> None:
    """Say whether you may do something; exit status 4 when you may not."""
    query: dict[str, Any] = {"verb": verb, "team": team, "promise": promise, "label": label}
    answer = with_api(lambda http: http.get("/access/can", query))
    emit(answer, output, lambda: _answer(answer))
    if not answer["allowed"]:
        raise typer.Exit(EXIT_REFUSED)


@app.command(
    epilog=examples(
        "bond access refusals",
        "bond access refusals --by ada@example.com --since 7d",
        "bond access refusals --code FORBIDDEN",
    )
)
def refusals(
    *,
    by: Annotated[str, typer.Option("--by", metavar="WHO", help="of this caller only")] = "",
    code: Annotated[str, typer.Option("--code", metavar="CODE", help="of this error only, as in FORBIDDEN")] = "",
    text: Annotated[str, typer.Option("--text", metavar="TEXT", help="part of verb, target or message")] = "",
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help="how far back, as in 12h; at most 31d")
    ] = "1d",
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, max=500, help="how many to list at most")
    ] = 100,
    output: Output = OutputFormat.TABLE,
) -> None:
    """List who was refused access to what, counted by the hour, the newest first."""
    query: dict[str, Any] = {"by": by, "code": code, "text": text, **_span(since), "limit": limit}
    answer = with_api(lambda http: http.get("/refusals", query))
    names = ("verb", "target", "count", "code", "message")
    shown = [
        [cell(row["last_at"]), row["by"] or "(not known)", *(cell(row[name]) for name in names)]
        for row in answer["items"]
    ]
    headers = ["last", "by", "verb", "target", "times", "code", "why"]
    emit(
        answer["items"], output, lambda: table(headers, shown, empty="nobody was refused anything", wide=("why",))
    )
    if answer["next"]:
        note(f"there are more than {limit}: name a caller or a code, or raise --limit")


def _span(since: str) -> dict[str, str]:
    """From when to when is searched: both by this clock, so that the longest search is not too long by its way."""
    from datetime import UTC, datetime, timedelta  # noqa: PLC0415 - --help is fast

    from bondstone.base.errors import InvalidInput  # noqa: PLC0415 - only failures
    from bondstone.model.promise import seconds  # noqa: PLC0415 - --help is fast

    now = datetime.now(UTC)
    try:
        return {"since": (now - timedelta(seconds=seconds(since))).isoformat(), "until": now.isoformat()}
    except ValueError as error:
        raise InvalidInput(str(error), where="--since", hint="write 12h, or 7d") from None


def _answer(answer: dict[str, Any]) -> None:
    say(answer["message"])
    if answer["hint"]:
        say(answer["hint"])


def _text(file: Path) -> str:
    from bondstone.base.errors import NotFound  # noqa: PLC0415 - only failures need it

    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NotFound(f"the access document cannot be read: {error}", where=str(file)) from None
