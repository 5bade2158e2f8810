"""Room on the worker's disk: a tool that cannot write down what it has made forgets it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from bondstone.base.errors import ToolUnavailable

MIN_FREE_BYTES: Final = 128 * 1024 * 1024
"""Below this no tool is started: its state, its plan and its words go through this disk."""


def require_room(work: Path) -> None:
    """Refuse to start a tool while the disk of the worker's scratch directory is nearly full.

    Args:
        work: The directory; it need not be there yet.

    Raises:
        ToolUnavailable: until there is room, or another worker takes the work.
    """
    folder = next(path for path in (work, *work.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    if free < MIN_FREE_BYTES:
        raise ToolUnavailable(
            f"the worker's disk has {free // 2**20} MiB left; a tool needs at least {MIN_FREE_BYTES // 2**20} MiB",
            where=str(work),
            hint="free some space there, or stop this worker and let another of the pool take the work",
        )
