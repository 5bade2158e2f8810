"""Run one process of a tool: in its own session, followed line by line, stopped gently and then less so.

What it prints goes to files in the run directory, not to pipes. When a worker dies its tool is told to stop (see
`shim.py`), and a Terraform whose pipe has lost its reader would die of SIGPIPE at the first word of its farewell,
before it has saved its state.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import psutil
import structlog

from bondstone.activities.tooling.launch import Launched, launch
from bondstone.activities.tooling.sandbox import Sandbox
from bondstone.base.errors import ToolUnavailable
from bondstone.base.tracing import spans

TICK_SECONDS = 0.1
LINE_LIMIT_BYTES = 16 * 1024 * 1024
_TAIL_BYTES = 4096
_SHIM = Path(__file__).with_name("shim.py")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Graces:
    """How long a process that was asked to stop may take."""

    first_seconds: float = 60
    """From SIGINT to a second one, which Terraform takes as a hard stop."""
    second_seconds: float = 10
    """From there to SIGKILL of all that it started."""


PATIENT = Graces()
BRIEF = Graces(first_seconds=10, second_seconds=5)
"""For a tool that keeps no state of its own, so that nothing is lost when it is killed."""
HURRIED = Graces(first_seconds=3, second_seconds=2)
"""For an attempt that has lost its claim: it must be gone before its lease is over."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended."""

    code: int
    """Its exit code; negative for the signal that killed it."""
    interrupted: bool
    """Whether we had asked it to stop."""
    complaint: str
    """The end of what it wrote to standard error."""


