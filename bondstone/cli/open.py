"""`bond open`: the console in a browser, signed in."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import quote

import typer

from bondstone.base.errors import Unreachable
from bondstone.cli import context
from bondstone.cli.context import run, settings
from bondstone.terminal.output import Output, OutputFormat, emit, examples, say

app = typer.Typer()


@app.command("open", epilog=examples("bond open", "bond open payments/orders --print"))
def open_console(
    path: Annotated[
        str, typer.Argument(metavar="[TEAM/NAME]", help="the page of this service", show_default=False)
    ] = "",
    *,
    print_only: Annotated[bool, typer.Option("--print", help="print the address, and open nothing")] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Open the console in a browser, signed in. The address works once, within a minute."""
    url = run(_address(f"/services/{path}" if path else "/"))
    if not print_only:
        import webbrowser  # noqa: PLC0415 - only here

        webbrowser.open(url)
    emit({"url": url}, output, lambda: say(url))


async def _address(path: str) -> str:
    from bondstone.identity.local_token import local_principal  # noqa: PLC0415 - heavy
    from bondstone.store import Store  # noqa: PLC0415 - heavy

    effective = settings()
    if not effective.api:
        raise Unreachable(
            "no API process serves the console here", hint="`bond up` starts one; `bond status` shows it"
        )
    store = await Store.open(effective)
    code = await store.sessions.issue_code(local_principal(context.actor()), now=datetime.now(UTC))
    return f"{effective.api.rstrip('/')}/sign-in/code?code={quote(code)}&next={quote(path)}"
