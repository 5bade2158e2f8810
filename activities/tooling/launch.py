"""Starting a process from a thread of its own, so that a sandbox holds for the process and not for the worker.

Landlock restricts a thread and what it starts. The thread stays for as long as its process runs: the kernel tells
a process that its parent died when the *thread* that started it does.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, TypeVar

from bondstone.activities.tooling.sandbox import Sandbox

T = TypeVar("T")


class Launched:
    """A running process.

    Args:
        process: The process; waited for by its thread alone.
        ended: Its exit code, and what it printed where that was kept.
    """

    def __init__(self, process: subprocess.Popen[bytes], ended: asyncio.Future[tuple[int, bytes, bytes]]) -> None:
        self._process = process
        self.ended = ended

    @property
    def pid(self) -> int:
        """Its process id, leader of its own session."""
        return self._process.pid

    def send_signal(self, number: int) -> None:
        """Send it a signal; one that has ended does not mind."""
        with suppress(ProcessLookupError):
            self._process.send_signal(number)


async def launch(
    command: Sequence[str],
    *,
    directory: Path,
    environment: Mapping[str, str],
    stdin: int,
    stdout: IO[bytes] | int,
    stderr: IO[bytes] | int,
    passed: Sequence[int] = (),
    sandbox: Sandbox | None = None,
) -> Launched:
    """Start a process in a session of its own.

    Args:
        command: The whole command line.
        directory: Its working directory.
        environment: All that it may see.
        stdin: Its standard input.
        stdout: Where its output goes; `subprocess.PIPE` to keep it.
        stderr: The same for its complaints.
        passed: File descriptors that it keeps open.
        sandbox: What of the file system it may touch; None for all that the worker may.

    Raises:
        OSError: when it does not start.
    """
    loop = asyncio.get_running_loop()
    own_stdin = os.dup(stdin)  # the caller's may be closed before the thread comes to it
    started: asyncio.Future[subprocess.Popen[bytes]] = loop.create_future()
    ended: asyncio.Future[tuple[int, bytes, bytes]] = loop.create_future()

    def tell(future: asyncio.Future[T], call: Callable[[asyncio.Future[T]], Any]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody asks any more
            loop.call_soon_threadsafe(lambda: None if future.done() else call(future))

    def work() -> None:
        try:
            if sandbox is not None:
                sandbox.enter()
            process = subprocess.Popen(  # noqa: S603 - what the executor asks for
                command,
                cwd=directory,
                env=environment,
                stdin=own_stdin,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
                pass_fds=tuple(passed),
            )
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            failure = error
            tell(started, lambda future: future.set_exception(failure))
            return
        finally:
            os.close(own_stdin)
        tell(started, lambda future: future.set_result(process))
        out, err = process.communicate()
        code = process.wait()
        tell(ended, lambda future: future.set_result((code, out or b"", err or b"")))

    threading.Thread(target=work, name="tool", daemon=True).start()
    try:
        return Launched(await asyncio.shield(started), ended)
    except asyncio.CancelledError:
        started.add_done_callback(_end)
        raise


def _end(started: asyncio.Future[subprocess.Popen[bytes]]) -> None:
    """End a process that nobody waits for any more."""
    if not started.cancelled() and started.exception() is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(started.result().pid, signal.SIGKILL)
