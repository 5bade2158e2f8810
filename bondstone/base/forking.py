"""Processes of ours by a fork of one that has imported what they are made of.

Python needs two seconds of CPU time to import a worker, and each process keeps what it imported for itself. A fork
has it at once, and shares the memory with its parent until one of them writes to it.

The process that forks must have started no thread: a fork has only the one that calls it, and locks that others
hold stay locked in it. It must hold no key either: what it has in its memory, the fork has too. Where it has a
thread, and on systems other than Linux, Python is started instead.
"""

from __future__ import annotations

import contextvars
import gc
import importlib
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Final, NoReturn

from bondstone.base.processes import leave

_PR_SET_PDEATHSIG: Final = 1  # prctl(2)
_PR_SET_NAME: Final = 15
_ARGUMENTS_FROM: Final = 45
"""Of the fields after the name in /proc/PID/stat, where the command line begins and ends in memory (proc(5))."""

_UNKNOWN_STATUS: Final = 255
"""As asyncio says of a process that it could not wait for."""


@dataclass(frozen=True)
class Start:
    """What to start."""

    arguments: tuple[str, ...]
    """The command line."""
    environment: Mapping[str, str]
    """All of it."""
    output: int
    """Descriptor of its standard output and errors; its input is empty."""
    keep: tuple[int, ...] = ()
    """Further descriptors that it gets, under their numbers."""
    umask: int = -1
    ends_with_parent: bool = True
    """Whether it is told to end when this process is gone, however it went (Linux)."""

    @property
    def module(self) -> str:
        """The module of ours that it runs; empty for another program."""
        ours = self.arguments[:2] == (sys.executable, "-m")
        return self.arguments[2] if ours and self.arguments[2].partition(".")[0] == "bondstone" else ""


def can_fork() -> bool:
    """Whether this process can fork safely: on Linux, while it has no other thread."""
    return sys.platform.startswith("linux") and len(os.listdir("/proc/self/task")) == 1  # noqa: PTH208 - in a loop


def spawn(what: Start, run: Callable[[], int] | None = None) -> tuple[int, Callable[[], int]]:
    """Start a process: by a fork where it runs a module of ours and forking is safe.

    Args:
        what: Its command line and all else.
        run: What a fork runs, and ends with the status of; by default the `main` of its module, which reads
            `sys.argv`.

    Returns:
        Its number, and what waits for its end and returns its exit status: negative for a signal.

    Raises:
        OSError: it cannot be started.
    """
    if what.module and can_fork():
        pid = _fork(what, run or partial(_run_module, what.module))
        return pid, partial(_exit_status, pid)
    import subprocess  # noqa: PLC0415 - a command that forks does without

    process = subprocess.Popen(  # noqa: S603 - a command of ours
        what.arguments,
        env=what.environment,
        stdin=subprocess.DEVNULL,
        stdout=what.output,
        stderr=what.output,
        start_new_session=True,
        umask=what.umask,
        pass_fds=what.keep,
        preexec_fn=end_with(os.getpid()) if what.ends_with_parent else None,  # noqa: PLW1509 - all it calls is C
    )
    return process.pid, process.wait


def load(module: str) -> ModuleType:
    """Import a module, without the collections that find nothing to free while modules are made: a tenth of it."""
    collects = gc.isenabled()
    gc.disable()
    try:
        return importlib.import_module(module)
    finally:
        if collects:
            gc.enable()


def _exit_status(pid: int) -> int:
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:  # who started us had SIGCHLD ignored: the system has cleared the process away
        return _UNKNOWN_STATUS


def _run_module(module: str) -> int:
    status: int = load(module).main()
    return status


def _fork(what: Start, run: Callable[[], int]) -> int:
    for stream in filter(None, (sys.stdout, sys.stderr)):  # none where it was closed at the start
        stream.flush()
    gc.freeze()  # a collection in the fork would write to what it still shares
    parent = os.getpid()
    # Else a signal that meets the fork before it is ready would run the parent's handlers.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if not pid:
            _become(what, run, parent, mask)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return pid


def end_with(parent: int) -> Callable[[], None]:
    """For a new process: be told to end when its parent is gone, however it went (Linux; prctl(2)).

    Elsewhere the next `bond up` ends what was left behind.
    """
    if not sys.platform.startswith("linux"):
        return lambda: None
    import ctypes  # noqa: PLC0415 - 20 ms, which a command does without

    libc = ctypes.CDLL(None)

    def in_child() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it went before prctl took effect
            os._exit(1)

    return in_child


def _become(what: Start, run: Callable[[], int], parent: int, mask: set[signal.Signals] | set[int]) -> NoReturn:
    """Be the process, in the fork."""
    status = 1
    try:
        _forget_signals()
        if what.ends_with_parent:
            end_with(parent)()
        os.setsid()
        if what.umask >= 0:
            os.umask(what.umask)
        _keep_descriptors(what.output, what.keep)
        os.environ.clear()
        os.environ.update(what.environment)
        sys.argv = list(what.arguments[2:])
        _set_title(what)
        if (asyncio := sys.modules.get("asyncio")) is not None:
            asyncio.events._set_running_loop(None)  # noqa: SLF001 - the parent's runs in the parent only
        gc.enable()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        status = contextvars.Context().run(run)
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 - as the interpreter does
        import traceback  # noqa: PLC0415 - only failures

        traceback.print_exc()
    finally:
        try:
            leave(status)
        finally:  # whatever happens: the frames below are the parent's, who would stop the whole platform in them
            os._exit(status or 1)


def _forget_signals() -> None:
    """Handlers as a new process has them: what is ignored stays so, all else has its default."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, default)


def _keep_descriptors(output: int, keep: Sequence[int]) -> None:
    """Let go of what the parent has open: its lock, its log, its sockets.

    Their numbers stay taken, by /dev/null: objects of the parent that know them are here too, and may close them.
    """
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number, source in enumerate((nowhere, output, output)):
        os.dup2(source, number)
    for number in map(int, os.listdir("/proc/self/fd")):  # noqa: PTH208 - in a process of one thread
        if number > 2 and number not in (nowhere, *keep):  # noqa: PLR2004 - beyond the standard streams
            os.dup2(nowhere, number, inheritable=False)


def _set_title(what: Start) -> None:
    """What `ps` and `top` show: the command line that would have started it, as far as there is room for it."""
    import ctypes  # noqa: PLC0415 - 20 ms, which a command does without
    from pathlib import Path  # noqa: PLC0415 - as above

    ctypes.CDLL(None).prctl(_PR_SET_NAME, what.module.rpartition(".")[2].encode(), 0, 0, 0)
    fields = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    first, end = map(int, fields[_ARGUMENTS_FROM : _ARGUMENTS_FROM + 2])
    if 0 < first < end:
        words = "\0".join(("python", *what.arguments[1:])).encode()[: end - first - 1]
        ctypes.memmove(first, words.ljust(end - first, b"\0"), end - first)
