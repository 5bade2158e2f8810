"""`bond notification`: who is told of what happens."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from bondstone.cli.session import with_api
from bondstone.terminal.output import Output, OutputFormat, cell, emit, examples, note, say, table

app = typer.Typer(
    help="Who is notified of what happens: create, list, test, deliveries, retry, delete.", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="name of the subscription", show_default=False)]


@app.command(
    epilog=examples(
        "bond notification create oncall --url https://hooks.example/bondstone",
        "bond notification create dba --url https://hooks.example/dba --kind approval --team payments",
    )
)
def create(
    name: Name,
    *,
    url: Annotated[str, typer.Option("--url", metavar="URL", help="where messages are sent", show_default=False)],
    kind: Annotated[
        list[str],
        typer.Option(
            "--kind", metavar="KIND", help="approval, operation, campaign, drift or denial; may be repeated"
        ),
    ] = [],  # noqa: B006 - typer copies it
    team: Annotated[list[str], typer.Option("--team", metavar="T", help="of this team; may be repeated")] = [],  # noqa: B006 - typer copies it
    output: Output = OutputFormat.TABLE,
) -> None:
    """Tell a receiver of what happens; the secret that messages are signed with is shown once."""
    body = {"name": name, "url": url, "kinds": kind, "teams": team}
    answer = with_api(lambda http: http.post("/notifications", body))
    note("keep it now: it is not shown again")
    emit(answer, output, lambda: say(answer["secret"]))


@app.command("list", epilog=examples("bond notification list"))
def list_(*, output: Output = OutputFormat.TABLE) -> None:
    """List who is told of what."""
    rows: list[dict[str, Any]] = with_api(lambda http: http.get("/notifications"))
    shown = [
        [row["name"], row["url"], ", ".join(row["kinds"]) or "all", ", ".join(row["teams"]) or "all"]
        for row in rows
    ]
    emit(rows, output, lambda: table(["name", "url", "kinds", "teams"], shown, empty="there are no subscriptions"))


@app.command("test", epilog=examples("bond notification test oncall"))
def send_test(name: Name, *, output: Output = OutputFormat.TABLE) -> None:
    """Send a receiver a test; `bond notification deliveries` says whether it arrived."""
    answer = with_api(lambda http: http.post(_path(name, "test")))
    emit(answer, output, lambda: say(f"sending {answer['event']} to {name}"))


@app.command(
    epilog=examples("bond notification deliveries", "bond notification deliveries oncall --status failed")
)
def deliveries(
    name: Annotated[str, typer.Argument(metavar="NAME", help="to this one only", show_default=False)] = "",
    *,
    status: Annotated[
        str, typer.Option("--status", metavar="STATUS", help="pending, delivered or failed only")
    ] = "",
    output: Output = OutputFormat.TABLE,
) -> None:
    """List what was sent, is on its way or did not arrive, the newest first."""
    query = {"subscription": name, "state": status}
    rows: list[dict[str, Any]] = with_api(lambda http: http.get("/notifications/deliveries", query))
    shown = [
        [row["event"], row["subscription"], row["status"], cell(row["attempts"] or ""), cell(row["error"])]
        for row in rows
    ]
    headers = ["event", "subscription", "status", "attempts", "why"]
    emit(rows, output, lambda: table(headers, shown, empty="nothing was sent"))


@app.command(epilog=examples("bond notification retry oncall payments/orders/op-7"))
def retry(
    name: Name,
    event: Annotated[str, typer.Argument(metavar="EVENT", help="id of the event", show_default=False)],
    *,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Send an event again that did not arrive."""
    answer = with_api(lambda http: http.post(_path(name, "retry"), {"event": event}))
    emit(answer, output, lambda: say(f"sending {event} to {name} again"))


@app.command(epilog=examples("bond notification delete oncall"))
def delete(name: Name, *, output: Output = OutputFormat.TABLE) -> None:
    """Tell a receiver no more."""

    async def run(http: Any) -> Any:
        return (await http.send("DELETE", _path(name))).json()

    answer = with_api(run)
    emit(answer, output, lambda: say(f"{answer['name']} is told no more"))


def _path(name: str, *more: str) -> str:
    from bondstone.client.http.transport import segments  # noqa: PLC0415 - --help is fast

    return segments("notifications", name, *more)
