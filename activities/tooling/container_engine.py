"""A container engine by its command line: Docker's words, which podman has too. Nothing secret is among them."""

from __future__ import annotations

import os
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from bondstone.activities.tooling.environment import allowed_environment
from bondstone.activities.tooling.process import capture, tied
from bondstone.base.errors import ToolFailed, ToolUnavailable
from bondstone.base.settings import Settings

_LET_THROUGH: Final = (
    "CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF", "CONTAINER_HOST", "DBUS_SESSION_BUS_ADDRESS", "DOCKER_CERT_PATH",
    "DOCKER_CONFIG", "DOCKER_HOST", "DOCKER_TLS_VERIFY", "REGISTRY_AUTH_FILE", "XDG_DATA_HOME", "XDG_RUNTIME_DIR",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ContainerEngine:
    """An engine that answers on this machine.

    Args:
        program: Its words, as in `("podman", "--storage-driver=vfs")`.
        settings: Of the worker.
    """

    program: tuple[str, ...]
    settings: Settings

    @classmethod
    def of(cls, settings: Settings) -> ContainerEngine:
        """The engine of a worker.

        Raises:
            ToolUnavailable: when there is none.
        """
        words = shlex.split(settings.container_engine)
        if not words:
            words = [name for name in ("podman", "docker") if shutil.which(name)][:1]
        path = shutil.which(words[0]) if words else None
        if path is None:
            raise ToolUnavailable(
                f"BOND_CONTAINER_ENGINE names {words[0]!r}, which is not an executable file"
                if words
                else "there is neither podman nor docker on this worker's PATH",
                hint="install one on the workers of the pool, or set BOND_CONTAINER_ENGINE to its command",
            )
        return cls((path, *words[1:]), settings)

    @property
    def is_podman(self) -> bool:
        """Whether it has podman's own options."""
        return "podman" in Path(self.program[0]).name

    def network(self, wanted: Literal["none", "pool"]) -> str:
        """The engine's name of a network.

        Args:
            wanted: What the step asks for.

        Raises:
            ToolUnavailable: when that is the pool's, and the pool has none.
        """
        if wanted == "pool" and not self.settings.container_network:
            raise ToolUnavailable(
                "the step asks for the pool's network, and the pool has none for containers",
                hint="set BOND_CONTAINER_NETWORK on its workers (`bridge`, say), or write `network: none`",
            )
        return self.settings.container_network if wanted == "pool" else "none"

    async def version(self) -> str:
        """The engine and its version."""
        out = await self.call("--version")
        return out.decode().partition("\n")[0].replace(" version", "").partition(",")[0].strip()

    async def call(self, *arguments: str) -> bytes:
        """Run a command of the engine; what it printed.

        Raises:
            ToolFailed: when it ends with an error.
        """
        code, out, err = await self.attempt(*arguments)
        if code != 0:
            raise self.refusal(arguments[0], err)
        return out

    async def attempt(self, *arguments: str, dies_with_worker: bool = False) -> tuple[int, bytes, str]:
        """Run a command of the engine, which is in no sandbox of tools, since it makes one itself.

        Args:
            arguments: Its words.
            dies_with_worker: Have the kernel interrupt it when the worker dies.

        Returns:
            Exit code, standard output, standard error.
        """
        environment = allowed_environment(os.environ, [*_LET_THROUGH, *self.settings.tool_environment])
        command = [*self.program, *arguments]
        return await capture(
            tied(command) if dies_with_worker else command,
            Path("/"),
            environment,
            tool="the container engine",
            verb=arguments[0],
        )

    def refusal(self, verb: str, complaint: str) -> ToolFailed:
        """The error that says why the engine refused a command."""
        lines = [line for line in complaint.splitlines() if line.strip() and "level=warning" not in line]
        return ToolFailed(
            f"{Path(self.program[0]).name} {verb} failed: {' '.join(lines)[-400:] or 'it does not say why'}",
            hint="can the worker's user run it, and reach the image by its digest?",
        )
