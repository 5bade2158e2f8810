"""A worker by a fork is what Python would have started: output, exit status, parent, session, descriptors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from harness.warm_workers import MODULES

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks as Linux does")

PLAIN = {name: os.environ[name] for name in os.environ if name.startswith(("PATH", "HOME", "PYTHON"))}


def start(module: str, *arguments: str, cwd: Path, forked: bool, **variables: str) -> subprocess.Popen[str]:
    words = ["-m", module] if forked else [f"-m{module}"]
    with (cwd / "output").open("wb") as output:
        return subprocess.Popen(
            [sys.executable, *words, *arguments],
            env={**PLAIN, **variables},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            text=True,
        )


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("bondstone.workers.api", []),
        ("bondstone.workers.executor", []),
        ("bondstone.workers.embedded", ["--port", "no number"]),
        ("bondstone.cli.app", ["service", "show", "nonsense"]),
    ],
)
def test_a_start_that_fails_says_the_same_and_has_the_same_status(module, arguments, tmp_path):
    outcomes = []
    for forked in (True, False):
        here = tmp_path / str(forked)
        here.mkdir()
        process = start(module, *arguments, cwd=here, forked=forked, BOND_TERRAFORM_SLOTS="no number")
        outcomes.append((process.wait(120), (here / "output").read_text().replace(str(here), "here")))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][0] not in {0, None}
    assert outcomes[0][1]


def test_it_is_a_child_of_ours_in_a_session_of_its_own_with_its_own_environment(tmp_path):
    control = "bondstone.workers.control"
    assert control in MODULES
    variables = {"TEMPORAL_ADDRESS": "127.0.0.1:1", "BOND_DATA": str(tmp_path / "data")}
    process = start(control, cwd=tmp_path, forked=True, **variables)
    try:
        process_view = psutil.Process(process.pid)
        assert process_view.ppid() == os.getpid()
        while process_view.name() != "control":  # from then on it is the module
            assert process.poll() is None
        while os.getsid(process.pid) != process.pid:
            assert process.poll() is None
    finally:
        process.kill()
    assert process.wait(60) == -9


def test_one_that_finds_other_modules_is_started_as_ever(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("print('of its own')\n", encoding="utf-8")
    process = start("bondstone.workers.embedded", "--help", cwd=tmp_path, forked=True, PYTHONPATH=str(tmp_path))
    assert process.wait(120) == 0
    assert (tmp_path / "output").read_text().startswith("of its own\n")


def test_other_programs_are_started_as_ever():
    done = subprocess.run([sys.executable, "-m", "platform"], capture_output=True, check=True)
    assert done.stdout
