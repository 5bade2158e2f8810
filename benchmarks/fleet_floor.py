"""The least that a fleet of stacks costs under the rules, measured bare; `benchmarks.fleet` prints it.

Two parts, each with as many stacks and as many at once as the fleet: the starts of Terraform that the rules need
(plan, show and apply, each a process of its own, in a directory that is initialised), by `xargs`; and the durable
points of a provision by the bare SDK (`durable.py`), on the fleet's own server. Where each part keeps all cores
busy, one cannot hide behind the other, and their sum is a floor.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from temporalio.client import Client

from benchmarks.durable import operate
from benchmarks.report import Report
from bondstone.base.settings import Settings
from harness import processes

INIT = "cd {{}} && {0} init >init.log 2>&1"
STARTS = (
    "cd {{}} && {0} plan -out=stack.plan >plan.log 2>&1 && {0} show -json stack.plan >plan.json 2>show.log && "
    "{0} apply stack.plan >apply.log 2>&1"
)
_WARM_UP = 4
_CORES = os.cpu_count() or 1


@dataclass(frozen=True)
class Part:
    """What one part of the floor takes, for the whole fleet."""

    seconds: float
    cpu: float
    """CPU seconds of all its processes."""

    @property
    def busy(self) -> float:
        """Of the time of all cores, how much it uses."""
        return self.cpu / (self.seconds * _CORES)


def starts(
    directories: Sequence[Path], terraform: str, *, concurrency: int, environment: Mapping[str, str]
) -> Part:
    """Plan, show and apply of each stack, as processes of their own; what `init` takes is left out.

    Args:
        directories: Of the stacks, with their modules and values.
        terraform: The command, as a shell writes it.
        concurrency: Stacks at once.
        environment: Of Terraform.
    """

    def through_xargs(script: str) -> None:
        subprocess.run(
            ["xargs", "-P", str(concurrency), "-I{}", "sh", "-c", script.format(terraform)],
            input="\n".join(map(str, directories)),
            env={**os.environ, **environment},
            text=True,
            check=True,
        )

    through_xargs(INIT)
    times = os.times()
    began = time.monotonic()
    through_xargs(STARTS)
    seconds = time.monotonic() - began
    after = os.times()
    before_cpu, after_cpu = (each.children_user + each.children_system for each in (times, after))
    return Part(seconds, after_cpu - before_cpu)


async def durable_points(
    settings: Settings, server: psutil.Process, directory: Path, *, count: int, in_flight: int
) -> Part:
    """The durable points of so many provisions, with no tool.

    Args:
        settings: Of the platform whose server it uses.
        server: The process of that server.
        directory: For logs.
        count: Provisions.
        in_flight: At once.
    """
    sides = ("bare-control", "bare-executor")
    commands = [processes.module_command(side, "benchmarks.noop", settings, side) for side in sides]
    async with processes.running(commands, directory / "log") as workers:
        client = await Client.connect(settings.temporal_address, namespace=settings.temporal_namespace)
        watched = [server, psutil.Process(), *workers.values()]
        places = asyncio.Semaphore(in_flight)

        async def one(name: str) -> None:
            async with places:
                await operate(client, name)

        async def turn(size: int) -> None:
            name = f"t{uuid.uuid4().hex[:8]}"
            await asyncio.gather(*(one(f"{name}/floor{number}") for number in range(size)))

        await turn(_WARM_UP)
        before = sum(map(processes.cpu_seconds, watched))
        began = time.monotonic()
        await turn(count)
        seconds = time.monotonic() - began
        return Part(seconds, sum(map(processes.cpu_seconds, watched)) - before)


def add(report: Report, tool: Part, durable: Part, *, plain: float, stacks: int) -> None:
    """Add both parts to a report, and their sum.

    Args:
        report: To add to.
        tool: Terraform's starts.
        durable: The durable points.
        plain: What the other side takes, in seconds.
        stacks: Of the fleet.
    """
    report.add("  floor: Terraform's plan, show and apply by xargs", "s", tool.seconds)
    report.add("    of all cores' time", "", tool.busy)
    report.add("  floor: the durable points by the bare SDK", "s", durable.seconds)
    report.add("    of all cores' time", "", durable.busy)
    report.add("  both, one after the other", "s", tool.seconds + durable.seconds)
    report.add("    of it to xargs", "", (tool.seconds + durable.seconds) / plain)
    report.add("    CPU a stack, of both", "CPU-s", (tool.cpu + durable.cpu) / stacks)
