"""What a step's container is started with, and what its engine knows of it."""

from __future__ import annotations

import json
import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol

import psutil

from bondstone.activities.container.contract import INPUT, KILLED, OUTPUT
from bondstone.activities.container.documents import ContainerJob
from bondstone.activities.tooling.container_engine import ContainerEngine
from bondstone.base.errors import ToolUnavailable

LABEL: Final = "dev.bondstone.step"
"""On every container: whose it is."""
NOBODY: Final = 65534
"""User of the container where the worker is root: one who owns nothing."""

_MAX_FILE_BYTES: Final = 64 << 20
_MAX_SAID_BYTES: Final = 256 << 10
_OF_THE_ENGINE: Final = frozenset({125, 126, 127})
"""Exit codes of `run` by which an engine says that it could not even start the program."""
_EARLY_SECONDS: Final = 1
_KILLED_CODES: Final = frozenset({KILLED, -1})
"""-1 is podman's where its watcher killed the program."""
_LOG_LINES: Final = "2000"
_NANOSECONDS: Final = re.compile(r"(\.\d{6})\d+")


@dataclass(frozen=True, slots=True)
class ContainerState:
    """What an engine knows of a container."""

    status: str
    code: int
    out_of_memory: bool
    ran_seconds: float = 0
    pid: int = 0
    """Of its program on this machine; 0 when it does not run, or runs on another one."""
    note: str = ""
    """What keeps it from starting, in words."""

    @property
    def is_over(self) -> bool:
        """Whether its program has ended."""
        return self.status in {"exited", "stopped", "dead"}

    @property
    def is_lost(self) -> bool:
        """Whether its program is gone and its engine does not know: what watched over it was killed, too."""
        return self.status == "running" and self.pid > 0 and not _runs(self.pid)

    def outlived(self, seconds: float) -> bool:
        """Whether it was ended because its time was over.

        An engine counts from before the program starts: of one that it killed a second too early by the program's
        own time, that was the reason all the same.

        Args:
            seconds: How long it was allowed to run.
        """
        early = _EARLY_SECONDS if self.code in _KILLED_CODES and not self.out_of_memory else 0
        return self.ran_seconds >= seconds - early

    @property
    def has_begun(self) -> bool:
        """Whether its program was ever started."""
        return self.status not in {"created", "configured", "initialized"}


class EngineUnreachable(ToolUnavailable):
    """What runs a container does not answer; the container may go on, and the next attempt follows it."""


class StepEngine(Protocol):
    """Runs the containers of steps."""

    @property
    def outlives_workers(self) -> bool:
        """Whether any worker of the pool can follow what this one has started."""

    async def start(self, name: str, owner: str, job: ContainerJob, action: str, directory: Path) -> None:
        """Start a container in the background.

        Args:
            name: Of the container; there is no second one of that name.
            owner: Whose it is.
            job: What to run, within which bounds.
            action: What it is to do.
            directory: Where `input` is, and `output` is to be.

        Raises:
            ToolFailed: when it is refused.
        """

    async def run(
        self, name: str, owner: str, job: ContainerJob, action: str, directory: Path
    ) -> tuple[ContainerState, str]:
        """Run a container to its end, and forget it: how it ended, and what it printed.

        Raises:
            ToolFailed: when it is refused.
        """

    def can_follow(self, directory: Path) -> bool:
        """Whether a container that another attempt has started can be waited for, and its output read."""

    async def state(self, name: str) -> ContainerState | None:
        """What is known of a container; None when there is none of that name."""

    def last_note(self, name: str) -> str:
        """What kept it from starting when it was looked at last, in words."""

    async def wait(self, name: str) -> None:
        """Wait until its program has ended."""

    async def output_of(self, name: str) -> str:
        """What it printed, the end of it."""

    async def collect(self, name: str, directory: Path) -> None:
        """See to it that what it has written is in `output` of a directory.

        Raises:
            ToolFailed: when it was done, and what it has written cannot be had.
        """

    async def remove(self, name: str) -> None:
        """End it if it runs, and forget it; one that is gone does not matter."""

    async def names(self, owner: str) -> list[str]:
        """The containers of an owner, running or not."""

    async def version(self) -> str:
        """What it is, and its version."""


