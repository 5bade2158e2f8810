"""Scratch directories of attempts, room on their disk, and a lock that outlives a killed worker with its tool."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psutil

from bondstone.activities.tooling.heartbeat import Pulse, Stop
from bondstone.base import files
from bondstone.base.errors import ToolUnavailable
from bondstone.model.service import ServiceId

RUN_MARK: Final = "BONDSTONE_RUN"
"""Environment variable by which the processes of an attempt are known, also after it has died."""

MIN_FREE_BYTES: Final = 128 * 1024 * 1024
"""Below this no tool is started: its state, its plan and its words go through this disk."""

_POLL_SECONDS: Final = 0.2
_KILLED_SECONDS: Final = 2.0
"""How long a killed process may take to end."""


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


class Scratch:
    """Below the work directory: `<tool>/runs` for attempts, `<tool>/locks` for steps.

    Args:
        work: The worker's scratch directory.
        tool: Name of the executor's own directory in it.
        more: Further directories beside those two.
        bury: Called with the directory of each attempt that has died, before it is removed.
    """

    def __init__(
        self, work: Path, tool: str, *, more: tuple[str, ...] = (), bury: Callable[[Path], object] | None = None
    ) -> None:
        self._root = work / tool
        self._bury = bury
        for name in ("runs", "locks", *more):
            (self._root / name).mkdir(parents=True, exist_ok=True, mode=0o700)

    @contextmanager
    def run(self, *, keep: bool = False) -> Iterator[Path]:
        """A private directory; what is written in it may be secret."""
        path = Path(tempfile.mkdtemp(prefix="run-", dir=self._root / "runs"))
        held = files.open_lock(path / "lock")
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
                if self._bury is not None:
                    self._bury(path)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(held)

    @contextmanager
    def lock_file(self, service: ServiceId, step: str) -> Iterator[int]:
        """An open file for each step; `locked` locks it, and every process that is started may inherit it."""
        held = files.open_lock(self._root / "locks" / f"{service.team}.{service.name}.{step}")
        try:
            yield held
        finally:
            os.close(held)


async def locked(held: int, pulse: Pulse, stop: Stop, *, tool: str) -> None:
    """Wait until no tool of an earlier attempt runs on this host: it may be undoing what it was interrupted in.

    Args:
        held: The open file that its processes have inherited.
        pulse: Says what is waited for.
        stop: Ends the wait.
        tool: What people call it.

    Raises:
        asyncio.CancelledError: when the attempt was asked to stop first.
    """
    while True:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pulse.note(f"waiting for the {tool} of an earlier attempt to end")
            await stop.unless(asyncio.sleep(_POLL_SECONDS))
        else:
            pulse.note("")
            return


def write_private(path: Path, data: bytes) -> Path:
    """Write a file that nobody else may read; its path."""
    files.write_private(path, data)
    return path


def _no_process(_process: psutil.Process) -> bool:
    return False


def kill_marked(
    run: Path,
    *,
    also: Callable[[psutil.Process], bool] = _no_process,
    spared: Callable[[psutil.Process], bool] = _no_process,
) -> int:
    """Kill every process of an attempt, and all that these have started, whatever session they are in.

    Args:
        run: The attempt's directory, which is the value of `RUN_MARK` in its processes.
        also: Which processes belong to it without the mark: some write over their environment.
        spared: Which stay, with what they have started.

    Returns:
        How many processes were killed.
    """
    marked: dict[int, psutil.Process] = {}
    kept = {os.getpid()}
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            belongs = process.environ().get(RUN_MARK) == str(run) or also(process)
            stays = spared(process)
            if belongs or stays:
                # one that a `sudo` has started has lost the mark, and is known by its parent
                family = {each.pid: each for each in (process, *process.children(recursive=True))}
                marked |= family
                if stays:
                    kept |= family.keys()
    doomed = [process for pid, process in marked.items() if pid not in kept]
    for process in doomed:
        with suppress(psutil.Error):
            process.kill()
    until = time.monotonic() + _KILLED_SECONDS
    while any(map(_runs, doomed)) and time.monotonic() < until:
        time.sleep(0.005)
    return len(doomed)


def _runs(process: psutil.Process) -> bool:
    """Whether a process still does anything: in a container nobody may collect what is left of a dead one."""
    try:
        return process.is_running() and bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
