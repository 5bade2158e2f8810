"""A pytest plugin: no process of a test run outlives the run, however it ends.

Whatever tests start inherits an environment variable that names the run. A guard, in a session of its own, waits
for the end of the run; Ctrl-C, `kill -9` and a cancelled CI job all close its standard input. Then it ends what
still carries the name, in whatever session or directory that is, and removes the users that were made as hosts.
A run that left something is red.

The plugin also makes Ctrl-C mean Ctrl-C: a run that was started with SIGINT ignored (a background job of a shell)
would hand that down to every process it starts. SIGTERM (of `timeout`, of a cancelled CI job) acts like Ctrl-C, so
that the run still says what has failed until then.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import uuid
from typing import Final

import psutil
import pytest

from harness.waiting import NotInTime, wait_until

RUN: Final = "TEST_RUN"
"""The environment variable: ids of the run and of the runs around it."""
LEAVING_SECONDS: Final = 3
"""How long processes may take to end by themselves once the run is over."""
STOPPING_SECONDS: Final = 20
"""How long they may take after SIGTERM: a platform stops in order."""
_TRACKER: Final = "from multiprocessing.resource_tracker import main"
"""Python's own helper of `multiprocessing`: it ignores SIGTERM and ends with the process that started it."""

_guard: subprocess.Popen[str] | None = None


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Set the signal, and start the guard in the process that people started."""
    global _guard  # noqa: PLW0603 - one of each run, and hooks have no other place
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(config, "workerinput") or _guard is not None:  # a process of pytest-xdist belongs to the run
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    run = uuid.uuid4().hex
    outside = dict(os.environ)  # the guard itself does not belong to the run
    os.environ[RUN] = f"{os.environ.get(RUN, '')} {run}".strip()
    _guard = subprocess.Popen(
        [sys.executable, "-m", "harness.leftovers", run],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=outside,
        cwd=config.rootpath if (config.rootpath / "harness").is_dir() else None,
        start_new_session=True,
    )


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """End what is left; tests that left something have failed."""
    global _guard  # noqa: PLW0603
    if _guard is None:
        return
    left, _ = _guard.communicate("")
    _guard = None
    if left:
        sys.stderr.write(f"\nprocesses were still there after the tests, and were ended:\n{left}")
        session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED


def members(run: str) -> list[psutil.Process]:
    """The living processes that a run has started, and what these have started."""
    alive = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            ours = run in process.environ().get(RUN, "").split()
            if ours and process.status() != psutil.STATUS_ZOMBIE and _TRACKER not in " ".join(process.cmdline()):
                alive.append(process)
    return alive


def end(run: str) -> list[str]:
    """End all of a run: what does not end by itself is asked, and then killed.

    Returns:
        What had to be ended, a line each.
    """
    left = _after(run, LEAVING_SECONDS)
    names = [f"  {process.pid} {_words(process)}" for process in left]
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    for process in _after(run, STOPPING_SECONDS):
        with contextlib.suppress(psutil.Error):
            process.kill()
    return names


def _after(run: str, seconds: float) -> list[psutil.Process]:
    """What is left once all are gone, or the time is over."""
    with contextlib.suppress(NotInTime):
        wait_until(lambda: not members(run), seconds=seconds)
    return members(run)


def _words(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())[:200]
    except psutil.Error:
        return "(ended meanwhile)"


def _main(run: str) -> None:
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):  # what ends the run must not end its guard
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.read()
    for line in end(run):
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
    if sys.platform.startswith("linux") and os.geteuid() == 0:
        from harness.servers.hosts import remove_users_of_the_dead  # noqa: PLC0415 - in the end only

        remove_users_of_the_dead()


if __name__ == "__main__":
    _main(sys.argv[1])
    os._exit(0)  # a closed pipe is no error of ours
