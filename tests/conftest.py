"""Fixtures that several kinds of tests share: a real Temporal server, once for the whole run."""

from __future__ import annotations

import gc
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from temporalio.client import Client

from bondstone.base import names
from bondstone.temporal.payloads import DATA_CONVERTER
from harness.waiting import until_async
from harness.warm_command import WARM
from harness.warm_workers import fork_by

pytest_plugins = ("harness.servers.fixtures", "harness.leftovers", "harness.test_order")
pytest.register_assert_rewrite("object_store_suite", "operations_walk")

# A slow machine is no defect. A long search asks for thousands of examples of each property.
EXAMPLES = int(os.environ.get("BOND_EXAMPLES", "40"))
settings.register_profile(
    "bondstone", deadline=None, max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("bondstone")

# Tests say themselves where OPA decides; an `opa` that happens to be on PATH has other words for mistakes.
os.environ.setdefault("BOND_OPA", "regorus")

# Modules of tests write beside the data of their platform, in the test's folder, where the sandbox refuses it.
# What the sandbox refuses has tests of its own (test_tool_sandbox.py), which name their mode.
os.environ.setdefault("BOND_TOOL_SANDBOX", "off")

# The platform, the contexts and the token of whoever runs the tests are no part of them.
for _name in ("BOND_DATA", "BOND_CONTEXT", "BOND_CONTEXTS", "BOND_API", "BOND_TOKEN", "BOND_AS"):
    os.environ.pop(_name, None)
for _name in ("BOND_TEMPORAL_ADDRESS", "TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE"):
    os.environ.pop(_name, None)

# Workers that tests start, and those of the platforms that they start, are forked from one process.
if sys.platform.startswith("linux"):
    fork_by(WARM.connection)

FAST_SERVER = {"history.workflowIdReuseMinimalInterval": '"0s"'}
"""The server slows down what continues as new within a second; a service does, when its tools are instant."""


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Leave what was collected out of all later collections of garbage.

    There are a million objects, and one look at all of them on a busy machine takes longer than the two seconds
    that the Temporal SDK gives a workflow that runs in the same process.
    """
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Give the run folders of its own in place of the user's, where a platform may be that they work with."""
    if hasattr(config, "workerinput"):  # a process of pytest-xdist has those of the run
        return
    home = tempfile.mkdtemp(prefix="bond-tests-")
    config.bond_home = home  # type: ignore[attr-defined]
    os.environ["XDG_DATA_HOME"] = f"{home}/data"
    os.environ["XDG_CONFIG_HOME"] = f"{home}/config"


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave without finalizing the interpreter: threads of native libraries may crash it then."""
    if home := getattr(config, "bond_home", None):
        shutil.rmtree(home, ignore_errors=True)
    status = getattr(config, "bond_exit_status", None)
    if status is not None and not hasattr(config, "workerinput"):  # a worker of xdist still has to report
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, Any, Any]:
    """End the process that commands are forked from, before `harness.leftovers` looks what is left.

    Remember how the run ended, see `pytest_unconfigure`; `harness.leftovers` may have a say in that.
    """
    WARM.close()
    result = yield
    session.config.bond_exit_status = int(session.exitstatus)  # type: ignore[attr-defined]
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """With BOND_REQUIRE_ALL a test that would be skipped for want of a tool fails instead.

    With the value `but-unbuilt`, not for want of one that `make tools` builds.
    """
    report = yield
    required = os.environ.get("BOND_REQUIRE_ALL", "")
    if required == "but-unbuilt" and "run `make tools`" in str(report.longrepr):
        return report
    if report.skipped and not hasattr(report, "wasxfail") and required:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and BOND_REQUIRE_ALL is set: {report.longrepr}"
    return report


def free_port() -> int:
    """A TCP port that nobody listens on right now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def binary(name: str) -> str:
    """A program of the environment the tests run in, else of PATH."""
    beside = Path(sys.executable).with_name(name)
    result = str(beside) if beside.exists() else shutil.which(name)
    if not result:
        pytest.fail(f"{name} is not installed; `make install` brings it")
    return result


@pytest.fixture(scope="session")
def temporal_address() -> Iterator[str]:
    """Address of a real Temporal server, in memory, with our search attributes."""
    port = free_port()
    command = [binary("temporal"), "server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", str(port)]
    command += ["--log-level", "error"]
    for name, value in FAST_SERVER.items():
        command += ["--dynamic-config-value", f"{name}={value}"]
    for name, kind in names.SEARCH_ATTRIBUTES.items():
        command += ["--search-attribute", f"{name}={kind}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ))
    try:
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=60)


@pytest.fixture
async def temporal(temporal_address: str) -> Client:
    """A client of the real server."""
    return await until_async(
        lambda: Client.connect(temporal_address, data_converter=DATA_CONVERTER),
        "Temporal serves",
        not_yet=(RuntimeError,),
    )
