"""Files that an image may have written. The collector of Jobs imports this, so it imports no models."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

MAX_FILE_BYTES: Final = 1 << 20
"""Largest file that is read of what an image has written."""


def read_plain_file(path: Path) -> bytes | None:
    """What a plain file holds; None when there is none.

    Raises:
        OSError: when it cannot be read, as a link.
        ValueError: when it is no plain file, or too large.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    with os.fdopen(file, "rb") as reader:
        status = os.fstat(reader.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is something else")
        if status.st_size > MAX_FILE_BYTES:
            raise ValueError(f"it has {status.st_size} bytes")
        return reader.read(MAX_FILE_BYTES)
