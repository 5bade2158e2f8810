"""Who holds a state, and whether that process is provably dead."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from bondstone.base.models import Wire


class Holder(Wire):
    """One attempt in one process on one machine: what a claim names."""

    attempt: str
    host: str = ""
    boot_id: str = ""
    """Random for each boot of a kernel; empty where the system has none."""
    pid_namespace: str = ""
    """Containers of one machine share its boot id, but number their processes each for itself."""
    pid: int = 0
    pid_started: float = 0
    """Start of the process in ticks since boot: tells it from a later one with the same number."""
    by: str = ""
    """Who asked for the work."""

    @classmethod
    def me(cls, attempt: str, by: str = "") -> Holder:
        """This process.

        Args:
            attempt: Unique for this run of this activity.
            by: Who asked for the work.
        """
        pid = os.getpid()
        return cls(
            attempt=attempt,
            host=socket.gethostname(),
            boot_id=_boot_id(),
            pid_namespace=_pid_namespace(),
            pid=pid,
            pid_started=_started(pid) or 0,
            by=by,
        )

    def __str__(self) -> str:
        by = f" for {self.by}" if self.by else ""
        return f"attempt {self.attempt} on {self.host or 'an unknown host'} (pid {self.pid}){by}"


def is_dead(holder: Holder) -> bool:
    """Whether the holder was a process of this very machine and is there no more. False when in doubt."""
    if not holder.boot_id or not holder.pid_started:
        return False
    if (holder.boot_id, holder.pid_namespace) != (_boot_id(), _pid_namespace()):
        return False
    return _started(holder.pid) != holder.pid_started


def _boot_id() -> str:
    return _read("/proc/sys/kernel/random/boot_id").strip()


def _pid_namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _started(pid: int) -> float | None:
    """When a process started; None when there is none, or only its entry is left (a zombie).

    psutil's `create_time` is derived from the wall clock, which may be set while both of us run; field 22 of
    /proc/PID/stat is not (proc(5)). Elsewhere psutil has to do, and `boot_id` is empty there anyway.
    """
    stat = _read(f"/proc/{pid}/stat")
    if stat:
        fields = stat.rpartition(")")[2].split()
        return None if fields[0] in {"Z", "X"} else float(fields[19])
    import psutil  # noqa: PLC0415 - only where there is no /proc

    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
