"""A test run leaves no process behind, and Ctrl-C stops it however it was started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from harness.waiting import wait_until

ROOT = Path(__file__).parents[2]

TESTS = """
import signal, subprocess, sys, time
from pathlib import Path

def test_starts_a_server_in_a_session_of_its_own():
    server = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    Path("pid.new").write_text(str(server.pid))
    Path("pid.new").rename("pid")
    {then}
"""


def run(directory: Path, then: str, *, ignored: bool = False) -> subprocess.Popen[str]:
    """Start pytest in a directory with one test that leaves a server behind."""
    (directory / "test_it.py").write_text(TESTS.format(then=then))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "harness.leftovers", "-p", "no:cacheprovider"]
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if ignored else None  # inherited by what starts now
    try:
        return subprocess.Popen(
            [*command, "--rootdir", str(directory)],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)


def server(directory: Path, process: subprocess.Popen[str]) -> psutil.Process:
    """The process that the test has started."""

    def started() -> bool:
        assert process.poll() is None, process.communicate()
        return (directory / "pid").exists()

    wait_until(started, "the test's server")
    return psutil.Process(int((directory / "pid").read_text()))


def test_a_run_that_leaves_a_process_is_red_and_names_it(tmp_path):
    process = run(tmp_path, "server.returncode = 0")  # it is left behind on purpose
    left = server(tmp_path, process)
    words = f"{left.pid} {sys.executable} -c import time; time.sleep(600)"
    output, _ = process.communicate(timeout=120)
    assert process.returncode == pytest.ExitCode.TESTS_FAILED
    assert words in output
    left.wait(timeout=60)


@pytest.mark.parametrize(
    ("ending", "ignored"),
    [(signal.SIGINT, False), (signal.SIGINT, True), (signal.SIGTERM, False), (signal.SIGKILL, False)],
)
def test_nothing_is_left_of_a_run_that_is_ended(tmp_path, ending, ignored):
    process = run(tmp_path, "time.sleep(600)", ignored=ignored)
    left = server(tmp_path, process)
    process.send_signal(ending)
    process.communicate(timeout=120)  # the guard holds the pipe until it has done its work
    left.wait(timeout=60)


def test_a_run_that_runs_out_of_time_says_what_has_failed(tmp_path):
    (tmp_path / "test_before.py").write_text("def test_that_fails():\n    assert 1 == 2\n")
    process = run(tmp_path, "time.sleep(600)")
    server(tmp_path, process)
    process.terminate()
    output, _ = process.communicate(timeout=120)
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert "FAILED test_before.py::test_that_fails - assert 1 == 2" in output


def test_what_a_run_started_with_sigint_ignored_starts_can_be_interrupted(tmp_path):
    then = "server.send_signal(signal.SIGINT); server.wait(60)"  # it sleeps for ten minutes where it ignores that
    process = run(tmp_path, then, ignored=True)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
