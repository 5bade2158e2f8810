"""What processes of ours do about their memory before anything else: hide it, and share one arena of it."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_ENDS = """
import ctypes, os, runpy, sys, threading
leave = os._exit

def say_and_leave(status):
    libc = ctypes.CDLL(None)
    print("dumpable" if libc.prctl(3, 0, 0, 0, 0) else "hidden", flush=True)  # PR_GET_DUMPABLE
    if hasattr(libc, "malloc_info"):
        say_arenas(libc)
    leave(status)

def say_arenas(libc):
    libc.malloc.restype = ctypes.c_void_p
    allocated = threading.Barrier(5)  # all of them at once, so that no arena is used again

    def allocate():
        libc.malloc(1000)
        allocated.wait(60)

    threads = [threading.Thread(target=allocate) for _ in range(4)]
    [thread.start() for thread in threads]
    allocated.wait(60)
    libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
    libc.fflush(None)

os._exit = say_and_leave
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""
"""A process that is told what is wrong, so that it ends before it serves, and then says what it has done."""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="prctl(2) is Linux's")
@pytest.mark.parametrize("process", ["control", "executor", "api", "codec", "embedded"])
def test_a_process_hides_its_memory_before_it_reads_a_key_and_the_threads_of_a_worker_share_one_arena(
    process: str,
) -> None:
    nowhere = "/dev/null/no-directory"
    environment = {"BOND_DATA": nowhere, "BOND_TERRAFORM_SLOTS": "many", "PATH": "/usr/bin:/bin"}
    arguments = [f"bondstone.workers.{process}", *(["--data", nowhere] if process == "embedded" else [])]
    ran = subprocess.run(
        [sys.executable, "-c", _ENDS, *arguments],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert ran.returncode, "it must not serve"
    assert "hidden" in ran.stdout.split(), ran.stderr
    if platform.libc_ver()[0] == "glibc" and process in {"control", "executor", "api"}:
        assert ran.stdout.count("<heap nr=") == 1, ran.stdout + ran.stderr


_FREES_WHAT_OTHERS_SURROUND = """
import psutil
from bondstone.base.processes import give_back_memory

held = [bytearray(2000) for _ in range(20_000)]  # malloc's: pymalloc has the objects up to 512 bytes
held = held[::50]
before = psutil.Process().memory_info().rss
give_back_memory()
print((before - psutil.Process().memory_info().rss) // 1024)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc_trim(3) is glibc's")
def test_memory_that_nobody_uses_goes_back_to_the_system_though_what_is_used_lies_around_it() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", _FREES_WHAT_OTHERS_SURROUND],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert int(ran.stdout) > 20_000, "KiB, of 39,000 that are free"
