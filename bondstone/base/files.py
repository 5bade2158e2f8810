"""Files that only their owner may read, written whole or not at all, and flushed before anyone is told.

`write_private` is the one way to write such a file: key rings, tokens, states, plans, variables, kubeconfigs. A
local store adds directories and their flush (`write_durably`). What is too large for memory, or is locked before
it gets its name, begins with `create_private`. No other module opens such a file.

obstore's own local store makes files readable by everyone and does not flush them, so that a power cut may leave
an empty object under a name that put-if-absent then guards for ever. Reading and listing stay with obstore.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path


def create_private_directory(path: Path) -> None:
    """Make a directory, and those above it that are missing, for the owner only. An existing one is left as is."""
    if path.is_dir():
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)


def open_private(path: Path) -> int:
    """A descriptor to read and to append to a file; one that is made is for its owner only."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)


def create_private(path: Path) -> int:
    """A descriptor to write a new file of mode 0600.

    Raises:
        FileExistsError: There is such a file.
    """
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def open_lock(path: Path) -> int:
    """A descriptor to lock; a file that is made is for its owner only."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def write_private(path: Path, data: bytes, *, create: bool = False, flush: bool = True) -> bool:
    """Write a file of mode 0600, at once or not at all, with its content flushed to the disk.

    Args:
        path: The file; its directory must exist.
        data: The content.
        create: Leave an existing file alone, and say so.
        flush: False for what is worth nothing after a power cut: then the file may be empty or the old one.

    Returns:
        False when `create` was asked for and the file exists.

    Raises:
        OSError: The disk does not take it. Nothing is left behind, and an old file is as it was.
    """
    # obstore's listing leaves out names that end in `#` and digits: what a crash leaves is no object.
    staged = path.with_name(f"{path.name}#{secrets.randbits(63)}")
    try:
        with os.fdopen(create_private(staged), "wb") as file:
            file.write(data)
            if flush:
                file.flush()
                os.fsync(file.fileno())
        if create:
            try:
                os.link(staged, path)
            except FileExistsError:
                return False
        else:
            staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)
    return True


def write_durably(root: Path, key: str, data: bytes, *, create: bool) -> bool:
    """Write the file `root/key` at once or not at all, flushed to the disk.

    Args:
        root: The directory of the store.
        key: The file below it; directories on the way are made.
        data: The content.
        create: Leave an existing file alone, and say so.

    Returns:
        False when `create` was asked for and the file exists.
    """
    path = root / key
    made = _make_directories(path.parent)
    if not write_private(path, data, create=create):
        return False
    for directory in {path.parent, *made}:
        _flush_directory(directory)
    return True


def remove(root: Path, keys: Sequence[str]) -> None:
    """Remove files; those that are not there do not matter (obstore's local store stops at the first of them)."""
    for key in keys:
        (root / key).unlink(missing_ok=True)


def _make_directories(directory: Path) -> list[Path]:
    """Make what is missing, 0700; the directories whose list of entries changed."""
    missing = []
    here = directory
    while not here.is_dir():
        missing.append(here)
        here = here.parent
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)
    return [path.parent for path in missing]


def _flush_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
