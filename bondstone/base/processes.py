"""Processes of ours: where they say that they are ready, and telling one from a later one with its number."""

from __future__ import annotations

from pathlib import Path
from typing import Final

READY_FD: Final = "BOND_READY_FD"
"""Environment variable: the descriptor on which a started process tells who started it, one JSON object a line,
`{"ready": true}` or `{"error": {...}}`, and perhaps `{"versions": {...}}` later."""


def birth(pid: int) -> str | None:
    """What no other process with this pid ever shares; None when there is none, or only its entry (a zombie).

    psutil's `create_time` is derived from the wall clock, which may be set in between; field 22 of /proc/PID/stat
    counts ticks since boot (proc(5)), and the kernel names each boot. Elsewhere psutil has to do.
    """
    stat = _read(f"/proc/{pid}/stat")
    if stat:
        state, *fields = stat.rpartition(")")[2].split()
        return None if state in {"Z", "X"} else f"{_read('/proc/sys/kernel/random/boot_id').strip()}/{fields[18]}"
    import psutil  # noqa: PLC0415 - only where there is no /proc

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else str(process.create_time())
    except psutil.Error:
        return None


def is_alive(pid: int, born: str) -> bool:
    """Whether the process with this pid is the very one that was born so, and still runs."""
    return birth(pid) == born


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
