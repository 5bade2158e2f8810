"""`bond token`: API tokens of programs."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from bondstone.cli.session import with_api
from bondstone.terminal.output import Output, OutputFormat, cell, emit, examples, note, say, table

SECONDS_A_DAY: Final = 86400

app = typer.Typer(help="API tokens of programs: create, list, revoke.", no_args_is_help=True)


@app.command(
    epilog=examples(
        "bond token create --name ci --role developer --team payments --expires 90d",
        "bond token create --name audit --role auditor --everywhere --expires 7d",
    )
)
def create(
    *,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="its name in lists", show_default=False)],
    role: Annotated[
        list[str],
        typer.Option(
            "--role", metavar="ROLE", help="as in developer or approver:dba; may be repeated", show_default=False
        ),
    ],
    team: Annotated[
        list[str], typer.Option("--team", metavar="T", help="where the roles hold; may be repeated")
    ] = [],  # noqa: B006 - typer copies it
    promise: Annotated[
        list[str], typer.Option("--promise", metavar="P", help="where the roles hold; may be repeated")
    ] = [],  # noqa: B006 - typer copies it
    label: Annotated[
        list[str], typer.Option("--label", metavar="KEY=VALUE", help="where the roles hold; may be repeated")
    ] = [],  # noqa: B006 - typer copies it
    everywhere: Annotated[bool, typer.Option("--everywhere", help="the roles hold everywhere")] = False,
    expires: Annotated[str, typer.Option("--expires", metavar="TIME", help="as in 90d; or `never`")] = "90d",
    output: Output = OutputFormat.TABLE,
) -> None:
    """Make an API token with roles that you have yourself; it is shown once."""
    body = {
        "name": name,
        "grants": [{"roles": role, "scope": _scope(team, promise, label, everywhere=everywhere)}],
        "days": _days(expires),
    }
    answer = with_api(lambda http: http.post("/tokens", body))
    note("keep it now: it is not shown again")
    emit(answer, output, lambda: say(answer["token"]))


@app.command("list", epilog=examples("bond token list", "bond token list --all -o json"))
def list_(
    *,
    every: Annotated[bool, typer.Option("--all", help="tokens of everybody; for administrators")] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """List your API tokens, the newest first, without their secrets."""
    rows: list[dict[str, Any]] = with_api(lambda http: http.get("/tokens", {"every": every}))
    shown = [
        [
            row["name"],
            row["status"],
            "; ".join(map(_grant, row["grants"])),
            row["created_by"],
            cell(row["expires_at"] or "never"),
            cell(row["last_used_at"] or "never"),
        ]
        for row in rows
    ]
    headers = ["name", "status", "roles", "by", "expires", "last used"]
    emit(rows, output, lambda: table(headers, shown, empty="there are no API tokens"))


@app.command(epilog=examples("bond token revoke ci"))
def revoke(
    name: Annotated[str, typer.Argument(metavar="NAME", help="name or id of the token", show_default=False)],
    *,
    output: Output = OutputFormat.TABLE,
) -> None:
    """End an API token at once."""

    async def run(http: Any) -> Any:
        from bondstone.client.http.transport import segments  # noqa: PLC0415 - --help is fast

        return (await http.send("DELETE", segments("tokens", name))).json()

    answer = with_api(run)
    emit(answer, output, lambda: say(f"revoked API token {answer['name']}"))


def _grant(grant: dict[str, Any]) -> str:
    """Roles and where they hold: `developer in team payments`."""
    from bondstone.model.identity import Roles  # noqa: PLC0415 - --help is fast

    granted = Roles.model_validate(grant)
    return f"{', '.join(granted.roles)} {granted.where()}"


def _scope(team: list[str], promise: list[str], label: list[str], *, everywhere: bool) -> Any:
    """A scope as access documents write it."""
    named = {
        "teams": team,
        "promises": promise,
        "labels": {key: value for key, equals, value in (text.partition("=") for text in label) if equals},
    }
    scope = {key: value for key, value in named.items() if value}
    if everywhere == bool(scope):
        from bondstone.base.errors import InvalidInput  # noqa: PLC0415 - only failures

        raise InvalidInput(
            "say where the roles hold", hint="--team, --promise or --label; or --everywhere and none of them"
        )
    return "everything" if everywhere else scope


def _days(text: str) -> int | None:
    from bondstone.base.errors import InvalidInput  # noqa: PLC0415 - only failures
    from bondstone.model.promise import seconds  # noqa: PLC0415 - --help is fast

    if text == "never":
        return None
    try:
        days, rest = divmod(seconds(text), SECONDS_A_DAY)
    except ValueError as error:
        raise InvalidInput(str(error), where="--expires") from None
    if rest:
        raise InvalidInput(f"{text!r} is not a number of days", where="--expires", hint="write 90d")
    return days
