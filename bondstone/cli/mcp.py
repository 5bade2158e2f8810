"""`bond mcp`: the platform as tools for an agent on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from bondstone.base.extras import require
from bondstone.cli.session import with_api
from bondstone.terminal.output import examples

if TYPE_CHECKING:
    from bondstone.client.http.transport import Transport

app = typer.Typer()


@app.command(epilog=examples("bond mcp", "BOND_API=https://bond.example BOND_TOKEN=… bond mcp"))
def mcp() -> None:
    """Serve the platform's tools to an agent over standard input and output, in your name and with your roles.

    An agent's settings name it as a server of the Model Context Protocol, with the command `bond mcp`. An agent
    previews by dry runs, changes only what it has previewed, and never approves. The API serves the same at /mcp.
    """
    require("server")

    async def serve(http: Transport) -> None:
        from bondstone.agents.server import create_server  # noqa: PLC0415 - heavy, and only for this

        await http.get("/whoami")
        await create_server(lambda _: http).run_stdio_async()

    with_api(serve)