@dataclass(frozen=True, slots=True)
class CommandEngine:
    """Runs the containers of steps by podman or Docker on the worker's machine.

    Args:
        command: The engine of the worker.
    """

    command: ContainerEngine

    @property
    def outlives_workers(self) -> bool:
        """No: only a worker of this machine, with this work directory, could follow a container."""
        return False

    async def version(self) -> str:
        """What the engine says of itself."""
        return await self.command.version()

    async def start(self, name: str, owner: str, job: ContainerJob, action: str, directory: Path) -> None:
        """Start a container in the background.

        Args:
            name: Of the container; the engine refuses a second one of that name.
            owner: The value of its label.
            job: What to run, within which bounds.
            action: What it is to do.
            directory: Where `input` and `output` are.

        Raises:
            ToolFailed: when the engine refuses.
        """
        await self.command.call("run", "--detach", *self._options(name, owner, job, action, directory))

    async def run(
        self, name: str, owner: str, job: ContainerJob, action: str, directory: Path
    ) -> tuple[ContainerState, str]:
        """Run a container to its end, and forget it: how it ended, and what it printed.

        Raises:
            ToolFailed: when the engine refuses.
        """
        began = time.monotonic()
        code, out, err = await self.command.attempt(
            "run", "--rm", *self._options(name, owner, job, action, directory)
        )
        if code in _OF_THE_ENGINE:
            raise self.command.refusal("run", err)
        state = ContainerState("exited", code, out_of_memory=False, ran_seconds=time.monotonic() - began)
        return state, out[-_MAX_SAID_BYTES:].decode("utf-8", "replace") + err[-_MAX_SAID_BYTES:]

    def can_follow(self, directory: Path) -> bool:
        """Whether it has its directory: it was started on this machine, with this work directory."""
        return directory.is_dir()

    def last_note(self, name: str) -> str:
        """Nothing: a container of this machine starts at once."""
        del name
        return ""

    async def collect(self, name: str, directory: Path) -> None:
        """Nothing to do: the directory is mounted."""
        del name, directory

    def _options(self, name: str, owner: str, job: ContainerJob, action: str, directory: Path) -> list[str]:
        user = NOBODY if os.geteuid() == 0 else 0
        options = [
            f"--name={name}", f"--label={LABEL}={owner}", f"--user={user}:{user}", "--read-only",
            "--cap-drop=ALL", "--security-opt=no-new-privileges", f"--network={self.command.network(job.network)}",
            f"--cpus={job.cpus:g}", f"--memory={job.memory_mib}m", f"--pids-limit={job.processes}",
            "--ulimit=nofile=1024:1024", f"--ulimit=nproc={job.processes}:{job.processes}",
            f"--ulimit=fsize={_MAX_FILE_BYTES}:{_MAX_FILE_BYTES}", "--ulimit=core=0:0",
            f"--volume={directory / 'input'}:{INPUT}:ro", f"--volume={directory / 'output'}:{OUTPUT}",
            "--workdir=/", f"--env=BOND_ACTION={action}",
        ]  # fmt: skip
        if self.command.is_podman:  # it keeps this promise although whoever started it is dead
            options.append(f"--timeout={job.time_seconds}")
        options += [f"--env={key}={value}" for key, value in job.env.items()]
        return [*options, job.image, *job.command]

    async def state(self, name: str) -> ContainerState | None:
        """What is known of a container; None when there is none of that name."""
        code, out, err = await self.command.attempt("container", "inspect", name)
        if code != 0:
            if "no such" in err.lower():
                return None
            raise self.command.refusal("inspect", err)
        state: dict[str, Any] = json.loads(out)[0]["State"]
        return ContainerState(
            str(state["Status"]),
            int(state["ExitCode"]),
            bool(state.get("OOMKilled")),
            _between(str(state.get("StartedAt", "")), str(state.get("FinishedAt", ""))),
            int(state.get("Pid", 0)) if self.command.is_podman and "CONTAINER_HOST" not in os.environ else 0,
        )

    async def wait(self, name: str) -> None:
        """Wait until its program has ended."""
        await self.command.call("wait", name)

    async def output_of(self, name: str) -> str:
        """What it printed, the end of it."""
        code, out, err = await self.command.attempt("logs", "--tail", _LOG_LINES, name)
        return out.decode("utf-8", "replace") + err if code == 0 else ""

    async def remove(self, name: str) -> None:
        """Kill it if it runs, and forget it; one that is gone does not matter."""
        code, _, err = await self.command.attempt("rm", "--force", name)
        if code != 0 and "no such" not in err.lower():
            raise self.command.refusal("rm", err)

    async def names(self, owner: str) -> list[str]:
        """The containers of an owner, running or not."""
        out = await self.command.call("ps", "--all", f"--filter=label={LABEL}={owner}", "--format={{.Names}}")
        return out.decode().split()


def _runs(pid: int) -> bool:
    with suppress(psutil.Error):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


def _between(began: str, ended: str) -> float:
    """Seconds between two times as engines write them: RFC 3339, with nanoseconds; 0 where one is none."""
    try:
        first, last = (datetime.fromisoformat(_NANOSECONDS.sub(r"\1", text)) for text in (began, ended))
    except ValueError:
        return 0
    return max(0, (last - first).total_seconds())
