"""What a file of tests takes is told with what it starts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUSY = "import time\nwhile time.process_time() < 0.3: pass"
TESTS = f"""
import subprocess, sys, time
def test_that_starts_something(): subprocess.run([sys.executable, "-c", {BUSY!r}], check=True)
def test_that_waits(): time.sleep(0.3)
"""


def test_the_cpu_of_what_a_test_starts_is_its_files(tmp_path: Path) -> None:
    (tmp_path / "test_busy_one.py").write_text(TESTS)
    (tmp_path / "test_idle_one.py").write_text("def test_nothing(): pass\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "harness.cpu_use", "-n", "1", "-p", "no:cacheprovider"]
    ran = subprocess.run(
        [*command, "--dist", "loadfile", "--rootdir", str(tmp_path), str(tmp_path)],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    by_file = dict(re.findall(r"^ +([0-9.]+ +[0-9.]+)  (test_\w+\.py)$", ran.stdout, re.MULTILINE))
    cpu = {file: float(figures.split()[0]) for figures, file in by_file.items()}
    assert cpu["test_busy_one.py"] >= 0.3
    assert cpu["test_idle_one.py"] < cpu["test_busy_one.py"]
    assert re.search(r"CPU-s in .* whose floor is", ran.stdout)
