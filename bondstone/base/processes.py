"""Processes: where ours say that they are ready, how they end, and how one differs from a later one of its number.

Nothing heavy is imported here: `bond up` loads it before anything else.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Final, NoReturn

READY_FD: Final = "BOND_READY_FD"
"""Environment variable: the descriptor on which a started process tells who started it, one JSON object a line,
`{"ready": true}` or `{"error": {...}}`, and perhaps `{"versions": {...}}` later."""
_PR_SET_DUMPABLE: Final = 4  # prctl(2)
_M_ARENA_MAX: Final = -8  # mallopt(3)


def hide_memory() -> None:
    """Keep this process's memory and environment from other processes of its user, debuggers included (Linux).

    It leaves no core dump either. Root reads it all the same: the platform should not run as root.
    """
    if sys.platform.startswith("linux"):
        import ctypes  # noqa: PLC0415 - 20 ms, which a command does without

        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def allocate_from_one_arena() -> None:
    """Have all threads of this process share one arena of the C library, where it has several (glibc).

    By default each of a worker's dozen threads, nearly all of which wait, keeps megabytes of its own.
    """
    if sys.platform.startswith("linux"):
        import ctypes  # noqa: PLC0415 - as above

        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_ARENA_MAX, 1)


def give_back_memory() -> None:
    """Return to the system what the C library holds and nobody uses, as after the work of a start (glibc)."""
    if sys.platform.startswith("linux"):
        import ctypes  # noqa: PLC0415 - as above

        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def leave(status: int) -> NoReturn:
    """End the process now, with everything written out, and without finalizing the interpreter.

    Threads of the Temporal SDK's native core may still be about to take the interpreter's lock; on CPython 3.11 a
    process that finalizes under them now and then aborts (`PyGILState_Release: thread state … must be current`),
    which turns a finished command into exit code 134.
    """
    logging.shutdown()
    for stream in filter(None, (sys.stdout, sys.stderr)):  # none where it was closed at the start
        try:
            stream.flush()
        except (OSError, ValueError):
            status = status or 1
    os._exit(status)


def boot_id() -> str:
    """Random for each boot of a kernel; empty where the system has none."""
    return _read("/proc/sys/kernel/random/boot_id").strip()


def pid_namespace() -> str:
    """Tells containers of one machine apart, which number their processes each for itself; empty without /proc."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def started(pid: int) -> float | None:
    """When a process started, in ticks since boot; None when there is none, or only its entry is left (a zombie).

    psutil's `create_time` is derived from the wall clock, which may be set in between; field 22 of /proc/PID/stat
    is not (proc(5)). Elsewhere psutil has to do, in seconds of the epoch; `boot_id` is empty there anyway.
    """
    stat = _read(f"/proc/{pid}/stat")
    if stat:
        fields = stat.rpartition(")")[2].split()
        return None if fields[0] in {"Z", "X"} else float(fields[19])
    import psutil  # noqa: PLC0415 - only where there is no /proc

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.Error:
        return None


def birth(pid: int) -> str | None:
    """What no other process with this pid ever shares; None when there is none."""
    since = started(pid)
    return None if since is None else f"{boot_id()}/{since:.17g}"


def is_alive(pid: int, born: str) -> bool:
    """Whether the process with this pid is the very one that was born so, and still runs."""
    return birth(pid) == born


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
