"""Time and CPU from `bond up` to healthy, on new and on existing data; memory; time of `bond --help`.

The memory of all is what they take together: pages that several of them share count once, where resident sizes
(RSS) would count them for each. That of one process is its proportional share (PSS).

    python -m benchmarks.startup --beside ../before      # the `bond` of another checkout, turn by turn
"""

from __future__ import annotations

import argparse
import subprocess
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks import stacks
from benchmarks.report import Report, parser, run, say
from bondstone.client.direct.client import DirectClient
from harness import processes

AIM_SECONDS = 3.0
AIM_MIB = 330.0
SETTLE_SECONDS = 2.0
PROMISE = "one-stack"
SERVICES = 5


async def measure(options: argparse.Namespace) -> Report:
    report = Report("startup")
    sides = {"": processes.BOND}
    if options.beside:
        sides["other checkout: "] = options.beside.absolute() / ".venv" / "bin" / "bond"
    figures = {side: _Figures() for side in sides}
    for number in range(options.runs):
        for side, bond in sides.items():
            await _run(bond, figures[side])
            say(f"run {number + 1}: {side}{figures[side].fresh[-1]:.2f} s, {figures[side].again[-1]:.2f} s")
    helps = [_seconds([str(processes.BOND), "--help"]) for _ in range(options.runs * 2)]
    report.add("bond --help", "s", *helps)
    for side, values in figures.items():
        aims = {"at_most": AIM_SECONDS} if not side else {}
        report.add(f"{side}bond up --detach to healthy, new data", "s", *values.fresh, **aims)
        report.add(f"{side}bond up --detach to healthy, existing data", "s", *values.again, **aims)
        report.add(f"{side}CPU of all until healthy, new data", "CPU-s", *values.cpu)
        report.add(f"{side}bond down", "s", *values.downs)
        for title, weights in (("idle", values.idle), (f"after {SERVICES} services", values.used)):
            aims = {"at_most": AIM_MIB} if not side and title == "idle" else {}
            report.add(f"{side}memory, {title}: all", "MiB", *weights.pop("all"), **aims)
            for name, sizes in weights.items():
                report.add(f"{side}  {name}", "MiB", *sizes)
    return report


@dataclass
class _Figures:
    """Of one side, by run."""

    fresh: list[float] = field(default_factory=list)
    again: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    downs: list[float] = field(default_factory=list)
    idle: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    used: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


async def _run(bond: Path, figures: _Figures) -> None:
    with processes.scratch() as directory:
        data = directory / "data"
        began = time.monotonic()
        with processes.bond_up(data, bond) as (platform, status):
            figures.fresh.append(time.monotonic() - began)
            figures.cpu.append(processes.cpu_seconds(psutil.Process(status["pid"])))
            time.sleep(SETTLE_SECONDS)  # noqa: ASYNC251 - nothing else runs here
            _weigh(status, figures.idle)
            await processes.publish(platform.settings, stacks.promise(directory, PROMISE, slow=False))
            async with DirectClient.connect(platform.settings, by="benchmark") as client:
                for service in range(SERVICES):
                    await (await client.services.request(PROMISE, f"bench/s{service}")).result()
            _weigh(status, figures.used)
            began = time.monotonic()
        figures.downs.append(time.monotonic() - began)
        began = time.monotonic()
        with processes.bond_up(data, bond):
            figures.again.append(time.monotonic() - began)


def _weigh(status: Mapping[str, Any], weights: dict[str, list[float]]) -> None:
    """Note the memory of the supervisor and of each process it started."""
    pids = {"supervisor": status["pid"], **{each["name"]: each["pid"] for each in status["processes"]}}
    weights["all"].append(processes.together_mib(list(pids.values())))
    for name, pid in pids.items():
        weights[name].append(float(psutil.Process(pid).memory_full_info().pss) / 2**20)


def _seconds(command: Sequence[str]) -> float:
    began = time.monotonic()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - began


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--runs", type=int, default=3, help="platforms to start (default: %(default)s)")
    options.add_argument("--beside", type=Path, metavar="DIR", help="another checkout to compare with")
    run(options.parse_args(), measure)


if __name__ == "__main__":
    main()
