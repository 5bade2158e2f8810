"""`bond` by a fork: its own arguments, environment, directory, streams and exit status; several at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.warm_command import WARM, WarmCommand

PROMISE = "apiVersion: bondstone.dev/v1\nkind: Promise\n"


@pytest.fixture
def warm() -> WarmCommand:
    """That of all tests of this process: a second one would import everything once more."""
    return WARM


def run(warm: WarmCommand, cwd: Path, *arguments: str, stdin_text: str | None = None, **variables: str):
    environment = {**os.environ, "COLUMNS": "80", **variables}
    return warm.run(arguments, environment=environment, cwd=cwd, stdin_text=stdin_text, seconds=120)


def test_it_is_what_a_shell_would_start(warm, tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "promise.yaml").write_text(PROMISE)
    arguments = ("promise", "validate", "here", "-o", "json")
    started = subprocess.run(
        [sys.executable, "-mbondstone.cli.app", *arguments],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    ran = run(warm, tmp_path, *arguments)
    assert (ran.returncode, ran.stdout, ran.stderr) == (started.returncode, started.stdout, started.stderr)
    assert ran.returncode != 0
    assert json.loads(ran.stdout or ran.stderr)["error"]["code"] == "PROMISE_INVALID"


def test_nothing_of_one_command_is_seen_by_the_next(warm, tmp_path):
    data = ("--data", str(tmp_path))
    one = run(warm, tmp_path, *data, "service", "list", TEMPORAL_ADDRESS="127.0.0.1:1", BOND_API="")
    other = run(warm, tmp_path, *data, "service", "list", TEMPORAL_ADDRESS="127.0.0.1:2", BOND_API="")
    assert (one.returncode, other.returncode) == (6, 6)
    assert "127.0.0.1:1" in one.stderr
    assert "127.0.0.1:2" in other.stderr
    assert "127.0.0.1:1" not in other.stderr


def test_commands_of_several_threads_run_at_once_and_one_that_takes_too_long_is_killed(warm, tmp_path):
    with ThreadPoolExecutor(3) as threads:
        versions = list(threads.map(lambda _: run(warm, tmp_path, "--version").stdout, range(6)))
    assert len(set(versions)) == 1
    assert versions[0].strip()
    with pytest.raises(subprocess.TimeoutExpired):
        warm.run(("--help",), environment=dict(os.environ), cwd=tmp_path, stdin_text=None, seconds=0.001)
    assert run(warm, tmp_path, "--version").stdout == versions[0]
