"""A worker to be killed: applies the stored plan of a bench in a process of its own. Run by the kill tests."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import terraform_kit as kit


async def main(root: str, binary: str, made: str, attempt: str) -> None:
    bench = await kit.Bench.open(Path(root), binary)
    planned = await bench.plan(made=made, pause=0.8)
    await bench.executor.apply(bench.context(attempt=attempt, made=made), planned.artefact, planned.position)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
