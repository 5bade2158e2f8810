"""The real servers as pytest fixtures, each started at its first use, once for each process of pytest.

A test whose server's programs are missing is skipped, by name and with what brings them; with `BOND_REQUIRE_ALL`
set it fails instead (`tests/conftest.py`). Under pytest-xdist with `--dist loadfile` each process that gets a file
starts the servers that the file needs: keep the tests of one server in few files.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from harness.pinned import ToolMissing
from harness.servers import containers as container_engine
from harness.servers import hosts as hosts_server
from harness.servers import kubernetes, temporal
from harness.servers import postgres as postgres_server
from harness.servers import s3 as s3_server
from harness.servers.process import Server

_STARTED: Final[dict[str, list[Server]]] = {}
"""By fixture: the servers whose logs belong to a failure."""


@pytest.fixture(scope="session")
def control_plane() -> Iterator[kubernetes.ControlPlane]:
    """A Kubernetes control plane with one fake node; use namespaces of your own, which go with it."""
    with _scratch() as directory, kubernetes.running(directory) as plane:
        _STARTED["control_plane"] = [*plane.servers.values()]
        yield plane


@pytest.fixture(scope="session")
def hosts() -> Iterator[hosts_server.Hosts]:
    """Five hosts for Ansible; keep to files of your own in their homes."""
    with _scratch() as directory, hosts_server.running(directory, 5) as server:
        _STARTED["hosts"] = [server.server]
        yield server


@pytest.fixture(scope="session")
def containers() -> Iterator[container_engine.Containers]:
    """A container engine of its own, with an image; use things of your own."""
    with _scratch() as directory, container_engine.running(directory) as engine:
        yield engine


@pytest.fixture(scope="session")
def postgres() -> Iterator[postgres_server.Postgres]:
    """A PostgreSQL; make databases of your own."""
    with _scratch() as directory, postgres_server.running(directory) as server:
        _STARTED["postgres"] = [server.server]
        yield server


@pytest.fixture(scope="session")
def s3() -> Iterator[s3_server.S3]:
    """An S3 server; use `new_bucket`."""
    with _scratch() as directory, s3_server.running(directory) as server:
        _STARTED["s3"] = [server.server]
        yield server


@pytest.fixture(scope="session")
def production_temporal(postgres: postgres_server.Postgres) -> Iterator[temporal.ProductionTemporal]:
    """A Temporal server on that PostgreSQL, with a namespace that has Bondstone's search attributes."""
    with _scratch() as directory, temporal.running(directory, postgres) as server:
        _STARTED["production_temporal"] = [server.server]
        yield server


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Show the end of the logs of the servers that a failed test used."""
    report = yield
    if report.failed:
        for fixture in getattr(item, "fixturenames", ()):
            for server in _STARTED.get(fixture, ()):
                report.sections.append((f"end of the log of {server.name}", server.tail()))
    return report


@contextmanager
def _scratch() -> Iterator[Path]:
    """A directory that others may pass through, for the one server that does not run as root."""
    directory = Path(tempfile.mkdtemp(prefix="bond-server-"))
    directory.chmod(0o711)
    try:
        yield directory
    except ToolMissing as error:
        pytest.skip(str(error))
    finally:
        shutil.rmtree(directory, ignore_errors=True)
