"""A worker to be killed: applies one stored plan as the executor does.

python container_victim.py ROOT ENGINE IMAGE URL NAME POSITION [MORE SETTINGS, JSON]
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from container_kit import Bench


async def main(root: str, *told: str) -> None:
    command, image, url, name, position, *settings = told
    bench = await Bench.open(Path(root), command, image, url, name, **json.loads("".join(settings) or "{}"))
    artefact = await asyncio.to_thread((Path(root) / "plan").read_bytes)
    await bench.executor.apply(bench.context(attempt="victim"), artefact, int(position))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
