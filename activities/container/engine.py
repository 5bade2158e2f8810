"""A container engine by its command line: Docker's words, which podman has too. Nothing secret is among them."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import psutil

from bondstone.activities.container.contract import INPUT, OUTPUT
from bondstone.activities.container.documents import Job
from bondstone.activities.tooling.environment import allowed_environment
from bondstone.activities.tooling.process import capture
from bondstone.base.errors import ToolFailed, ToolUnavailable
from bondstone.base.settings import Settings

LABEL: Final = "dev.bondstone.step"
"""On every container: whose it is."""
NOBODY: Final = 65534
"""User of the container where the worker is root: one who owns nothing."""

_LET_THROUGH: Final = (
    "CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF", "CONTAINER_HOST", "DBUS_SESSION_BUS_ADDRESS", "DOCKER_CERT_PATH",
    "DOCKER_CONFIG", "DOCKER_HOST", "DOCKER_TLS_VERIFY", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR",
)  # fmt: skip
_MAX_FILE_BYTES: Final = 64 << 20
_MAX_SAID_BYTES: Final = 256 << 10
_OF_THE_ENGINE: Final = frozenset({125, 126, 127})
"""Exit codes of `run` by which an engine says that it could not even start the program."""
_LOG_LINES: Final = "2000"
_NANOSECONDS: Final = re.compile(r"(\.\d{6})\d+")


@dataclass(frozen=True, slots=True)
class State:
    """What an engine knows of a container."""

    status: str
    code: int
    out_of_memory: bool
    ran_seconds: float = 0
    pid: int = 0
    """Of its program on this machine; 0 when it does not run, or runs on another one."""

    @property
    def is_over(self) -> bool:
        """Whether its program has ended."""
        return self.status in {"exited", "stopped", "dead"}

    @property
    def is_lost(self) -> bool:
        """Whether its program is gone and its engine does not know: what watched over it was killed, too."""
        return self.status == "running" and self.pid > 0 and not _runs(self.pid)

    @property
    def has_begun(self) -> bool:
        """Whether its program was ever started."""
        return self.status not in {"created", "configured", "initialized"}


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that answers on this machine.

    Args:
        program: Its words, as in `("podman", "--storage-driver=vfs")`.
        settings: Of the worker.
    """

    program: tuple[str, ...]
    settings: Settings

    @classmethod
    def of(cls, settings: Settings) -> Engine:
        """The engine of a worker.

        Raises:
            ToolUnavailable: when there is none.
        """
        words = shlex.split(settings.container_engine)
        if not words:
            words = [name for name in ("podman", "docker") if shutil.which(name)][:1]
        if not words or shutil.which(words[0]) is None:
            raise ToolUnavailable(
                f"BOND_CONTAINER_ENGINE names {words[0]!r}, which is not an executable file"
                if words
                else "there is neither podman nor docker on this worker's PATH",
                hint="install one on the workers of the pool, or set BOND_CONTAINER_ENGINE to its command",
            )
        return cls((shutil.which(words[0]) or words[0], *words[1:]), settings)

    @property
    def is_podman(self) -> bool:
        """Whether it has podman's own options."""
        return "podman" in Path(self.program[0]).name

    async def start(self, name: str, owner: str, job: Job, action: str, directory: Path) -> None:
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
        await self._run("run", "--detach", *self._options(name, owner, job, action, directory))

    async def run(self, name: str, owner: str, job: Job, action: str, directory: Path) -> tuple[int, str]:
        """Run a container to its end, and forget it; its exit code and what it printed.

        Raises:
            ToolFailed: when the engine refuses.
        """
        code, out, err = await self._try("run", "--rm", *self._options(name, owner, job, action, directory))
        if code in _OF_THE_ENGINE:
            raise self._refusal("run", err)
        return code, out[-_MAX_SAID_BYTES:].decode("utf-8", "replace") + err[-_MAX_SAID_BYTES:]

    def _options(self, name: str, owner: str, job: Job, action: str, directory: Path) -> list[str]:
        user = NOBODY if os.geteuid() == 0 else 0
        options = [
            f"--name={name}", f"--label={LABEL}={owner}", f"--user={user}:{user}", "--read-only",
            "--cap-drop=ALL", "--security-opt=no-new-privileges", f"--network={self._network(job)}",
            f"--cpus={job.cpus:g}", f"--memory={job.memory_mib}m", f"--pids-limit={job.processes}",
            "--ulimit=nofile=1024:1024", f"--ulimit=nproc={job.processes}:{job.processes}",
            f"--ulimit=fsize={_MAX_FILE_BYTES}:{_MAX_FILE_BYTES}", "--ulimit=core=0:0",
            f"--volume={directory / 'input'}:{INPUT}:ro", f"--volume={directory / 'output'}:{OUTPUT}",
            "--workdir=/", f"--env=BOND_ACTION={action}",
        ]  # fmt: skip
        if self.is_podman:  # it keeps this promise although whoever started it is dead
            options.append(f"--timeout={job.time_seconds}")
        options += [f"--env={key}={value}" for key, value in job.env.items()]
        return [*options, job.image, *job.command]

    async def state(self, name: str) -> State | None:
        """What is known of a container; None when there is none of that name."""
        code, out, err = await self._try("container", "inspect", name)
        if code != 0:
            if "no such" in err.lower():
                return None
            raise self._refusal("inspect", err)
        state: dict[str, Any] = json.loads(out)[0]["State"]
        return State(
            str(state["Status"]),
            int(state["ExitCode"]),
            bool(state.get("OOMKilled")),
            _between(str(state.get("StartedAt", "")), str(state.get("FinishedAt", ""))),
            int(state.get("Pid", 0)) if self.is_podman and "CONTAINER_HOST" not in os.environ else 0,
        )

    async def wait(self, name: str) -> None:
        """Wait until its program has ended."""
        await self._run("wait", name)

    async def output_of(self, name: str) -> str:
        """What it printed, the end of it."""
        code, out, err = await self._try("logs", "--tail", _LOG_LINES, name)
        return out.decode("utf-8", "replace") + err if code == 0 else ""

    async def remove(self, name: str) -> None:
        """Kill it if it runs, and forget it; one that is gone does not matter."""
        code, _, err = await self._try("rm", "--force", name)
        if code != 0 and "no such" not in err.lower():
            raise self._refusal("rm", err)

    async def names(self, owner: str) -> list[str]:
        """The containers of an owner, running or not."""
        out = await self._run("ps", "--all", f"--filter=label={LABEL}={owner}", "--format={{.Names}}")
        return out.decode().split()

    async def version(self) -> str:
        """The engine and its version."""
        out = await self._run("--version")
        return out.decode().partition("\n")[0].replace(" version", "").partition(",")[0].strip()

    def _network(self, job: Job) -> str:
        if job.network == "none":
            return "none"
        if not self.settings.container_network:
            raise ToolFailed(
                "the step wants the pool's network, and the pool has none for containers",
                hint="set BOND_CONTAINER_NETWORK on its workers (`bridge`, say), or say `network: none`",
            )
        return self.settings.container_network

    async def _run(self, *arguments: str) -> bytes:
        code, out, err = await self._try(*arguments)
        if code != 0:
            raise self._refusal(arguments[0], err)
        return out

    async def _try(self, *arguments: str) -> tuple[int, bytes, str]:
        """Run the engine's command; it is no part of the sandbox of tools, since it makes one itself."""
        environment = allowed_environment(os.environ, [*_LET_THROUGH, *self.settings.tool_environment])
        command: Sequence[str] = [*self.program, *arguments]
        return await capture(command, Path("/"), environment, tool="the container engine", verb=arguments[0])

    def _refusal(self, verb: str, complaint: str) -> ToolFailed:
        lines = [line for line in complaint.splitlines() if line.strip() and "level=warning" not in line]
        return ToolFailed(
            f"{Path(self.program[0]).name} {verb} failed: {' '.join(lines)[-400:] or 'it does not say why'}",
            hint="can the worker's user run it, and reach the image by its digest?",
        )


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
