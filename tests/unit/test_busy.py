"""Busy loops beside a command: they compute while it runs, and end with it however it ends."""

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
UNTIL_THEY_COMPUTE = """
import os, sys, time
import psutil
loops = [each for each in psutil.Process(os.getppid()).children() if each.pid != os.getpid()]
while min(each.cpu_times().user for each in loops) < 0.05:
    time.sleep(0.01)
sys.exit(len(loops))
"""


def test_so_many_loops_compute_beside_a_command_and_its_status_is_handed_on() -> None:
    busy = [sys.executable, "-m", "harness.busy", "--loops", "3"]
    assert subprocess.run([*busy, sys.executable, "-c", UNTIL_THEY_COMPUTE], cwd=ROOT, check=False).returncode == 3
    ended = subprocess.run([*busy, "sh", "-c", "kill -TERM $$"], cwd=ROOT, check=False)
    assert ended.returncode == 128 + signal.SIGTERM


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_no_loop_outlives_it(ending: signal.Signals) -> None:
    command = [sys.executable, "-m", "harness.busy", "--loops", "2", "sh", "-c", "sleep 600 & echo $!; wait"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True) as busy:
        assert busy.stdout is not None
        assert busy.stdout.readline()
        children = psutil.Process(busy.pid).children()
        loops = [each for each in children if "while True" in " ".join(each.cmdline())]
        assert len(loops) == 2
        busy.send_signal(ending)
        busy.wait(60)
        for loop in loops:
            wait_until(lambda loop=loop: not loop.is_running() or loop.status() == psutil.STATUS_ZOMBIE)
        os.killpg(busy.pid, signal.SIGKILL)  # what the command itself has left
