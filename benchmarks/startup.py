"""Time from `bond up` to healthy, on new and on existing data; memory of each process; time of `bond --help`."""

from __future__ import annotations

import argparse
import subprocess
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import psutil

from benchmarks import processes, stacks
from benchmarks.report import Report, parser, run, say
from bondstone.client.direct.client import DirectClient

AIM_SECONDS = 5.0
SETTLE_SECONDS = 2.0
PROMISE = "one-stack"
SERVICES = 5


async def measure(options: argparse.Namespace) -> Report:
    report = Report("startup")
    fresh: list[float] = []
    again: list[float] = []
    downs: list[float] = []
    idle: dict[str, list[float]] = defaultdict(list)
    used: dict[str, list[float]] = defaultdict(list)
    for number in range(options.runs):
        with processes.scratch() as directory:
            data = directory / "data"
            began = time.monotonic()
            with processes.bond_up(data) as (platform, status):
                fresh.append(time.monotonic() - began)
                time.sleep(SETTLE_SECONDS)  # noqa: ASYNC251 - nothing else runs here
                _weigh(status, idle)
                await processes.publish(platform.settings, stacks.promise(directory, PROMISE, slow=False))
                async with DirectClient.connect(platform.settings, by="benchmark") as bond:
                    for service in range(SERVICES):
                        await (await bond.services.request(PROMISE, f"bench/s{service}")).result()
                _weigh(status, used)
                began = time.monotonic()
            downs.append(time.monotonic() - began)
            began = time.monotonic()
            with processes.bond_up(data):
                again.append(time.monotonic() - began)
        say(f"run {number + 1}: {fresh[-1]:.2f} s on new data, {again[-1]:.2f} s on existing data")
    helps = [_seconds([str(processes.BOND), "--help"]) for _ in range(options.runs * 2)]
    report.add("bond up --detach to healthy, new data", "s", *fresh, at_most=AIM_SECONDS)
    report.add("bond up --detach to healthy, existing data", "s", *again, at_most=AIM_SECONDS)
    report.add("bond down", "s", *downs)
    report.add("bond --help", "s", *helps)
    for title, weights in (("resident, idle", idle), (f"resident, after {SERVICES} services", used)):
        report.add(f"{title}: all", "MiB", *(sum(each) for each in zip(*weights.values(), strict=True)))
        for name, values in weights.items():
            report.add(f"  {name}", "MiB", *values)
    return report


def _weigh(status: Mapping[str, Any], weights: dict[str, list[float]]) -> None:
    """Note the memory of the supervisor and of each process it started."""
    for name, pid in [
        ("supervisor", status["pid"]),
        *((each["name"], each["pid"]) for each in status["processes"]),
    ]:
        weights[name].append(processes.resident_mib(psutil.Process(pid)))


def _seconds(command: Sequence[str]) -> float:
    began = time.monotonic()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - began


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--runs", type=int, default=3, help="platforms to start (default: %(default)s)")
    run(options.parse_args(), measure)


if __name__ == "__main__":
    main()
