"""The least that a fleet of stacks costs under the rules, measured bare; `benchmarks.fleet` prints it.

Of instant resources, two parts, each with as many stacks and as many at once as the fleet: the starts of Terraform
that the rules need (plan, show and apply, each a process of its own, in a directory that is initialised, no
package of a provider read again), by `xargs`; and the durable points of a provision by the bare SDK
(`durable.py`), on the fleet's own server. Where each part keeps all cores busy, one cannot hide behind the other,
and their sum is a floor.

Of resources that take two seconds, both together: the durable points with Terraform in them (`durable_stacks.py`).
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from temporalio.client import Client

from benchmarks.durable import operate
from benchmarks.report import Report
from bondstone.activities.terraform.environment import GARBAGE_COLLECTION
from bondstone.base.settings import Settings
from harness import processes

INIT = "cd {{}} && {0} init >init.log 2>&1"
STARTS = (
    "cd {{}} && {0} plan -out=stack.plan >plan.log 2>&1 && {0} show -json stack.plan >plan.json 2>show.log && "
    "{0} apply stack.plan >apply.log 2>&1"
)
_HASHES = re.compile(r"^  hashes = \[\n(?:    .*\n)*  \]\n", re.MULTILINE)
"""The checksums of a provider in a dependency lock file."""
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
    initialise(directories, terraform, concurrency=concurrency, environment=environment)
    times = os.times()
    began = time.monotonic()
    environment = {**environment, **GARBAGE_COLLECTION}  # as Bondstone's
    _through_xargs(STARTS, directories, terraform, concurrency=concurrency, environment=environment)
    seconds = time.monotonic() - began
    after = os.times()
    before_cpu, after_cpu = (each.children_user + each.children_system for each in (times, after))
    return Part(seconds, after_cpu - before_cpu)


def initialise(
    directories: Sequence[Path], terraform: str, *, concurrency: int, environment: Mapping[str, str]
) -> None:
    """Initialise stacks, and have Terraform read no package of a provider again, as Bondstone does.

    Args:
        directories: Of the stacks, with their modules and values.
        terraform: The command, as a shell writes it.
        concurrency: Stacks at once.
        environment: Of Terraform.
    """
    _through_xargs(INIT, directories, terraform, concurrency=concurrency, environment=environment)
    for lock_file in (directory / ".terraform.lock.hcl" for directory in directories):
        if lock_file.exists():
            text = lock_file.read_text(encoding="utf-8")
            lock_file.write_text(_HASHES.sub("", text), encoding="utf-8")


def _through_xargs(
    script: str,
    directories: Sequence[Path],
    terraform: str,
    *,
    concurrency: int,
    environment: Mapping[str, str],
) -> None:
    subprocess.run(
        ["xargs", "-P", str(concurrency), "-I{}", "sh", "-c", script.format(terraform)],
        input="\n".join(map(str, directories)),
        env={**os.environ, **environment},
        text=True,
        check=True,
    )


async def durable_points(
    settings: Settings,
    server: psutil.Process,
    directory: Path,
    *,
    count: int,
    in_flight: int,
    make: Callable[[Sequence[str]], None] | None = None,
) -> Part:
    """The durable points of so many provisions.

    Args:
        settings: Of the platform whose server it uses.
        server: The process of that server.
        directory: For logs.
        count: Provisions.
        in_flight: At once.
        make: Makes the stacks of services, by their ids, before they are provisioned; default: with no tool.
    """
    sides = ("bare-control", "bare-executor" if make is None else "bare-stacks")
    commands = [processes.module_command(side, "benchmarks.noop", settings, side) for side in sides]
    async with processes.running(commands, directory / "log") as workers:
        client = await Client.connect(settings.temporal_address, namespace=settings.temporal_namespace)
        watched = [server, psutil.Process(), *workers.values()]
        places = asyncio.Semaphore(in_flight)

        async def one(name: str) -> None:
            async with places:
                await operate(client, name)

        async def turn(services: Sequence[str]) -> None:
            await asyncio.gather(*map(one, services))

        def made(size: int) -> list[str]:
            name = f"t{uuid.uuid4().hex[:8]}"
            services = [f"{name}/floor{number}" for number in range(size)]
            if make is not None:
                make(services)
            return services

        await turn(made(_WARM_UP))
        services = made(count)
        before = sum(map(processes.cpu_seconds, watched))
        began = time.monotonic()
        await turn(services)
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


def add_together(report: Report, part: Part, *, plain: float, stacks: int) -> None:
    """Add the durable points with Terraform in them to a report.

    Args:
        report: To add to.
        part: What they take.
        plain: What the other side takes, in seconds.
        stacks: Of the fleet.
    """
    report.add("  floor: the durable points with Terraform in them, by the bare SDK", "s", part.seconds)
    report.add("    of it to xargs", "", part.seconds / plain)
    report.add("    CPU a stack", "CPU-s", part.cpu / stacks)
