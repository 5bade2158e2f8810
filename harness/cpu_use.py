"""A pytest plugin: the CPU that each file of tests takes, with all that it starts, and how busy the machine was.

    pytest -p harness.cpu_use -n 4 --dist loadfile --no-loadscope-reorder

Each process of pytest-xdist joins a control group of its own, which whatever it starts inherits; only root may
make one. Elsewhere it counts its children that have ended, without commands that `harness.warm_command` forks.
"""

from __future__ import annotations

import contextlib
import os
import resource
import time
from collections import defaultdict
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Final

import pytest

_V1: Final = Path("/sys/fs/cgroup/cpuacct")
_V2: Final = Path("/sys/fs/cgroup")
_PROPERTY: Final = "cpu_seconds"
_BEGAN: Final = pytest.StashKey[float]()

_used: Callable[[], float] = time.process_time
_began: float = 0.0
_cpu: Final[defaultdict[str, float]] = defaultdict(float)
_wall: Final[defaultdict[str, float]] = defaultdict(float)


@pytest.hookimpl
def pytest_configure(config: pytest.Config) -> None:
    """Join a group in the processes that run tests."""
    global _used, _began  # noqa: PLW0603 - one of each run, and hooks have no other place
    _began = time.monotonic()
    if hasattr(config, "workerinput") or not getattr(config.option, "numprocesses", None):
        _used = _joined() or _children


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Look at the clock before everything of a test."""
    item.stash[_BEGAN] = _used()
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Write what the test took into its last report, which is sent to the process that people started."""
    if call.when == "teardown":
        item.user_properties.append((_PROPERTY, _used() - item.stash[_BEGAN]))
    return (yield)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add up by file."""
    file = report.nodeid.partition("::")[0]
    _wall[file] += report.duration
    if report.when == "teardown":
        _cpu[file] += sum(float(str(value)) for name, value in report.user_properties if name == _PROPERTY)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print both by file, the most expensive first."""
    seconds, total, cores = time.monotonic() - _began, sum(_cpu.values()), os.cpu_count() or 1
    terminalreporter.section("CPU and wall-clock seconds by file")
    for file, cpu in sorted(_cpu.items(), key=lambda pair: -pair[1]):
        terminalreporter.write_line(f"{cpu:8.1f} {_wall[file]:8.1f}  {file}")
    share = 100 * total / (seconds * cores)
    used = f"{total:8.1f} CPU-s in {seconds:.1f} s: {share:.0f} % of {cores} cores"
    terminalreporter.write_line(f"{used}, whose floor is {total / cores:.0f} s; collecting is not counted")


def _joined() -> Callable[[], float] | None:
    """The clock of a new control group that this process has joined."""
    version_1 = _V1.is_dir()
    group = (_V1 if version_1 else _V2) / f"pytest-{os.getpid()}"
    for old in group.parent.glob("pytest-*"):  # of a run that has ended: one with processes cannot be removed
        with contextlib.suppress(OSError):
            old.rmdir()
    try:
        group.mkdir()
        (group / "cgroup.procs").write_text(str(os.getpid()))
    except OSError:
        return None
    if version_1:
        return lambda: int((group / "cpuacct.usage").read_text()) / 1e9
    return lambda: int((group / "cpu.stat").read_text().split()[1]) / 1e6


def _children() -> float:
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)
