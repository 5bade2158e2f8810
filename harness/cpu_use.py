"""A pytest plugin: the CPU that each file of tests takes, with all that it starts, and how busy the machine was.

    pytest -p harness.cpu_use -n 4 --dist loadfile --no-loadscope-reorder --by-program

Each process of pytest-xdist joins a control group of its own, which whatever it starts inherits; only root may
make one. Elsewhere it counts its children that have ended, without commands that `harness.warm_command` forks.
"""

from __future__ import annotations

import contextlib
import os
import resource
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from harness import process_accounting
from harness.process_accounting import Program

_V1: Final = Path("/sys/fs/cgroup/cpuacct")
_V2: Final = Path("/sys/fs/cgroup")
_SHOWN: Final = 40
"""Programs."""
_PROPERTY: Final = "cpu_seconds"
_BEGAN: Final = pytest.StashKey[float]()
_ACCOUNTS: Final = pytest.StashKey[tuple[contextlib.ExitStack, Path]]()
_OURS: Final = "pytest"
"""What the processes that run tests are called."""
_TESTS: Final = frozenset({_OURS, "warm"})
"""Names of the tests' processes; from the second, `harness.warm_command`, others are forked."""
_BONDSTONE: Final = frozenset({"bond", "embedded", "control", "executor", "api", "codec"})
"""The names of its processes, also where they are forked."""

_used: Callable[[], float] = time.process_time
_began: float = 0.0
_cpu: Final[defaultdict[str, float]] = defaultdict(float)
_wall: Final[defaultdict[str, float]] = defaultdict(float)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add an option: the kernel accounts for every process of the machine, which not everybody wants."""
    parser.addoption("--by-program", action="store_true", help="also the CPU by program; only for root")


@pytest.hookimpl
def pytest_configure(config: pytest.Config) -> None:
    """Join a group in the processes that run tests."""
    global _used, _began  # noqa: PLW0603 - one of each run, and hooks have no other place
    _began = time.monotonic()
    if hasattr(config, "workerinput") or not getattr(config.option, "numprocesses", None):
        _used = _joined() or _children
        process_accounting.name_this_process(_OURS)
    if config.getoption("--by-program") and not hasattr(config, "workerinput"):
        accounts = contextlib.ExitStack()
        try:
            config.stash[_ACCOUNTS] = accounts, accounts.enter_context(process_accounting.accounting())
        except process_accounting.Unavailable as error:
            raise pytest.UsageError(f"--by-program needs the kernel's process accounting: {error}") from None


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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print both by file, the most expensive first, and the CPU by program if asked."""
    seconds, total, cores = time.monotonic() - _began, sum(_cpu.values()), os.cpu_count() or 1
    terminalreporter.section("CPU and wall-clock seconds by file")
    for file, cpu in sorted(_cpu.items(), key=lambda pair: -pair[1]):
        terminalreporter.write_line(f"{cpu:8.1f} {_wall[file]:8.1f}  {file}")
    share = 100 * total / (seconds * cores)
    used = f"{total:8.1f} CPU-s in {seconds:.1f} s: {share:.0f} % of {cores} cores"
    terminalreporter.write_line(f"{used}, whose floor is {total / cores:.0f} s; collecting is not counted")
    if _ACCOUNTS in config.stash:
        accounts, records = config.stash[_ACCOUNTS]
        programs = process_accounting.by_program(records.read_bytes())
        accounts.close()
        terminalreporter.section("CPU seconds by program")
        for line in _told(programs):
            terminalreporter.write_line(line)


def _told(programs: Mapping[str, Program]) -> Iterator[str]:
    """The programs that take most, and the sums by who started them."""
    dearest = sorted(programs.items(), key=lambda pair: -pair[1].cpu)
    for name, program in dearest[:_SHOWN]:
        yield f"{program.cpu:8.1f} in {program.processes:6}  {name}"
    sums = {"the tests' own processes": 0.0, "Bondstone's processes": 0.0, "the programs that they start": 0.0}
    tests, bondstone, tools = sums
    for name, program in dearest:
        sums[tests if name in _TESTS else bondstone if name in _BONDSTONE else tools] += program.cpu
    for who, cpu in sums.items():
        yield f"{cpu:8.1f} CPU-s: {who}"
    driven, cores = sums[bondstone] + sums[tools], os.cpu_count() or 1
    yield f"{driven / cores:8.0f} s: what the tests drive, on {cores} cores that are never idle"


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
