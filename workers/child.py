"""One supervised process of the embedded platform: started, watched, restarted, ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import structlog

from bondstone.base.errors import OperationFailed
from bondstone.base.files import open_private
from bondstone.base.forking import Start
from bondstone.base.platform_file import Process
from bondstone.base.processes import READY_FD, birth
from bondstone.workers.starting import Started, start

LOG_BYTES: Final = 10 * 2**20
"""A log file above this is moved aside; one older file is kept."""

FIRST_BACKOFF_SECONDS: Final = 0.2
MAX_BACKOFF_SECONDS: Final = 30.0
TRIES: Final = 3
"""Of a process that could not start for a reason that passes."""
SETTLED_SECONDS: Final = 30.0
"""A process that lived this long starts over with the first backoff."""

_TAIL_BYTES: Final = 2000

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Command:
    """What to run.

    Args:
        name: What people and the log file call it.
        arguments: The command line.
        environment: All of its environment.
        private: The files it makes are for this user alone.
        port: A process that says nothing is ready when it listens here; without it, when it says so on `READY_FD`.
        passing: What the end of its log says when it could not start now, and may at the next try.
    """

    name: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    private: bool = False
    port: int | None = None
    passing: str = ""


class Child:
    """A process that is kept running until told otherwise.

    Args:
        command: What to run.
        log_directory: Where `<name>.log` goes.
        changed: Called at every change of state.
        log: Called with words for people when something went wrong.
    """

    def __init__(
        self, command: Command, log_directory: Path, changed: Callable[[], None], log: Callable[[str], None]
    ) -> None:
        self.command = command
        self.log_file = log_directory / f"{command.name}.log"
        self.ready = asyncio.Event()
        self.versions: dict[str, str] = {}
        self._changed = changed
        self._log = log
        self._process: Started | None = None
        self._status: Literal["starting", "running", "restarting"] = "starting"
        self._started_at = datetime.now(UTC)
        self._born = ""
        self._restarts = 0
        self._stopping = asyncio.Event()

    @property
    def state(self) -> Process | None:
        """The process as `platform.json` shows it; None before it was ever started."""
        if self._process is None:
            return None
        return Process(
            name=self.command.name,
            pid=self._process.pid,
            born=self._born,
            started_at=self._started_at,
            status=self._status,
            restarts=self._restarts,
        )

    async def keep_running(self) -> None:
        """Start it, and start it again whenever it ends, until `stop`.

        Raises:
            OperationFailed: it ended before it was ever ready, and starting it again would not help.
        """
        backoff = FIRST_BACKOFF_SECONDS
        tries = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            status = await self._run_once()
            if self._stopping.is_set():
                return
            if not self.ready.is_set():
                tries += 1
                last_words = tail(self.log_file)
                if tries < TRIES and self.command.passing and self.command.passing in last_words:
                    log.warning("started again", name=self.command.name, reason=self.command.passing)
                    continue
                raise OperationFailed(
                    f"{self.command.name} did not start: {describe_exit(status)}\n{last_words}",
                    where=str(self.log_file),
                    hint="the end of its log is shown above",
                )
            if time.monotonic() - began > SETTLED_SECONDS:
                backoff = FIRST_BACKOFF_SECONDS
            self._say(f"{self.command.name} ended ({describe_exit(status)}); starting it again in {backoff:.1f} s")
            self._status = "restarting"
            self._restarts += 1
            self._changed()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), backoff)
            backoff = min(backoff * 2, MAX_BACKOFF_SECONDS)

    async def stop(self, grace_seconds: float) -> None:
        """Tell it to end; after the grace, end it."""
        self._stopping.set()
        if self._process is None or self._process.returncode is not None:
            return
        self._signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), grace_seconds)
        except TimeoutError:
            self._say(f"{self.command.name} did not end within {grace_seconds:.0f} s; ending it")
            self.kill()
            await self._process.wait()

    def kill(self) -> None:
        """End it now."""
        self._stopping.set()
        self._signal(signal.SIGKILL)

    def bound_log(self) -> None:
        """Move a log that grew too long aside. The process appends, so it continues in the emptied file."""
        with contextlib.suppress(OSError):
            if self.log_file.stat().st_size > LOG_BYTES:
                shutil.copyfile(self.log_file, self.log_file.with_suffix(".log.1"))
                os.truncate(self.log_file, 0)

    async def _run_once(self) -> int:
        self.bound_log()
        reader, writer = os.pipe()
        try:
            with os.fdopen(open_private(self.log_file), "ab") as output:
                self._process = start(
                    Start(
                        arguments=self.command.arguments,
                        environment={**self.command.environment, READY_FD: str(writer)},
                        output=output.fileno(),
                        keep=() if self.command.port else (writer,),
                        umask=0o077 if self.command.private else -1,
                    )
                )
        except OSError as error:
            os.close(reader)
            raise OperationFailed(
                f"{self.command.name} cannot be started: {error.strerror}", where=self.command.arguments[0]
            ) from error
        finally:
            os.close(writer)
        self._started_at = datetime.now(UTC)
        self._born = birth(self._process.pid) or ""
        self._changed()
        if self._restarts:
            log.info("started again", name=self.command.name, pid=self._process.pid, restarts=self._restarts)
        watching = asyncio.create_task(self._watch(reader))
        try:
            return await self._process.wait()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _watch(self, reader: int) -> None:
        """Notice when the process is ready, and what else it says."""
        if self.command.port is not None:
            os.close(reader)
            await _until_listening(self.command.port)
            self._heard({"ready": True})
            return
        stream = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(reader, "rb")
        )
        try:
            async for line in stream:
                self._heard(json.loads(line))
        finally:
            transport.close()

    def _heard(self, told: Mapping[str, Any]) -> None:
        if told.get("ready"):
            if self._status == "restarting":
                self._say(f"{self.command.name} runs again")
            self._status = "running"
            self.ready.set()
        self.versions.update(told.get("versions", {}))
        self._changed()

    def _say(self, text: str) -> None:
        log.warning(text, name=self.command.name)
        self._log(text)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)


def describe_exit(status: int) -> str:
    """An exit status in words."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


def tail(path: Path) -> str:
    """The last lines of a log, for an error message."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(f"    {line}" for line in lines[-8:])


async def _until_listening(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return
