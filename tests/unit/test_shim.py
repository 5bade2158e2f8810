"""What is left of a tool when its worker has died: `activities/tooling/shim.py`, between the two."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from bondstone.activities.ansible.configuration import SOCKETS
from bondstone.activities.tooling import scratch
from bondstone.activities.tooling.process import shimmed
from bondstone.activities.tooling.scratch import RUN_MARK, kill_marked
from harness.waiting import wait_until

TOOL = """
import os, signal, sys, time
leaves = sys.argv[1] == "leaves"
signal.signal(signal.SIGINT, lambda *_: sys.exit(0) if leaves else None)
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)                                  # so the worker below is nobody's child
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    open("worker", "w").close()
else:
    open("tool", "w").close()
while True:
    time.sleep(0.02)
"""


@pytest.fixture(autouse=True)
def _leaves_nothing(tmp_path: Path) -> Iterator[None]:
    yield
    kill_marked(tmp_path)


@pytest.mark.parametrize("behaviour", ["hangs", "leaves"])
def test_a_tool_that_hangs_when_its_worker_dies_is_killed_with_its_workers(tmp_path: Path, behaviour: str):
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shim = subprocess.Popen(
            shimmed("exec", [sys.executable, "-c", TOOL, behaviour], killed_after_seconds=0.3),
            cwd=tmp_path,
            env={RUN_MARK: str(tmp_path)},
            stdin=subprocess.PIPE,
            pass_fds=[lock.fileno()],
            start_new_session=True,
        )
    wait_until(lambda: (tmp_path / "tool").exists() and (tmp_path / "worker").exists())
    assert shim.stdin is not None
    shim.stdin.close()  # as the kernel does when a worker is killed
    assert shim.wait(timeout=60) == (0 if behaviour == "leaves" else -9)
    with (tmp_path / "lock").open() as lock:
        wait_until(lambda: is_free(lock.fileno()))


def test_a_folder_of_sockets_that_is_gone_changes_no_exit_code(tmp_path: Path):
    with (tmp_path / "complaints").open("wb") as complaints:
        shim = subprocess.Popen(
            shimmed("exec", [sys.executable, "-c", TOOL, "leaves"], killed_after_seconds=0.3),
            cwd=tmp_path,
            env={RUN_MARK: str(tmp_path), SOCKETS: str(tmp_path / "gone")},
            stdin=subprocess.PIPE,
            stderr=complaints,
            start_new_session=True,
        )
    wait_until((tmp_path / "tool").exists)
    assert shim.stdin is not None
    shim.stdin.close()
    assert shim.wait(timeout=60) == 0
    assert (tmp_path / "complaints").read_text() == ""


def test_a_tool_that_keeps_state_is_asked_once_and_left_its_time(tmp_path: Path):
    tool = (
        "import os, signal, time\n"
        "asked = []\n"
        "signal.signal(signal.SIGINT, lambda *_: asked.append(1))\n"
        "open('tool', 'w').close()\n"
        "while not (asked and os.path.exists('saved')): time.sleep(0.02)\n"
        "open('asked', 'w').write(str(len(asked)))\n"
    )
    shim = subprocess.Popen(
        shimmed("exec", [sys.executable, "-c", tool]),
        cwd=tmp_path,
        env={RUN_MARK: str(tmp_path)},
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    wait_until((tmp_path / "tool").exists)
    assert shim.stdin is not None
    shim.stdin.close()
    time.sleep(0.5)
    assert shim.poll() is None
    (tmp_path / "saved").touch()
    assert shim.wait(timeout=60) == 0
    assert (tmp_path / "asked").read_text() == "1"


def is_free(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def test_a_killed_process_that_nobody_collects_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scratch, "_KILLED_SECONDS", 60.0)
    # the parent becomes a program that waits for no children, as the first process of many containers
    script = f'env {RUN_MARK}="$1" sleep 300 & echo $!; exec sleep 300'
    with subprocess.Popen(["sh", "-c", script, "sh", str(tmp_path)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        try:
            child = psutil.Process(int(parent.stdout.readline()))
            wait_until(lambda: child.cmdline() == ["sleep", "300"])
            began = time.monotonic()
            assert kill_marked(tmp_path) == 1
            assert child.status() == psutil.STATUS_ZOMBIE
            assert time.monotonic() - began < 30
        finally:
            parent.kill()
