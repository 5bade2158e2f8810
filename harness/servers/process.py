"""A real server as a child process: on loopback, with a log file, gone when whoever started it is gone."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from harness.waiting import NotInTime, wait_until

LOOPBACK: Final = "127.0.0.1"
START_SECONDS: Final = 240
_POLL_SECONDS: Final = 0.02
_TAIL_BYTES: Final = 6000
_PR_SET_PDEATHSIG: Final = 1  # prctl(2)


class ServerFailed(Exception):
    """A server did not come up; the message ends with the end of its log."""


@dataclass
class Server:
    """A process that can be started, killed and started again.

    Args:
        name: What its log file is called.
        arguments: The command line.
        log: Where its output goes.
        ready: Whether it serves already; asked again and again until it says so.
        environment: Variables beside ours.
        user: Run it as this user (only root can).
        stop_signal: What ends it. Nothing here keeps anything that matters, so the default asks no questions.
        stop_seconds: How long it may take over that.
    """

    name: str
    arguments: Sequence[str]
    log: Path
    ready: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    user: int | None = None
    stop_signal: signal.Signals = signal.SIGKILL
    stop_seconds: float = 10
    process: subprocess.Popen[bytes] | None = None

    def launch(self) -> None:
        """Start it, without waiting."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **self.environment},
                cwd=self.log.parent,
                start_new_session=True,
                user=self.user,
                group=self.user,
                extra_groups=None if self.user is None else (),
                preexec_fn=_die_with(os.getpid(), self.stop_signal),  # noqa: PLW1509 - started before there are threads
            )

    def wait(self, seconds: float = START_SECONDS) -> None:
        """Wait until it serves.

        Raises:
            ServerFailed: it ended, or did not serve in time.
        """

        def serves() -> bool:
            ready = self.ready()
            if not ready and (self.process is None or self.process.poll() is not None):
                raise ServerFailed(f"{self.name} ended instead of serving:\n{self.tail()}")
            return ready

        try:
            wait_until(serves, seconds=seconds)
        except NotInTime:
            raise ServerFailed(f"{self.name} does not serve after {seconds:.0f} s:\n{self.tail()}") from None

    def start(self) -> None:
        """Start it and wait until it serves. After `kill`, it finds its old data on its old port."""
        self.launch()
        self.wait()

    def kill(self) -> None:
        """End it and all that it started."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, self.stop_signal)
        try:
            self.process.wait(self.stop_seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.process = None

    def tail(self) -> str:
        """The end of its log."""
        with contextlib.suppress(OSError), self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - _TAIL_BYTES))
            return file.read().decode(errors="replace")
        return ""


def free_port() -> int:
    """A TCP port that nobody listens on right now."""
    with socket.socket() as sock:
        sock.bind((LOOPBACK, 0))
        port: int = sock.getsockname()[1]
        return port


def low_port() -> int:
    """As `free_port`, below 32768: Temporal keeps the ports of its members in a `smallint` of PostgreSQL."""
    while True:
        port = random.randrange(10_000, 2**15)  # noqa: S311 - chance, not secrecy
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind((LOOPBACK, port))
            return port


def listens(port: int) -> Callable[[], bool]:
    """Whether something accepts connections on a port of this machine."""

    def ask() -> bool:
        with socket.socket() as sock:
            return sock.connect_ex((LOOPBACK, port)) == 0

    return ask


def answers(url: str) -> Callable[[], bool]:
    """Whether something on this machine answers a GET with 2xx."""

    def ask() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=3):  # noqa: S310 - a URL of ours
                return True
        except OSError:
            return False

    return ask


def _die_with(parent: int, number: signal.Signals) -> Callable[[], None]:
    """For the new process: be ended when the thread that started it is gone, however it went (Linux; prctl(2))."""
    if not sys.platform.startswith("linux"):
        return lambda: None
    libc = ctypes.CDLL(None)

    def in_child() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:  # it went before prctl took effect
            os._exit(1)

    return in_child
