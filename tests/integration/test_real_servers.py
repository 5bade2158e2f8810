"""Servers that tests start are gone with the process that started them, however it went."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from harness.pinned import ToolMissing, find

pytestmark = pytest.mark.integration

STARTS_SERVERS = """
import sys, tempfile, time
from pathlib import Path
from harness.servers import postgres, s3
directories = [Path(tempfile.mkdtemp(dir=sys.argv[1])) for _ in range(2)]
for path in directories:
    path.chmod(0o711)
with postgres.running(directories[0]) as one, s3.running(directories[1]) as other:
    print(one.server.process.pid, other.server.process.pid, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def directory() -> Iterator[str]:
    """One that every user may pass through."""
    with tempfile.TemporaryDirectory(prefix="bond-server-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o711)
        yield name


def test_kill_9_of_whoever_started_servers_ends_them(directory: str) -> None:
    try:
        find("versitygw")
    except ToolMissing as error:
        pytest.skip(str(error))
    with subprocess.Popen(
        [sys.executable, "-c", STARTS_SERVERS, directory], stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout
        pids = [int(word) for word in owner.stdout.readline().split()]
        processes = [psutil.Process(pid) for pid in pids]
        processes += [child for process in processes for child in process.children(recursive=True)]
        assert len(processes) > 2, "PostgreSQL has children"
        owner.kill()
    _, alive = psutil.wait_procs(processes, timeout=60)
    assert not alive
