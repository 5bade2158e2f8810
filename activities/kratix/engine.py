"""Run one container of a pipeline by podman, or what speaks as it does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from bondstone.activities.kratix.section import Container
from bondstone.activities.tooling.container_engine import ContainerEngine
from bondstone.base.errors import StepTimedOut, ToolFailed

MAX_PROCESSES: Final = 512
MAX_OPEN_FILES: Final = 1024
MEMORY: Final = "1g"


@dataclass(frozen=True, slots=True)
class Mounts:
    """The three folders of the contract, on the worker."""

    input: Path
    output: Path
    metadata: Path

    @classmethod
    def under(cls, directory: Path) -> Mounts:
        """Three new folders; a container may run as anybody, so that two of them are everybody's to write."""
        mounts = cls(*(directory / name for name in ("input", "output", "metadata")))
        for folder in (mounts.input, mounts.output, mounts.metadata):
            folder.mkdir(parents=True)
        mounts.output.chmod(0o777)  # inside a run directory that is the worker's alone
        mounts.metadata.chmod(0o777)
        return mounts


class ContainerRunner(Protocol):
    """What runs containers."""

    async def run(
        self,
        container: Container,
        variables: Mapping[str, str],
        mounts: Mounts,
        *,
        name: str,
        network: str,
        seconds: int,
    ) -> str:
        """Run a container to its end; returns what it printed.

        Args:
            container: What to run.
            variables: Its environment, beside that of its image.
            mounts: Its files.
            name: Of the container; one of that name that still runs is replaced.
            network: none, or a network of the engine.
            seconds: The longest it may take.

        Raises:
            ToolFailed: it ended with an error; its last words are in the message.
            ToolUnavailable: the engine does not start.
            StepTimedOut: it took too long.
        """
        ...


class Podman:
    """podman, or another engine with its command line.

    Args:
        engine: The engine of the worker.
    """

    def __init__(self, engine: ContainerEngine) -> None:
        self._engine = engine

    async def run(
        self,
        container: Container,
        variables: Mapping[str, str],
        mounts: Mounts,
        *,
        name: str,
        network: str,
        seconds: int,
    ) -> str:
        """See `ContainerRunner.run`. What a killed worker left behind is replaced."""
        arguments = [
            "run", "--rm", "--replace", f"--name={name}", f"--network={network}", f"--memory={MEMORY}",
            f"--pids-limit={MAX_PROCESSES}", f"--ulimit=nproc={MAX_PROCESSES}:{MAX_PROCESSES}",
            f"--ulimit=nofile={MAX_OPEN_FILES}:{MAX_OPEN_FILES}", "--security-opt=no-new-privileges",
            f"--timeout={seconds}",
            f"--volume={mounts.input}:/kratix/input:ro", f"--volume={mounts.output}:/kratix/output",
            f"--volume={mounts.metadata}:/kratix/metadata",
            *(f"--env={key}={value}" for key, value in (container.env | dict(variables)).items()),
        ]  # fmt: skip
        if container.command:
            arguments.append(f"--entrypoint={json.dumps(list(container.command))}")
        arguments += [container.image, *container.args]
        try:
            async with asyncio.timeout(seconds + 30):
                code, out, err = await self._engine.attempt(*arguments, dies_with_worker=True)
        except TimeoutError:
            raise StepTimedOut(f"the container {container.name} has not ended in {seconds} s") from None
        text = out.decode("utf-8", "replace")
        if code:
            words = "\n".join((err.strip() or text.strip()).splitlines()[-5:])[-1000:]
            raise ToolFailed(
                f"the container {container.name} ended with {code}: {words}",
                where=container.image,
                hint="`bond logs` has all that it printed",
            )
        return text + err