@dataclass(slots=True)
class Run:
    """One process to be run and followed.

    Args:
        command: The whole command line.
        directory: Its working directory.
        environment: All that it may see.
        output: File that takes its standard output; standard error goes beside it.
        on_line: Called with each line of its output.
        on_tick: Called ten times a second while it runs, and once after it has ended.
        stop: Asked ten times a second: None to go on, else how long it may take to stop.
        on_start: Called with its process id once it runs.
        tool: What people call it.
        verb: What it is asked to do, for traces.
        passed: File descriptors that it and all it starts keep open: a lock that tells whether any still runs.
        sandbox: What of the file system it may touch; None for all that the worker may.
    """

    command: Sequence[str]
    directory: Path
    environment: Mapping[str, str]
    output: Path
    on_line: Callable[[str], None]
    on_tick: Callable[[], None] = lambda: None
    stop: Callable[[], Graces | None] = lambda: None
    on_start: Callable[[int], None] = lambda _pid: None
    tool: str = "Terraform"
    verb: str = ""
    passed: Sequence[int] = ()
    sandbox: Sandbox | None = None
    _signals: int = field(default=0, init=False)
    _signalled_at: float = field(default=0, init=False)

    async def to_end(self) -> Exit:
        """Run it until it has ended, whatever happens; to stop it, let `stop` say so.

        Raises:
            ToolUnavailable: when it does not start.
        """
        complaint = self.output.with_suffix(".stderr")
        with _lifeline() as stdin, _traced(self.tool, self.verb) as span:
            ended = await self._to_end(stdin, complaint)
            _say(span, ended.code)
            if ended.interrupted:
                span.set("bond.interrupted", value=True)
            return ended

    async def _to_end(self, stdin: int, complaint: Path) -> Exit:
        with self.output.open("wb") as out, complaint.open("wb") as err:
            try:
                process = await launch(
                    self.command,
                    directory=self.directory,
                    environment={**self.environment, **spans.environment()},
                    stdin=stdin,
                    stdout=out,
                    stderr=err,
                    passed=self.passed,
                    sandbox=self.sandbox,
                )
            except OSError as error:
                raise ToolUnavailable(
                    f"{self.tool} does not start: {error.strerror or error}", where=self.command[0]
                ) from error
        self.on_start(process.pid)
        ended = process.ended
        with self.output.open("rb") as reader:
            tail = Tail(reader, self.on_line)
            while not ended.done():
                await asyncio.wait({ended}, timeout=TICK_SECONDS)
                self.on_tick()
                tail.read()
                if not ended.done():
                    self._maybe_stop(process)
            self.on_tick()
            tail.read(last=True)
        code, _, _ = ended.result()
        if code < 0:
            await self._outlived(process.pid)
        if code != 0:
            # a `local-exec` that outlived its Terraform would go on changing the world unseen
            kill_group(process.pid)
        return Exit(code=code, interrupted=self._signals > 0, complaint=_end_of(complaint))

    async def _outlived(self, leader: int) -> None:
        """Wait for a Terraform whose shim was killed: the kernel has told it to stop, and it is saving its state.

        Killed before that is written, it would forget what it made; half written, it would leave nothing to read.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENT.second_seconds
        while loop.time() < until and await asyncio.to_thread(_in_session, leader, self.command):
            await asyncio.sleep(TICK_SECONDS)
            self.on_tick()
        self.on_tick()

    def _maybe_stop(self, process: Launched) -> None:
        graces = self.stop()
        if graces is None:
            return
        now = asyncio.get_running_loop().time()
        if self._signals == 1 and now - self._signalled_at < graces.first_seconds:
            return
        if self._signals >= 2 and now - self._signalled_at < graces.second_seconds:  # noqa: PLR2004 - both sent
            return
        self._signals += 1
        self._signalled_at = now
        # the process alone: Terraform stops its providers and provisioners itself, in order
        if self._signals <= 2:  # noqa: PLR2004 - a gentle and a hard request, then force
            process.send_signal(signal.SIGINT)
        else:
            kill_group(process.pid)
            process.send_signal(signal.SIGKILL)
        _log.info("tool.stopping", tool=self.tool, pid=process.pid, request=self._signals)


class Tail:
    """Reads the lines that are added to a file."""

    def __init__(self, reader: BinaryIO, on_line: Callable[[str], None]) -> None:
        self._reader = reader
        self._on_line = on_line
        self._rest = b""

    def read(self, *, last: bool = False) -> None:
        """Hand over each line that is complete now, and at the end also one that is not."""
        while chunk := self._reader.read(1024 * 1024):
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            for line in lines:
                self._hand_over(line)
            if len(self._rest) > LINE_LIMIT_BYTES:
                self._rest = self._rest[:_TAIL_BYTES] + b" (line too long, cut)"
        if last and self._rest:
            self._hand_over(self._rest)
            self._rest = b""

    def _hand_over(self, line: bytes) -> None:
        if line.strip():
            self._on_line(line.decode("utf-8", "replace"))


async def capture(
    command: Sequence[str],
    directory: Path,
    environment: Mapping[str, str],
    *,
    tool: str = "Terraform",
    verb: str = "",
    sandbox: Sandbox | None = None,
) -> tuple[int, bytes, str]:
    """Run a command that only reads, and keep its output off the disk.

    Args:
        command: The whole command line.
        directory: Its working directory.
        environment: All that it may see.
        tool: What people call it.
        verb: What it is asked to do, for traces.
        sandbox: What of the file system it may touch; None for all that the worker may.

    Returns:
        Exit code, standard output, standard error.

    Raises:
        ToolUnavailable: when it does not start.
    """
    with _lifeline() as stdin, _traced(tool, verb) as span:
        try:
            process = await launch(
                command,
                directory=directory,
                environment={**environment, **spans.environment()},
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                sandbox=sandbox,
            )
        except OSError as error:
            raise ToolUnavailable(f"{tool} does not start: {error.strerror or error}", where=command[0]) from error
        try:
            code, out, err = await asyncio.shield(process.ended)
        except asyncio.CancelledError:
            kill_group(process.pid)
            await process.ended
            raise
        _say(span, code)
    return code, out, err.decode("utf-8", "replace")


def _traced(tool: str, verb: str) -> AbstractContextManager[spans.Span]:
    """The span of a process: never its arguments or its output, which may hold anything."""
    name = f"{tool.lower()} {verb}".strip()
    return spans.span(name, {"bond.tool": tool, "bond.verb": verb})


def _say(span: spans.Span, code: int) -> None:
    span.set("process.exit.code", code)
    if code != 0:
        span.fail(f"exit {code}")


@contextmanager
def _lifeline() -> Iterator[int]:
    """A standard input that ends when this process does, whatever kills it."""
    read_end, held = os.pipe()
    try:
        yield read_end
    finally:
        os.close(read_end)
        os.close(held)


def shimmed(mode: str, command: Sequence[str], *, killed_after_seconds: float | None = None) -> list[str]:
    """The command line of a tool that must be stopped gently when this process dies; see `shim.py`.

    Args:
        mode: `exec` or `library`.
        command: What to run: a program by its path, or the library, and arguments.
        killed_after_seconds: How long after this process's death it is killed with all that it has started, if it
            has not stopped; None for never. With `exec` only.
    """
    grace = "" if killed_after_seconds is None else f":{killed_after_seconds:g}"
    return [sys.executable, "-I", "-S", str(_SHIM), mode + grace, *command]


def tied(command: Sequence[str]) -> list[str]:
    """The command line of a tool that the kernel interrupts when its parent dies, where that can be had."""
    setpriv = _setpriv()
    return [*([setpriv, "--pdeathsig", "INT", "--"] if setpriv else []), *command]


def kill_group(leader: int) -> None:
    """Kill what is left of a process group."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _in_session(leader: int, command: Sequence[str]) -> bool:
    """Whether one of a session's processes runs a program of `command`: not what Terraform started itself."""
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, PermissionError, psutil.Error):
            if os.getsid(process.pid) == leader and process.cmdline()[:1] in ([program] for program in command):
                return True
    return False


@lru_cache(maxsize=1)
def _setpriv() -> str | None:
    """util-linux's `setpriv`, if it is there and knows `--pdeathsig` (2.33 and newer, Linux)."""
    path = shutil.which("setpriv")
    if path is None:
        return None
    tried = subprocess.run(  # noqa: S603 - a fixed command
        [path, "--pdeathsig", "INT", "--", path, "--version"], capture_output=True, check=False, timeout=10
    )
    return path if tried.returncode == 0 else None


def _end_of(file: Path) -> str:
    with file.open("rb") as reader:
        reader.seek(max(0, file.stat().st_size - _TAIL_BYTES))
        return reader.read().decode("utf-8", "replace").strip()
