"""A worker that dies is missed by the next one on its host: only what is provably dead is reported."""

from __future__ import annotations

import base64
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from temporalio.service import RPCError, RPCStatusCode

from bondstone.base.process_identity import Holder
from bondstone.base.processes import boot_id
from bondstone.workers.attempts import KEPT_SECONDS, AttemptFile, Attempts

RUN_AND_WAIT = """
import sys
from pathlib import Path
from bondstone.workers.attempts import Attempts

with Attempts(Path(sys.argv[1])).at_work(sys.argv[2].encode(), "orders-db/plan-1"):
    print("at work", flush=True)
    sys.stdin.read()
"""


class Reports:
    """What Temporal was told, and what it answers."""

    def __init__(self, refusal: RPCError | None = None) -> None:
        self.refusal = refusal
        self.failed: list[bytes] = []
        self.errors: list[Exception] = []

    async def __call__(self, task_token: bytes, error: Exception) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.failed.append(task_token)
        self.errors.append(error)


@contextmanager
def worker(work: Path, token: str) -> Iterator[subprocess.Popen[bytes]]:
    """Another process with an attempt at work."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN_AND_WAIT, str(work), token], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        with process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"at work\n"
            yield process
            process.kill()
    finally:
        process.kill()


def files(work: Path) -> list[Path]:
    return list((work / "attempts").iterdir())


def leave(work: Path, holder: Holder, name: str = "left.json") -> Path:
    """A file that nobody holds, as if its worker had died."""
    (work / "attempts").mkdir(exist_ok=True)
    file = work / "attempts" / name
    file.write_text(AttemptFile(task_token=base64.b64encode(b"token").decode(), holder=holder).model_dump_json())
    return file


def dead_holder() -> Holder:
    """A process of this boot that has ended."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return Holder.me("a").changed(pid=ended.pid)


async def test_the_attempt_of_a_killed_worker_is_reported_once(tmp_path: Path) -> None:
    attempts, reports = Attempts(tmp_path), Reports()
    with worker(tmp_path, "token-1") as process:
        process.kill()
        process.wait()
        assert await attempts.end_dead(reports) == 1
        assert await attempts.end_dead(reports) == 0
    assert reports.failed == [b"token-1"]
    assert f"pid {process.pid}" in str(reports.errors[0])
    assert files(tmp_path) == []


async def test_a_living_attempt_is_left_alone_also_when_its_worker_is_stopped(tmp_path: Path) -> None:
    reports = Reports()
    with worker(tmp_path, "token-1") as process:
        os.kill(process.pid, 19)  # SIGSTOP
        assert await Attempts(tmp_path).end_dead(reports) == 0
        assert len(files(tmp_path)) == 1
    assert reports.failed == []


async def test_an_attempt_of_this_very_process_is_left_alone(tmp_path: Path) -> None:
    attempts, reports = Attempts(tmp_path), Reports()
    with attempts.at_work(b"token", "a"):
        assert await attempts.end_dead(reports) == 0
        assert len(files(tmp_path)) == 1
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("changes", "reported"),
    [
        ({}, 1),
        ({"boot_id": "another-boot"}, 0),
        ({"boot_id": ""}, 0),
        ({"pid_namespace": "pid:[1]"}, 1),  # another container of this machine: the lock decides alone
        ({"pid_namespace": "pid:[1]", "boot_id": "another-boot"}, 0),
    ],
)
async def test_a_free_lock_counts_on_this_boot_of_this_machine_only(
    tmp_path: Path, changes: dict[str, str], reported: int
) -> None:
    file = leave(tmp_path, dead_holder().changed(**changes))
    assert boot_id()
    assert await Attempts(tmp_path).end_dead(Reports()) == reported
    assert file.exists() is not bool(reported)


@pytest.mark.parametrize("pid_namespace", ["", "pid:[1]"])
async def test_a_held_lock_protects_an_attempt_whose_process_cannot_be_found(
    tmp_path: Path, pid_namespace: str
) -> None:
    holder = dead_holder()
    file = leave(tmp_path, holder.changed(pid_namespace=pid_namespace or holder.pid_namespace))
    reports = Reports()
    with file.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert await Attempts(tmp_path).end_dead(reports) == 0
        assert file.exists()
    assert await Attempts(tmp_path).end_dead(reports) == 1


async def test_a_free_lock_of_a_living_process_proves_nothing(tmp_path: Path) -> None:
    file = leave(tmp_path, Holder.me("a"))
    assert await Attempts(tmp_path).end_dead(Reports()) == 0
    assert file.exists()


async def test_while_temporal_is_away_the_attempt_stays_to_be_reported(tmp_path: Path) -> None:
    attempts = Attempts(tmp_path)
    leave(tmp_path, dead_holder())
    away = Reports(RPCError("no connection", RPCStatusCode.UNAVAILABLE, b""))
    assert await attempts.end_dead(away) == 0
    reports = Reports()
    assert await attempts.end_dead(reports) == 1
    assert reports.failed == [b"token"]


async def test_an_attempt_that_temporal_no_longer_knows_is_forgotten(tmp_path: Path) -> None:
    file = leave(tmp_path, dead_holder())
    gone = Reports(RPCError("activity not found", RPCStatusCode.NOT_FOUND, b""))
    assert await Attempts(tmp_path).end_dead(gone) == 0
    assert not file.exists()


@pytest.mark.parametrize("name", ["left.json", "half.new"])
async def test_what_cannot_be_read_goes_away_after_a_day(tmp_path: Path, name: str) -> None:
    file = leave(tmp_path, dead_holder(), name)
    file.write_text("{")
    attempts = Attempts(tmp_path)
    assert await attempts.end_dead(Reports()) == 0
    assert file.exists()
    old = time.time() - KEPT_SECONDS - 1
    os.utime(file, (old, old))
    await attempts.end_dead(Reports())
    assert not file.exists()


async def test_without_room_for_the_file_the_activity_runs_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "attempts").write_text("not a directory")
    with Attempts(tmp_path).at_work(b"token", "a"):
        ran = True
    assert ran
