"""Our own processes by a fork, without the seconds of CPU time that Python needs to import what they are made of.

`bond up` forks its workers itself (`bondstone.base.forking`); this is for those that tests start themselves, as
`python -m bondstone.workers.api`. A process that has everything imported, and has started no thread, forks them.
What it makes is a child of the process that called `subprocess` (or asyncio), as if that had started Python: own
arguments, environment, streams, session and exit status. What starting costs and imports is the subject of other
tests (`test_up`, `test_imports`), which start Python.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

SUPERVISOR: Final = "bondstone.workers.embedded"
COMMAND: Final = "bondstone.cli.app"
MODULES: Final = frozenset(
    {
        COMMAND, "bondstone.workers.api", "bondstone.workers.control", SUPERVISOR, "bondstone.workers.executor",
        "harness.api_process",
    }
)  # fmt: skip
"""What is forked when it is started as `python -m NAME`; all else, `python -mNAME` too, is started as ever."""
_WITH_THREADS: Final = "bondstone.activities.terraform."
"""What the executor worker imports with its first step: it loads a library of Go, which starts threads."""
MAX_REQUEST: Final = 1 << 20
_MAX_DESCRIPTORS: Final = 16
_KNOWN_ARGUMENTS: Final = 23
"""Of `_posixsubprocess.fork_exec`; a Python with others starts everything as ever."""
_FIRST_SPARE: Final = 256
"""Descriptors are moved to here before each takes its place."""
_LOOK_SECONDS: Final = 0.001
_PR_SET_PDEATHSIG: Final = 1  # prctl(2)
_PR_SET_CHILD_SUBREAPER: Final = 36

PYTHON: Final = {name: value for name, value in os.environ.items() if name.startswith("PYTHON")}
"""The variables `PYTHON…` that this interpreter started with; a process with others is started, not forked."""
_original: Final[Callable[..., int]] = getattr(subprocess, "_fork_exec")  # noqa: B009 - no name of the types


def import_all() -> None:
    """Import what the processes are made of.

    Raises:
        SystemExit: an import has started a thread, so that no fork would be safe.
    """
    for module in sorted(MODULES):
        importlib.import_module(module)
    activities = importlib.import_module("bondstone.activities").__path__
    for each in pkgutil.walk_packages(activities, "bondstone.activities."):
        if not each.name.startswith(_WITH_THREADS):
            importlib.import_module(each.name)
    for module in MODULES - {COMMAND}:
        del sys.modules[module]  # each process runs its own as `__main__`
    if len(list(Path("/proc/self/task").iterdir())) > 1:
        raise SystemExit("an import has started a thread, and what forks must have none")
    gc.collect()
    gc.freeze()  # what a collection does not touch stays shared


def fork_by(connection: Callable[[], socket.socket]) -> None:
    """From now on this process gets its workers from a process that forks.

    Args:
        connection: To that process, which is a child of this one and calls `carry_out` for each request.
    """
    lock = threading.Lock()

    def fork_exec(*parameters: Any) -> int:
        request = _request(parameters)
        if request is None:
            return _original(*parameters)
        body, descriptors = request
        with lock:
            forks = connection()
            # What the process in between leaves behind becomes a child of ours, instead of the system's first.
            _prctl(_PR_SET_CHILD_SUBREAPER, 1)
            try:
                socket.send_fds(forks, [json.dumps(body).encode()], descriptors)
                return int(forks.recv(32))
            finally:
                _prctl(_PR_SET_CHILD_SUBREAPER, 0)

    subprocess._fork_exec = fork_exec  # type: ignore[attr-defined] # noqa: SLF001 - where both Popen and asyncio start


def is_told_the_same(environment: Mapping[str, str]) -> bool:
    """Whether an environment has the variables `PYTHON…` that this process was started with."""
    return {name: value for name, value in environment.items() if name.startswith("PYTHON")} == PYTHON


def carry_out(requests: socket.socket, body: dict[str, Any], descriptors: Sequence[int]) -> None:
    """In the process that forks: make the process, and answer with its number once it is the caller's child."""
    reader, writer = os.pipe()
    between = os.fork()
    if not between:
        worker = os.fork()
        if worker:
            os.write(writer, str(worker).encode())
            os._exit(0)
        os.close(reader)
        os.close(writer)
        requests.close()
        _become(body, descriptors)
    os.close(writer)
    number = os.read(reader, 32)
    os.close(reader)
    with contextlib.suppress(ChildProcessError):  # where such signals are ignored, the system has cleared it away
        os.waitpid(between, 0)
    requests.send(number)


