"""The data directory's lock, and the file that tells clients where the platform is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from bondstone.base.data_directory import PLATFORM_FILE
from bondstone.base.errors import PlatformBusy, StoreUnavailable
from bondstone.base.platform_file import LOCK_FILE, Platform, PlatformLock, lock_holder
from bondstone.base.processes import birth, is_alive
from bondstone.base.settings import Settings

HOLD = """
import sys
from pathlib import Path
from bondstone.base.platform_file import PlatformLock
lock = PlatformLock.acquire(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def platform(**changes):
    inputs = {
        "status": "running",
        "pid": os.getpid(),
        "born": birth(os.getpid()),
        "started_at": datetime.now(UTC),
    }
    return Platform(**{**inputs, **changes})


def test_a_directory_in_use_is_refused_and_names_the_process(tmp_path, holder):
    with pytest.raises(PlatformBusy, match=str(holder.pid)):
        PlatformLock.acquire(tmp_path)
    assert lock_holder(tmp_path) == holder.pid


def test_kill_9_of_the_holder_frees_the_directory(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait(60)
    assert lock_holder(tmp_path) is None
    lock = PlatformLock.acquire(tmp_path)
    assert lock_holder(tmp_path) == os.getpid()
    lock.release()
    assert lock_holder(tmp_path) is None


@pytest.mark.parametrize("content", ["", "nonsense", "[]", '{"pid": 1}', '{"pid": "x", "born": null}'])
def test_a_lock_file_with_anything_in_it_is_nobodys(tmp_path, content):
    (tmp_path / LOCK_FILE).write_text(content)
    assert lock_holder(tmp_path) is None
    PlatformLock.acquire(tmp_path).release()


def test_another_process_with_the_same_pid_is_not_the_one_that_was():
    assert is_alive(os.getpid(), birth(os.getpid()))
    boot, _, since = birth(os.getpid()).partition("/")
    assert not is_alive(os.getpid(), f"{boot}/{float(since) - 0.01:.17g}"), "born a tick of the clock earlier"
    assert not is_alive(os.getpid(), f"{boot[::-1]}/{since}"), "before the machine was started again"


def test_a_zombie_is_not_alive():
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert birth(process.pid) is None
    process.wait()


def test_what_is_written_is_private_complete_and_feeds_the_settings(tmp_path, monkeypatch):
    for name in list(os.environ):
        if name.startswith("BOND_"):
            monkeypatch.delenv(name)
    platform(settings={"temporal_address": "127.0.0.1:9"}).write(tmp_path)
    assert (tmp_path / PLATFORM_FILE).stat().st_mode & 0o777 == 0o600
    assert Platform.read(tmp_path).alive
    assert Settings.load(data=tmp_path).temporal_address == "127.0.0.1:9"
    assert [path.name for path in tmp_path.iterdir()] == [PLATFORM_FILE], "no temporary file is left"


def test_a_file_that_is_not_one_reads_as_none(tmp_path):
    assert Platform.read(tmp_path) is None
    (tmp_path / PLATFORM_FILE).write_text("{}")
    assert Platform.read(tmp_path) is None


def test_a_directory_that_is_gone_is_said_in_words(tmp_path):
    with pytest.raises(StoreUnavailable, match="cannot write"):
        platform().write(tmp_path / "gone")
