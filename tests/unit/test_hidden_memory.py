"""Processes that hold keys keep their memory from other processes of their user."""

from __future__ import annotations

import subprocess
import sys

import pytest

_SAYS_WHETHER = """
import ctypes, os, runpy, sys
leave = os._exit

def say_and_leave(status):
    print("dumpable" if ctypes.CDLL(None).prctl(3, 0, 0, 0, 0) else "hidden", flush=True)  # PR_GET_DUMPABLE
    leave(status)

os._exit = say_and_leave
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="prctl(2) is Linux's")
@pytest.mark.parametrize("process", ["control", "executor", "api", "codec", "embedded"])
def test_a_process_hides_its_memory_before_it_reads_a_key(process: str) -> None:
    # What it is told is wrong, so that each ends before it serves or waits for anything.
    nowhere = "/dev/null/no-directory"
    environment = {"BOND_DATA": nowhere, "BOND_TERRAFORM_SLOTS": "many", "PATH": "/usr/bin:/bin"}
    arguments = [f"bondstone.workers.{process}", *(["--data", nowhere] if process == "embedded" else [])]
    ran = subprocess.run(
        [sys.executable, "-c", _SAYS_WHETHER, *arguments],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert ran.returncode, "it must not serve"
    assert ran.stdout.split()[-1:] == ["hidden"], ran.stderr
