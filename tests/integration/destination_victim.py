"""A worker to be killed: applies one stored plan of a step with a destination as the executor does.

python destination_victim.py ROOT SETTINGS POSITION [STOP_AFTER]

With STOP_AFTER it stands still, for ever, once so many objects of a bucket are written or removed.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from destination_kit import DestinationBench

from bondstone.activities.kratix import executor as kratix
from bondstone.activities.kratix.destination.bucket import Bucket
from bondstone.base.settings import Settings
from bondstone.store import Store

MARK = "stands-still"


async def main(root: Path, settings: Settings, position: int, stop_after: int | None) -> None:
    bench = DestinationBench(await Store.open(settings), settings)
    kratix._rendered = bench.rendered  # no container runs here
    if stop_after is not None:
        stand_still(root / MARK, stop_after)
    artefact = await asyncio.to_thread((root / "plan").read_bytes)
    await bench.executor.apply(bench.context(), artefact, position)


def stand_still(mark: Path, after: int) -> None:
    """Let so many changes through, and none after it."""
    left = [after]
    key = Bucket._key

    def counted(self: Bucket, path: str) -> str:
        if not left[0]:
            mark.touch()
            signal.pause()  # the whole process stands still, as one that is about to die
        left[0] -= 1
        return key(self, path)

    Bucket._key = counted  # type: ignore[method-assign]


if __name__ == "__main__":
    folder, told, where, *stop = sys.argv[1:]
    asyncio.run(main(Path(folder), Settings.model_validate_json(told), int(where), int(stop[0]) if stop else None))
