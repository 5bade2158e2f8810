"""`bond open`: the console in a browser, at the page of a service, an operation or a campaign."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import quote

import typer

from bondstone.cli import context
from bondstone.terminal.output import Output, OutputFormat, emit, examples, is_terminal, note, say

app = typer.Typer()


@app.command(
    "open",
    epilog=examples("bond open", "bond open payments/orders", "bond open payments/orders/op/7 --print"),
)
def open_(
    target: Annotated[
        str,
        typer.Argument(
            metavar="[TARGET]",
            help="TEAM/NAME, TEAM/NAME/op/N or a campaign; else the platform",
            show_default=False,
        ),
    ] = "",
    *,
    print_it: Annotated[bool, typer.Option("--print", help="print the address and open nothing")] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Open the console and print the address; in a pipe the address is only printed.

    Whoever holds the platform's data directory is signed in by it, once. Elsewhere the console asks who you are.
    """
    url = context.run(_address(_page(target)))
    emit({"target": target or None, "url": url}, output, lambda: say(url))
    if print_it or not is_terminal(sys.stdout):
        return
    import webbrowser  # noqa: PLC0415 - only here

    if not webbrowser.open(url):
        note("no browser was found; open the address yourself")


def _page(target: str) -> str:
    """The console's path of a service, an operation, a campaign, or home."""
    service, _, number = target.partition("/op/")
    if number:
        return f"/services/{service}/operations/{number}"
    return f"/services/{target}" if "/" in target else f"/campaigns/{target}" if target else "/"


async def _address(path: str) -> str:
    from bondstone.base.data_directory import LOCAL_TOKEN_FILE  # noqa: PLC0415 - see bondstone.cli.session
    from bondstone.base.errors import Unreachable  # noqa: PLC0415
    from bondstone.identity.local_token import local_principal  # noqa: PLC0415
    from bondstone.store import Store  # noqa: PLC0415

    settings = context.settings()
    if not settings.api:
        raise Unreachable("no API process serves the console here", hint="`bond up` starts one")
    if not (settings.data / LOCAL_TOKEN_FILE).exists():
        return f"{settings.api.rstrip('/')}{path}"
    store = await Store.open(settings)
    code = await store.sessions.issue_code(local_principal(context.actor()), now=datetime.now(UTC))
    return f"{settings.api.rstrip('/')}/sign-in/code?code={quote(code)}&next={quote(path)}"
