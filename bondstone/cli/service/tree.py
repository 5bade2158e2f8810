"""`bond service tree`: a service, its parts, and theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bondstone.cli.session import ServiceArgument, with_platform
from bondstone.terminal.output import Output, OutputFormat, emit, say

if TYPE_CHECKING:
    from bondstone.client import Bondstone

MAX_NODES = 1000


def tree(service: ServiceArgument, *, output: Output = OutputFormat.TABLE) -> None:
    """Show a service with its parts, and what it is a part of."""

    async def read(bond: Bondstone) -> dict[str, Any]:
        return await _node(bond, service, "", [MAX_NODES])

    root = with_platform(read)

    def people() -> None:
        for line in _lines(root, "", ""):
            say(line)
        if root["parents"]:
            say(f"a part of: {', '.join(root['parents'])}")

    emit(root, output, people)


async def _node(bond: Bondstone, service: str, name: str, left: list[int]) -> dict[str, Any]:
    """One service and what is below it; a shared part stands at each of its places."""
    from bondstone.base.errors import NotFound  # noqa: PLC0415 - see bondstone.cli.session

    left[0] -= 1
    try:
        document = await bond.services.get(service)
    except NotFound:
        return {"as": name, "id": service, "phase": "missing", "revision": "", "parents": [], "parts": []}
    parts = [await _node(bond, part, alias, left) for alias, part in document.parts.items() if left[0] > 0]
    return {
        "as": name,
        "id": document.id,
        "phase": str(document.phase),
        "health": str(document.health),
        "revision": document.revision,
        "parents": list(document.parents),
        "parts": parts,
    }


def _lines(node: dict[str, Any], first: str, rest: str) -> list[str]:
    alias = f"{node['as']}: " if node["as"] else ""
    lines = [f"{first}{alias}{node['id']}  {node['revision']}  {node['phase']}"]
    for index, part in enumerate(node["parts"]):
        last = index == len(node["parts"]) - 1
        lines += _lines(part, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "))
    return lines
