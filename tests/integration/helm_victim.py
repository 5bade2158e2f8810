"""A worker to be killed: upgrades one release as the executor does, in a process of its own.

python helm_victim.py ROOT KUBECONFIG NAMESPACE COLOUR
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from types import SimpleNamespace

from helm_kit import Bench

from tools.servers.kubernetes import STAYS_PENDING


async def main(root: str, kubeconfig: str, namespace: str, colour: str) -> None:
    plane = SimpleNamespace(kubeconfig=Path(kubeconfig))
    bench = await Bench.open(Path(root), plane, namespace)
    values = {"colour": colour, "annotations": {STAYS_PENDING: "yes"}, "options": {"timeout": "10m"}}
    planned = await bench.plan(**values)
    print("planned", flush=True)  # noqa: T201 - what the test waits for
    await bench.apply(planned, **values)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