def _request(parameters: Sequence[Any]) -> tuple[dict[str, Any], list[int]] | None:
    """What the process that forks is asked for; None for a program that is not ours."""
    if len(parameters) != _KNOWN_ARGUMENTS:
        return None
    arguments, _, _, keep, cwd, environment, stdin, _, _, stdout, _, stderr, _, failures = parameters[:14]
    _, session, _, group, groups, user, umask, at_start, _ = parameters[14:]
    words = [os.fsdecode(each) for each in arguments]
    if words[:2] != [sys.executable, "-m"] or words[2] not in MODULES or (group, groups, user) != (None,) * 3:
        return None
    told = (
        dict(os.fsdecode(each).split("=", 1) for each in environment)
        if environment is not None
        else dict(os.environ)
    )
    if not is_told_the_same(told):
        return None
    kept = [descriptor for descriptor in keep if descriptor != failures]
    streams = [descriptor if other == -1 else other for descriptor, other in enumerate((stdin, stdout, stderr))]
    body = {
        "module": words[2],
        "arguments": words[3:],
        "environment": told,
        "cwd": os.fsdecode(cwd) if cwd is not None else str(Path.cwd()),
        "descriptors": [0, 1, 2, *kept],
        "session": bool(session),
        "umask": umask,
        # All that workers are started with says the same: end in order when who started you is gone.
        "ends_with_parent": at_start is not None,
        "parent": os.getpid(),
    }
    return body, [*streams, *kept]


def _become(body: dict[str, Any], descriptors: Sequence[int]) -> None:
    """Be the process."""
    status = 1
    try:
        _join(body["parent"], ends_with_it=body["ends_with_parent"])
        with contextlib.suppress(OSError):  # what `ps -o comm` and `top` show
            Path("/proc/self/comm").write_text(body["module"].rpartition(".")[2], encoding="ascii")
        if body["session"]:
            os.setsid()
        if body["umask"] >= 0:
            os.umask(body["umask"])
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.chdir(body["cwd"])
        os.environ.clear()
        os.environ.update(body["environment"])
        _place(descriptors, body["descriptors"])
        sys.argv = [body["module"], *body["arguments"]]
        if body["module"] == COMMAND:
            from bondstone.cli.app import run  # noqa: PLC0415 - imported already

            run()
        runpy.run_module(body["module"], run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 - as the interpreter does
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _join(parent: int, *, ends_with_it: bool) -> None:
    """Wait until the process in between is gone and we are the asking one's child."""
    between = os.getppid()
    while os.getppid() == between != parent:
        time.sleep(_LOOK_SECONDS)
    if ends_with_it:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it went before that took effect
        os._exit(1)


def _place(descriptors: Sequence[int], numbers: Sequence[int]) -> None:
    """Give each descriptor the number by which the process knows it."""
    import fcntl  # noqa: PLC0415 - not everywhere

    spare = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _FIRST_SPARE) for descriptor in descriptors]
    for descriptor in descriptors:
        os.close(descriptor)
    os.closerange(3, _FIRST_SPARE)  # what the process that forks waits with
    for descriptor, number in zip(spare, numbers, strict=True):
        os.dup2(descriptor, number, inheritable=True)
        os.close(descriptor)


def _prctl(option: int, value: int) -> None:
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
