"""Whether a worker is well, for probes of containers: `python -m bondstone.workers.health`.

A worker that Temporal sees polling touches the file of the setting `health_file` (`BOND_HEALTH_FILE`) every few
seconds, from its event loop: one that hangs lets the file grow old. It removes the file when it is told to stop.
A worker that cannot reach Temporal for a while is well: starting it again would help nobody.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Final

BEAT_SECONDS: Final = 5.0
MAX_AGE_SECONDS: Final = 30.0
VARIABLE: Final = "BOND_HEALTH_FILE"


async def keep_beating(path: Path) -> None:
    """Touch the file until cancelled, then remove it."""
    try:
        while True:
            await asyncio.to_thread(path.touch, 0o600)
            await asyncio.sleep(BEAT_SECONDS)
    finally:
        path.unlink(missing_ok=True)  # noqa: ASYNC240 - cancelled, there is nothing more to await


def problem(path: Path, *, now: float | None = None) -> str:
    """What is wrong with the worker that touches a file; empty when nothing is.

    Args:
        path: The file.
        now: Seconds since the epoch; default: the clock's.
    """
    try:
        age = (time.time() if now is None else now) - path.stat().st_mtime
    except FileNotFoundError:
        return "the worker is not ready yet, or it is stopping"
    return f"the worker's event loop has not run for {age:.0f} s" if age > MAX_AGE_SECONDS else ""


def main() -> int:
    """Exit status 0: well."""
    path = os.environ.get(VARIABLE)
    unhealthy = problem(Path(path)) if path else f"{VARIABLE} is not set"
    if unhealthy:
        sys.stderr.write(f"{unhealthy}\n")
    return int(bool(unhealthy))


if __name__ == "__main__":
    sys.exit(main())
