"""Run a command with busy loops beside it: a machine that has other work.

    python -m harness.busy --loops 4 .venv/bin/pytest -n 4 --dist loadfile --no-loadscope-reorder

The loops end with the command, and with this process however it ends. The exit status is the command's.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
from typing import Final

_LOOP: Final = """
import os, threading
def end_with_parent():
    os.read(0, 1)
    os._exit(0)
threading.Thread(target=end_with_parent, daemon=True).start()
while True:
    pass
"""


def run(command: list[str], loops: int) -> int:
    """Run a command beside busy loops.

    Args:
        command: The program and its arguments.
        loops: How many processes compute for nothing meanwhile.

    Returns:
        The command's exit status; 128 and the signal's number where one ended it, as shells say it.
    """
    reader, writer = os.pipe()  # nothing is ever written: its end is what the loops wait for
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, writer)
        for _ in range(loops):
            loop = subprocess.Popen([sys.executable, "-c", _LOOP], stdin=reader)
            stack.callback(loop.wait)
            stack.callback(loop.kill)
        os.close(reader)
        with subprocess.Popen(command) as process:
            signal.signal(signal.SIGINT, lambda *_: None)  # a terminal sends it to the command, too
            signal.signal(signal.SIGTERM, lambda *_: process.terminate())
            status = process.wait()
    return status if status >= 0 else 128 - status


def main() -> int:
    """Parse the arguments, and run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--loops", type=int, default=4)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    if not arguments.command:
        parser.error("name the command to run")
    return run(arguments.command, arguments.loops)


if __name__ == "__main__":
    sys.exit(main())
