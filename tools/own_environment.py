"""A Python environment of its own below `.tools`, from pins with hashes, for what cannot live beside ours."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def install(folder: Path, pins: Path, interpreter: str) -> None:
    """Make the environment anew, unless it was made from these pins.

    Args:
        folder: Where it is.
        pins: Its requirements, with hashes.
        interpreter: The Python that it is made by.

    Raises:
        subprocess.CalledProcessError: pip cannot install them; its own words are on standard error.
    """
    mark = fingerprint(pins)
    if is_current(folder, mark):
        return
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([interpreter, "-m", "venv", folder], check=True)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*map(str, pip), "--require-hashes", "-r", str(pins)], check=True)
    finish(folder, mark)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep others from installing in a folder meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def fingerprint(pins: Path) -> str:
    """What tells these pins from others."""
    return hashlib.sha256(pins.read_bytes()).hexdigest()


def is_current(folder: Path, mark: str) -> bool:
    """Whether a folder was finished with this fingerprint."""
    try:
        return (folder / ".pins").read_text(encoding="utf-8") == mark
    except OSError:
        return False


def finish(folder: Path, mark: str) -> None:
    """Note, last of all, what a folder was made from."""
    new = folder / ".pins.new"
    new.write_text(mark, encoding="utf-8")
    os.replace(new, folder / ".pins")  # noqa: PTH105 - as said
    print(f"{folder.name}: installed")
