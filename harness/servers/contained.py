"""Runs services of our own images in containers, as locked up as the compose file says.

On the host's network, as the other servers of a test are processes of this machine: the file's own networks and
published ports are all that is not tried.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

USER: Final = 10001
"""As the Dockerfile has it; whoever mounts a volume gives it to this user, as an engine does with a new one."""

_LIMITS: Final = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000")
"""Engines ask for more, which not every machine lets them have."""


@dataclass(frozen=True)
class Engine:
    """A container engine with the command line of Docker.

    Args:
        program: Its words, as in `("podman", "--storage-driver=vfs")`.
    """

    program: tuple[str, ...]

    def build(self, directory: Path, *options: str) -> None:
        """Build an image.

        Args:
            directory: The context; its Dockerfile is built.
            options: As for `docker build`.

        Raises:
            CalledProcessError: it cannot be built; the engine has said why.
        """
        command = [*self.program, "build", "--network=host", *_LIMITS, *options, str(directory)]
        subprocess.run(command, check=True)

    def command(
        self,
        name: str,
        raw: Mapping[str, Any],
        environment: Mapping[str, str],
        volumes: Mapping[str, tuple[str, bool]],
        words: Sequence[str],
    ) -> list[str]:
        """The command line that runs a service in the foreground.

        Args:
            name: Of the container.
            raw: What the compose file says of the service.
            environment: Variables.
            volumes: Path in the container to path on this machine, and whether it may only be read.
            words: Program and arguments.
        """
        entry, *arguments = words
        options = ["run", "--rm", "--name", name, "--network=host", *_LIMITS, f"--entrypoint={entry}"]
        options += ["--read-only"] if raw.get("read_only") else []
        options += ["--init"] if raw.get("init") and self._has_init() else []
        options += [f"--tmpfs={path}" for path in raw.get("tmpfs", ())]
        options += [f"--cap-drop={name}" for name in raw.get("cap_drop", ())]
        options += [f"--security-opt={option.replace(':true', '')}" for option in raw.get("security_opt", ())]
        options += [f"--env={key}={value}" for key, value in environment.items()]
        options += [f"--volume={source}:{path}{':ro' * ro}" for path, (source, ro) in volumes.items()]
        return [*self.program, *options, str(raw["image"]), *arguments]

    def inside(self, name: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a container that runs."""
        command = [*self.program, "exec", name, *words]
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)

    def remove(self, name: str) -> None:
        """Take a container away, running or not."""
        subprocess.run([*self.program, "rm", "--force", "--ignore", name], check=False, stdout=subprocess.DEVNULL)

    def _has_init(self) -> bool:
        """Whether the engine brings a program to be process 1; Debian's Podman does not."""
        return "podman" not in Path(self.program[0]).name or any(
            os.access(path, os.X_OK) for path in ("/usr/libexec/podman/catatonit", "/usr/bin/catatonit")
        )
