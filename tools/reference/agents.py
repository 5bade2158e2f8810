"""What agents may do: `docs/reference/agents.md`, from the tools themselves."""

from __future__ import annotations

import asyncio
from typing import Final

from bondstone.agents.bounds import MAX_CHARS, MAX_ITEMS, MAX_TEXT
from bondstone.agents.server import create_server
from bondstone.agents.tools import MAX_LOG_LINES, NOTICE, PREVIEW_LIFETIME
from bondstone.client.http.address import ApiAddress
from bondstone.client.http.transport import Transport
from tools.docstrings import cell

PAGE: Final = "docs/reference/agents.md"


def text() -> str:
    """The page."""
    server = create_server(lambda _: Transport(ApiAddress("http://127.0.0.1", "")))
    lines = [
        "# Tools for agents",
        "",
        "Offered by `bond mcp` over standard input and output, and by the API at `/mcp`, to the Model Context Protocol's",
        "revision 2026-07-28 and to older clients. Each call is made in the caller's name: see",
        "[use it with an agent](../how-to/use-with-an-agent.md).",
        "",
        "| tool | arguments | changes | what it does |",
        "|---|---|---|---|",
    ]
    for tool in asyncio.run(server.list_tools()):
        properties = tool.input_schema.get("properties", {})
        required = set(tool.input_schema.get("required", ()))
        arguments = ", ".join(f"`{name}`" if name in required else f"[`{name}`]" for name in properties)
        hints = tool.annotations
        changes = "nothing"
        if hints is not None and not hints.read_only_hint:
            changes = "may destroy" if hints.destructive_hint else "adds"
            changes = "records a dry run" if tool.name.startswith("preview") else changes
        lines.append(f"| `{tool.name}` | {arguments or '-'} | {changes} | {cell(tool.description or '')} |")
    minutes = int(PREVIEW_LIFETIME.total_seconds() // 60)
    return "\n".join(
        [
            *lines,
            "",
            "Arguments in brackets may be left out. Every answer has `notice`, `data` and `truncated`. The notice reads:",
            "",
            f"> {NOTICE}",
            "",
            f"An answer is at most {MAX_CHARS:,} characters of JSON; a text in it {MAX_TEXT:,}, a list {MAX_ITEMS} items,",
            f"a log {MAX_LOG_LINES} lines.",
            f"A preview is good for {minutes} minutes, for its own caller, and for exactly what was previewed.",
            "No tool approves or rejects.",
        ]
    )
