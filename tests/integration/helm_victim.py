"""A worker to be killed: upgrades one release as the executor does, in a process of its own.

python helm_victim.py ROOT KUBECONFIG NAMESPACE VALUES TOOL
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from types import SimpleNamespace

from helm_kit import Bench

from harness.servers.kubernetes import STAYS_PENDING


async def main(root: str, kubeconfig: str, namespace: str, values: str, tool: str) -> None:
    plane = SimpleNamespace(kubeconfig=Path(kubeconfig))
    bench = await Bench.open(Path(root), plane, namespace, tool=tool)
    inputs = {"annotations": {STAYS_PENDING: "yes"}, "options": {"timeout": "10m"}, **json.loads(values)}
    await bench.provision(**inputs)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
