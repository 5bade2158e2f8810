"""Processes that the supervisor starts: by a fork where that is safe, and how each ended.

The supervisor waits for them without a thread, because it must have none to fork (`bondstone.base.forking`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from typing import Any, Final

from bondstone.base.errors import BondError, ErrorInfo, OperationFailed, from_info
from bondstone.base.forking import Start, can_fork, load, spawn
from bondstone.base.names import EXECUTORS_GROUP

_ITSELF: Final = (sys.executable, "-m", "bondstone.workers.embedded")


class Started:
    """A process that was started from here.

    Args:
        pid: Its number.
        reap: Takes its exit status, once it has ended.
    """

    def __init__(self, pid: int, reap: Callable[[], int]) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._reap = reap
        self._ended: asyncio.Future[int] | None = None

    async def wait(self) -> int:
        """Until it has ended; its exit status, negative for the signal that ended it."""
        if self._ended is None:
            self._ended = asyncio.get_running_loop().create_future()
            self._watch()
        return await asyncio.shield(self._ended)

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            descriptor = os.pidfd_open(self.pid)
        except (AttributeError, OSError):  # not this system, or an old kernel

            def in_thread() -> None:
                status = self._reap()
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                    loop.call_soon_threadsafe(self._note, status)

            threading.Thread(target=in_thread, daemon=True).start()
            return

        def readable() -> None:
            loop.remove_reader(descriptor)
            os.close(descriptor)
            self._note(self._reap())

        loop.add_reader(descriptor, readable)

    def _note(self, status: int) -> None:
        self.returncode = status
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(status)


def preload(modules: Iterable[str]) -> None:
    """Load what the processes to come are made of, where they will be forks of this one.

    All of it before the first fork: an import counts references in objects that are already there, and what it so
    writes to, this process would no longer share with the forks before it.

    Args:
        modules: Of ours, that processes run. Our executors, which their workers load, come with them.
    """
    if not can_fork():
        return
    ours = (entry.value.partition(":")[0] for entry in entry_points(group=EXECUTORS_GROUP))
    for module in (*modules, *(each for each in ours if each.partition(".")[0] == "bondstone")):
        with contextlib.suppress(Exception):  # the process says it in its own log
            load(module)


def start(what: Start) -> Started:
    """Start a process, see `spawn`. A module of ours is loaded here first, so that the next fork has it too.

    Raises:
        OSError: it cannot be started.
    """
    if what.module and can_fork():
        with contextlib.suppress(Exception):  # the process says it in its own log
            load(what.module)
    return Started(*spawn(what))


async def apart(work: Callable[[], Any]) -> Any:
    """Run a function in a fork and return its result: its keys, connections and threads end with the fork.

    Args:
        work: Its result, or its error, is sent as JSON, of less than 64 KiB: what a pipe holds.

    Raises:
        BondError: that the function raised.
        OperationFailed: it ended without a result.
    """
    if not can_fork():
        return await asyncio.to_thread(work)
    reader, writer = os.pipe()

    def run() -> int:
        try:
            told = {"value": work()}
        except BondError as error:
            told = {"error": error.info().model_dump(mode="json")}
        with os.fdopen(writer, "w", encoding="utf-8") as pipe:
            json.dump(told, pipe)
        return 0

    with os.fdopen(reader, encoding="utf-8") as pipe:
        try:
            process = Started(*spawn(Start(_ITSELF, os.environ.copy(), output=2, keep=(writer,)), run))
        finally:
            os.close(writer)
        status = await process.wait()
        text = pipe.read()
    told = json.loads(text) if text else {}
    if "error" in told:
        raise from_info(ErrorInfo.model_validate(told["error"]))
    if "value" not in told:
        raise OperationFailed(f"a part of the platform's start ended without an answer (exit status {status})")
    return told["value"]
