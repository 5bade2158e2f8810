"""The scratch directory of one attempt, gone with it, and a lock that outlives a killed worker with its Helm."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bondstone.activities.tooling.heartbeat import Pulse, Stop
from bondstone.model.service import ServiceId

DIRECTORY: Final = "helm"
_POLL_SECONDS: Final = 0.2


class Workspace:
    """Below the work directory: `helm/runs` for attempts, `locks` for steps, `charts` for what is pulled.

    Args:
        work: The worker's scratch directory.
    """

    def __init__(self, work: Path) -> None:
        self._root = work / DIRECTORY
        for name in ("runs", "locks", "charts"):
            (self._root / name).mkdir(parents=True, exist_ok=True, mode=0o700)

    @contextmanager
    def run(self, *, keep: bool = False) -> Iterator[Path]:
        """A private directory; values and manifests in it may be secret."""
        path = Path(tempfile.mkdtemp(prefix="run-", dir=self._root / "runs"))
        held = _open(path / "lock")
        fcntl.flock(held, fcntl.LOCK_EX)
        try:
            yield path
        finally:
            if not keep:
                shutil.rmtree(path, ignore_errors=True)
            os.close(held)

    def sweep(self) -> None:
        """Remove what dead attempts left: a directory whose lock can be taken belongs to none that lives."""
        for path in (self._root / "runs").iterdir():
            try:
                held = os.open(path / "lock", os.O_RDWR)
            except OSError:
                continue
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            else:
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(held)

    @contextmanager
    def lock_file(self, service: ServiceId, step: str) -> Iterator[int]:
        """An open file for each step; `locked` locks it, and every Helm that is started inherits it."""
        held = _open(self._root / "locks" / f"{service.team}.{service.name}.{step}")
        try:
            yield held
        finally:
            os.close(held)

    def pulled(self, sha256: str) -> Path:
        """Where a chart from elsewhere is kept."""
        return self._root / "charts" / f"{sha256}.tgz"


async def locked(held: int, pulse: Pulse, stop: Stop) -> None:
    """Wait until no Helm of an earlier attempt runs on this host: it may be undoing what it was interrupted in.

    Raises:
        asyncio.CancelledError: when the attempt was asked to stop first.
    """
    while True:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pulse.note("waiting for the helm of an earlier attempt to end")
            await stop.unless(asyncio.sleep(_POLL_SECONDS))
        else:
            pulse.note("")
            return


def write_private(path: Path, data: bytes) -> Path:
    """Write a file that nobody else may read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
    return path


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
