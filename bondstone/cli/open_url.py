"""`bond open`: the page of a service, an operation or a campaign."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from bondstone.cli import context
from bondstone.cli.session import with_platform
from bondstone.terminal.output import Output, OutputFormat, emit, examples, is_terminal, note, say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bondstone.client import Bondstone

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
    """Open a page in the browser, and print its address; in a pipe the address is only printed."""
    from bondstone.base.errors import NotFound  # noqa: PLC0415 - see bondstone.cli.session

    url = _page(target)
    if not url:
        raise NotFound("the settings name no page", hint="set BOND_TEMPORAL_UI to the address of Temporal's UI")
    emit({"target": target or None, "url": url}, output, lambda: say(url))
    if print_it or not is_terminal(sys.stdout):
        return
    import webbrowser  # noqa: PLC0415 - only here

    if not webbrowser.open(url):
        note("no browser was found; open the address yourself")


def _page(target: str) -> str:
    """The address; empty when there is none."""
    if not target:
        return context.settings().temporal_ui

    async def links(bond: Bondstone) -> Mapping[str, str]:
        if "/op/" in target:
            return (await bond.operations.get(target)).links
        if "/" in target:
            return (await bond.services.get(target)).links
        return (await bond.campaigns.get(target)).links

    return next(iter(with_platform(links).values()), "")
