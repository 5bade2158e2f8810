"""`bond open`: the console in a browser, at the page of a service, an operation or a campaign."""

from __future__ import annotations

import sys
from typing import Annotated

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
    from bondstone.client.local.console_link import console_link  # noqa: PLC0415 - see bondstone.cli.session

    url = context.run(console_link(context.settings(), target, by=context.actor()))
    emit({"target": target or None, "url": url}, output, lambda: say(url))
    if print_it or not is_terminal(sys.stdout):
        return
    import webbrowser  # noqa: PLC0415 - only here

    if not webbrowser.open(url):
        note("no browser was found; open the address yourself")
