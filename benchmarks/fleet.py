"""A fleet of Terraform stacks through Bondstone against `xargs -P` of plain Terraform, at the same concurrency.

Both sides make the same stacks of provider-less resources with the same binary and take turns: once with resources
that take two seconds each, as a cloud's do, once with instant ones. Plain: `xargs -P 4` of `terraform init &&
terraform apply -auto-approve`, each stack in a directory of its own. Bondstone also keeps the plan, asks the
policies, keeps every state and writes the ledger.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shlex
import subprocess
import time
import uuid
from collections import defaultdict
from pathlib import Path

import psutil

from benchmarks import processes, stacks
from benchmarks.histories import WORKFLOW_TASK, Spent, spent_by
from benchmarks.report import Figure, Report, parser, run, say
from bondstone.activities.terraform.binary import Tool, find_tool
from bondstone.base.settings import Settings
from bondstone.client.direct.client import DirectClient

SLOW, INSTANT = "two-seconds", "instant"
TERRAFORM_ENVIRONMENT = {"TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "CHECKPOINT_DISABLE": "1"}
WRAPPER = """\
#!/bin/sh
began=$(date +%s%N)
{command} "$@"
status=$?
for verb in "$@"; do case "$verb" in -*) ;; *) break ;; esac; done
echo "$verb $began $(date +%s%N)" >> {log}
exit $status
"""


async def measure(options: argparse.Namespace) -> Report:
    report = Report("fleet")
    tool = find_tool(Settings())
    with processes.scratch() as directory:
        names = [name for name in (SLOW, INSTANT) if options.only in {name, ""}]
        promises = {name: stacks.promise(directory / "promises", name, slow=name == SLOW) for name in names}
        slots = {"BOND_TERRAFORM_SLOTS": str(options.concurrency)}
        with processes.bond_up(directory / "data", **slots) as (platform, _):
            for promise in promises.values():
                await processes.publish(platform.settings, promise)
            async with DirectClient.connect(platform.settings, by="benchmark") as bond:
                for name in names:
                    await _compare(options, report, name, bond=bond, tool=tool, directory=directory)
        if INSTANT in names:
            await _look_inside(options, report, tool, directory, promises[INSTANT])
    report.notes.append(
        f"{options.stacks} stacks of {stacks.RESOURCES} resources, {options.concurrency} applies at once, "
        f"{options.in_flight} services in flight, with {tool.path} ({tool.mode}); "
        f"the sides take turns; Bondstone's first turn includes its one `init`"
    )
    return report


async def _compare(
    options: argparse.Namespace, report: Report, name: str, *, bond: DirectClient, tool: Tool, directory: Path
) -> None:
    slow = name == SLOW
    ours: list[float] = []
    plain: list[float] = []
    for number in range(options.rounds):
        ours.append((await _through_bondstone(bond, name, options.stacks, options.in_flight))[0])
        plain.append(await asyncio.to_thread(_through_xargs, tool, directory, options, slow=slow))
        say(f"{name}, round {number + 1}: {ours[-1]:.1f} s through Bondstone, {plain[-1]:.1f} s through xargs")
    report.add(f"{name} resources: Bondstone", "s", *ours)
    report.add(f"{name} resources: xargs", "s", *plain)
    ratios = [our / their for our, their in zip(ours, plain, strict=True)]
    report.figures.append(Figure("  ratio, each round's pair", "", ratios, at_most=1.0 if slow else None))


async def _through_bondstone(
    bond: DirectClient, promise: str, count: int, in_flight: int
) -> tuple[float, list[str]]:
    """Request the fleet, so many services at a time as a campaign does, and wait until every one is ready."""
    places = asyncio.Semaphore(in_flight)
    turn = f"t{uuid.uuid4().hex[:8]}"
    services = [f"{turn}/stack{number}" for number in range(count)]

    async def one(service: str) -> None:
        async with places:
            await (await bond.services.request(promise, service)).result()

    began = time.monotonic()
    await asyncio.gather(*(one(service) for service in services))
    return time.monotonic() - began, services


def _through_xargs(tool: Tool, directory: Path, options: argparse.Namespace, *, slow: bool) -> float:
    """The same fleet as people do it without a platform."""
    root = directory / f"plain-{uuid.uuid4().hex[:8]}"
    for number in range(options.stacks):
        (root / f"stack{number}").mkdir(parents=True)
        (root / f"stack{number}" / "main.tf").write_text(stacks.module(slow=slow), encoding="utf-8")
        (root / f"stack{number}" / "terraform.tfvars").write_text(f'name = "stack{number}"\n', encoding="utf-8")
    terraform = command(tool)
    script = f"cd {{}} && {terraform} init >init.log 2>&1 && {terraform} apply -auto-approve >apply.log 2>&1"
    began = time.monotonic()
    subprocess.run(
        ["xargs", "-P", str(options.concurrency), "-I{}", "sh", "-c", script],
        input="\n".join(str(root / f"stack{number}") for number in range(options.stacks)),
        env={**os.environ, **TERRAFORM_ENVIRONMENT},
        text=True,
        check=True,
    )
    return time.monotonic() - began


def command(tool: Tool) -> str:
    """The tool as a shell writes it."""
    return shlex.join([tool.path] if tool.mode == "exec" else tool.changing([]))


async def _look_inside(
    options: argparse.Namespace, report: Report, tool: Tool, directory: Path, promise: Path
) -> None:
    """Where the time of instant stacks goes: a platform of its own whose Terraform notes when it runs."""
    log = directory / "runs.log"
    wrapper = directory / "terraform"
    wrapper.write_text(WRAPPER.format(command=command(tool), log=log), encoding="utf-8")
    wrapper.chmod(0o755)
    environment = {"BOND_TERRAFORM": str(wrapper), "BOND_TERRAFORM_SLOTS": str(options.concurrency)}
    with processes.bond_up(directory / "inside", **environment) as (platform, status):
        watched = {each["name"]: psutil.Process(each["pid"]) for each in status["processes"]}
        watched["client"] = psutil.Process()
        await processes.publish(platform.settings, promise)
        async with DirectClient.connect(platform.settings, by="benchmark") as bond:
            await _through_bondstone(bond, INSTANT, 1, 1)  # the one init
            log.unlink(missing_ok=True)
            before = {name: processes.cpu_seconds(process) for name, process in watched.items()}
            wall, services = await _through_bondstone(bond, INSTANT, options.stacks, options.in_flight)
            cpu = {name: processes.cpu_seconds(process) - before[name] for name, process in watched.items()}
            runs = _runs(log)
            spent = [await spent_by((await bond.connection.temporal()), service) for service in services]
    _add_inside(options, report, wall, runs, spent)
    for name, seconds in cpu.items():
        what = f"{name}, its Terraforms included" if name == "executor" else name
        report.add(f"  CPU a stack: {what}", "CPU-s", seconds / options.stacks)


def _runs(log: Path) -> dict[str, list[float]]:
    """Seconds of each run of Terraform, by verb."""
    durations: dict[str, list[float]] = defaultdict(list)
    for line in log.read_text(encoding="utf-8").splitlines():
        verb, began, ended = line.split()
        durations[verb].append((int(ended) - int(began)) / 1e9)
    return durations


def _add_inside(
    options: argparse.Namespace, report: Report, wall: float, runs: dict[str, list[float]], spent: list[Spent]
) -> None:
    count = options.stacks
    busy = sum(sum(seconds) for seconds in runs.values())
    report.add("instant, a look inside: wall time", "s", wall)
    report.add("  of the slots' time Terraform runs in", "", busy / (wall * options.concurrency))
    for verb, seconds in sorted(runs.items()):
        report.add(f"  terraform {verb}, a stack", "s", sum(seconds) / count)
    for kind in ("terraform.plan", "terraform.apply"):
        report.add(f"  {kind}, waiting for a slot included", "s", *(service.ran[kind] for service in spent))
    for kind in ("promise.resolve", "policy.check", "promise.outputs", "ledger.record", WORKFLOW_TASK):
        name = "workflow tasks, all of a service" if kind == WORKFLOW_TASK else kind
        report.add(f"  {name}", "s", *(service.queued[kind] + service.ran[kind] for service in spent))


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--stacks", type=int, default=24, help="size of the fleet (default: %(default)s)")
    options.add_argument("--concurrency", type=int, default=4, help="applies at once (default: %(default)s)")
    options.add_argument(
        "--in-flight",
        type=int,
        default=8,
        help="services asked for at once: some apply, others plan (default: %(default)s)",
    )
    options.add_argument("--rounds", type=int, default=2, help="turns of each side (default: %(default)s)")
    options.add_argument("--only", choices=[SLOW, INSTANT], default="", help="only this kind of resources")
    run(options.parse_args(), measure)


if __name__ == "__main__":
    main()
