"""A worker to be killed: applies one stored plan as the executor does, and says each thing that it logs.

python kubernetes_victim.py ROOT KUBECONFIG NAMESPACE POSITION
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from kubernetes_kit import Bench


class _Said(list[str]):
    def append(self, line: str) -> None:
        print(line, flush=True)  # noqa: T201 - what the test waits for


async def main(root: str, kubeconfig: str, namespace: str, position: str) -> None:
    bench = await Bench.open(Path(root), Path(kubeconfig), namespace)
    bench.log = _Said()
    artefact = await asyncio.to_thread((Path(root) / "plan").read_bytes)
    await bench.executor.apply(bench.context(attempt="victim"), artefact, int(position))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
