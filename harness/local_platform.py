"""A whole platform of one's own: `bond up` on free ports and a new data directory, to look into and to kill."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import psutil

from bondstone.base.platform_file import Platform
from bondstone.base.settings import Settings
from bondstone.client.direct.client import DirectClient
from bondstone.promise.bundle import pack
from bondstone.promise.load import load_promise
from harness.warm_command import WARM

UP_SECONDS = 240
DOWN_SECONDS = 240


class LocalPlatform:
    """`bond up`, from outside.

    Args:
        data: Its data directory.
        environment: Variables that `bond up` sees beside ours.
    """

    def __init__(self, data: Path, environment: Mapping[str, str] | None = None) -> None:
        self.data = data
        self.port = 0
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if name == "BOND_TOOL_SANDBOX" or not name.startswith(("BOND_", "TEMPORAL_"))
        } | dict(environment or {})

    @property
    def settings(self) -> Settings:
        """As any client on this data directory finds them."""
        return Settings(data=self.data)

    def up(self) -> None:
        """Start it in the background; a second time on the same port, as after a reboot."""
        self.bond("up", "--detach", "--port", str(self.port), seconds=UP_SECONDS)
        self.port = int(self.settings.temporal_address.rpartition(":")[2])

    def down(self) -> None:
        """Stop it in order."""
        self.bond("down", seconds=DOWN_SECONDS)

    def bond(
        self, *arguments: str, stdin_text: str | None = None, status: int | None = 0, seconds: float = 240
    ) -> subprocess.CompletedProcess[str]:
        """Run the `bond` command against it.

        Args:
            arguments: Without `--data`.
            stdin_text: Standard input.
            status: The exit status it must end with; None for any.
            seconds: The longest it may take.
        """
        ran = WARM.run(
            ["--data", str(self.data), *arguments],
            environment=self.environment,
            cwd=self.data.parent,
            stdin_text=stdin_text,
            seconds=seconds,
        )
        if status is not None and ran.returncode != status:
            raise AssertionError(f"bond {arguments}: {ran.stdout}\n{ran.stderr}")
        return ran

    @asynccontextmanager
    async def client(self, by: str = "ada") -> AsyncIterator[DirectClient]:
        """A client of it."""
        async with DirectClient.connect(self.settings, by=by) as bond:
            yield bond

    def pid(self, name: str) -> int:
        """The process that runs under this name now."""
        return self._pids()[name]

    def workers(self, kind: str) -> dict[str, int]:
        """Every process of a kind, as in `control`, `control-2`."""
        return {name: pid for name, pid in self._pids().items() if name == kind or name.startswith(f"{kind}-")}

    def kill(self, *pids: int) -> None:
        """Kill -9, all at once, and wait until they are gone."""
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        killed = []
        for pid in pids:
            with suppress(psutil.NoSuchProcess):
                killed.append(psutil.Process(pid))
        psutil.wait_procs(killed, timeout=60)

    def kill_everything(self) -> None:
        """Kill -9 of the supervisor and all its children, as a power cut would do it."""
        self.kill(*self.everything())

    def everything(self) -> list[int]:
        """The supervisor, then its children."""
        return [self.state().pid, *self._pids().values()]

    def log(self, name: str) -> str:
        """What a process has logged."""
        return (self.data / "log" / f"{name}.log").read_text(errors="replace")

    def state(self) -> Platform:
        """What its supervisor last said of it."""
        platform = Platform.read(self.data)
        if platform is None:
            raise AssertionError("it was never started")
        return platform

    def _pids(self) -> dict[str, int]:
        return {process.name: process.pid for process in self.state().processes}


@contextmanager
def running(data: Path, environment: Mapping[str, str] | None = None) -> Iterator[LocalPlatform]:
    """A platform for as long as a test needs it; ends it whatever became of it."""
    platform = LocalPlatform(data, environment)
    try:
        platform.up()
        yield platform
    finally:
        known = Platform.read(data)
        if known is not None and known.alive:
            platform.down()


async def publish(bond: DirectClient, directory: Path) -> str:
    """Publish a promise as its author would; its name."""
    promise = load_promise(directory)
    await (await bond.connection.store()).revisions.publish(pack(directory), promise)
    return promise.name
