"""A fleet of Terraform stacks through Bondstone against `xargs -P` of plain Terraform, at the same concurrency.

Both sides make the same stacks with the same binary and take turns: once with resources that take two seconds
each, as a cloud's do, once with instant ones. Plain: `xargs -P 4` of `terraform init && terraform apply
-auto-approve`, each stack in a directory of its own. Bondstone also keeps the plan, asks the policies, keeps every
state and writes the ledger. The instant ones are without a provider, or with `--provider` of a small or of a large
one. After them, the least that the rules cost (`fleet_floor.py`). Last, a look inside: when the applies of two
seconds run, and what they would take with nothing between them; where the time and the CPU of an instant stack go,
by phase.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import resource
import shlex
import statistics
import subprocess
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks import fleet_floor, stack_providers, stacks
from benchmarks.durable_stacks import ENVIRONMENT, stack_directory, words
from benchmarks.histories import WORKFLOW_TASK, Spent, spent_by
from benchmarks.report import Figure, Report, parser, run, say
from benchmarks.stack_providers import LARGE, NONE, SMALL, ProviderMissing, StackProvider
from bondstone.activities.terraform.binary import Tool, find_tool
from bondstone.base.settings import Settings
from bondstone.client.direct.client import DirectClient
from harness import processes

SLOW, INSTANT = "two-seconds", "instant"
AIMS = {NONE: 2.5, SMALL: None, LARGE: 0.8}
"""Of instant resources, by provider."""
WRAPPER = """\
#!{python} -IS
import os, resource, sys, time
began = time.time()
pid = os.posix_spawn({program!r}, [*{command!r}, *sys.argv[1:]], os.environ)
_, status, used = os.wait4(pid, 0)
itself = resource.getrusage(resource.RUSAGE_SELF)
verb = next(word for word in sys.argv[1:] if not word.startswith("-"))
seconds, cpu = time.time() - began, used.ru_utime + used.ru_stime
line = verb, began, seconds, cpu, itself.ru_utime + itself.ru_stime, used.ru_maxrss / 1024
with open({log!r}, "a") as log:
    log.write(" ".join(map(str, line)) + chr(10))
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""Notes what each run of Terraform takes, and what it takes itself, which is left out of what is reported."""


@dataclass
class VerbRuns:
    """All runs of Terraform with one verb."""

    began: list[float] = field(default_factory=list)
    """By the machine's clock."""
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    watching: list[float] = field(default_factory=list)
    """CPU seconds of the wrapper."""
    memory: list[float] = field(default_factory=list)
    """MiB of the largest process, Terraform or its provider."""


async def measure(options: argparse.Namespace) -> Report:
    report = Report("fleet")
    tool = find_tool(Settings())
    with processes.scratch() as directory:
        try:
            with stack_providers.provided(options.provider, directory, options.mirror) as provider:
                await _measure(options, report, tool, directory, provider)
        except ProviderMissing as error:
            report.notes.append(f"skipped {options.provider}: {error}")
            return report
    report.notes.append(
        f"{options.stacks} stacks, {options.concurrency} applies at once, {options.in_flight} services in flight, "
        f"{provider.label}, {provider.resources} resources each, with {tool.path} ({tool.mode}); the sides take "
        f"turns; Bondstone's first turn includes its one `init`"
    )
    return report


async def _measure(
    options: argparse.Namespace, report: Report, tool: Tool, directory: Path, provider: StackProvider
) -> None:
    names = [name for name in (SLOW, INSTANT) if options.only in {name, ""}]
    if options.provider != NONE:
        names = [INSTANT]
    promises = {
        name: stacks.promise(directory / "promises", name, slow=name == SLOW, provider=provider) for name in names
    }
    environment = {"BOND_TERRAFORM_SLOTS": str(options.concurrency), **provider.environment}
    beside: dict[str, float] = {}
    with processes.bond_up(directory / "data", **environment) as (platform, status):
        watched = [*(psutil.Process(each["pid"]) for each in status["processes"]), psutil.Process()]
        for promise in promises.values():
            await processes.publish(platform.settings, promise)
        async with DirectClient.connect(platform.settings, by="benchmark") as bond:
            for name in names:
                side = Plain(tool, directory, provider, slow=name == SLOW)
                beside[name] = await _compare(options, report, name, bond=bond, plain=side, watched=watched)
                pids = {each["name"]: each["pid"] for each in status["processes"]}
                server = psutil.Process(pids["temporal"])
                floor = _add_floor_together if side.slow else _add_floor
                await floor(options, report, side, platform.settings, server=server, plain=beside[name])
    for name in names:
        look = await _look_inside(options, tool, directory, name, promise=promises[name], environment=environment)
        if name == SLOW:
            _add_turns(options, report, look, beside[name])
        else:
            _add_time(options, report, look)
            _add_cpu(options, report, look)


@dataclass(frozen=True)
class Plain:
    """What the side without a platform makes."""

    tool: Tool
    directory: Path
    provider: StackProvider
    slow: bool


async def _compare(
    options: argparse.Namespace,
    report: Report,
    name: str,
    *,
    bond: DirectClient,
    plain: Plain,
    watched: Sequence[psutil.Process],
) -> float:
    """Both sides in turn; the median of the plain one, in seconds."""
    ours: list[float] = []
    theirs: list[float] = []
    cpu: list[float] = []
    plain_cpu: list[float] = []
    for number in range(options.rounds):
        before = sum(map(processes.cpu_seconds, watched))
        ours.append((await _through_bondstone(bond, name, options.stacks, options.in_flight))[0])
        cpu.append((sum(map(processes.cpu_seconds, watched)) - before) / options.stacks)
        before = _children_cpu()
        theirs.append(await asyncio.to_thread(_through_xargs, options, plain))
        plain_cpu.append((_children_cpu() - before) / options.stacks)
        say(f"{name}, round {number + 1}: {ours[-1]:.1f} s through Bondstone, {theirs[-1]:.1f} s through xargs")
    report.add(f"{name} resources: Bondstone", "s", *ours)
    report.add(f"{name} resources: xargs", "s", *theirs)
    ratios = [our / their for our, their in zip(ours, theirs, strict=True)]
    aim = 1.0 if plain.slow else AIMS[options.provider]
    report.figures.append(Figure("  ratio, each round's pair", "", ratios, at_most=aim))
    report.add("  CPU a stack: Bondstone, its one init included", "CPU-s", *cpu)
    report.add("  CPU a stack: xargs", "CPU-s", *plain_cpu)
    return statistics.median(theirs)


def _children_cpu() -> float:
    """CPU seconds of the processes that this one has started and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


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


async def _add_floor(
    options: argparse.Namespace,
    report: Report,
    side: Plain,
    settings: Settings,
    *,
    server: psutil.Process,
    plain: float,
) -> None:
    """The least that the rules cost, bare: Terraform's three starts, then the durable points."""
    tool = await asyncio.to_thread(
        lambda: fleet_floor.starts(
            _directories(options, side),
            command(side.tool),
            concurrency=options.concurrency,
            environment={**ENVIRONMENT, **side.provider.environment},
        )
    )
    durable = await fleet_floor.durable_points(
        settings, server, side.directory / "floor", count=options.stacks, in_flight=options.in_flight
    )
    fleet_floor.add(report, tool, durable, plain=plain, stacks=options.stacks)


async def _add_floor_together(
    options: argparse.Namespace,
    report: Report,
    side: Plain,
    settings: Settings,
    *,
    server: psutil.Process,
    plain: float,
) -> None:
    """The least that the rules cost, bare: the durable points with Terraform in them."""
    settings = settings.changed(terraform_slots=options.concurrency)

    def make(services: Sequence[str]) -> None:
        directories = [stack_directory(settings, service) for service in services]
        _write(directories, side)
        fleet_floor.initialise(
            directories, command(side.tool), concurrency=options.concurrency, environment=ENVIRONMENT
        )

    part = await fleet_floor.durable_points(
        settings, server, side.directory / "floor", count=options.stacks, in_flight=options.in_flight, make=make
    )
    fleet_floor.add_together(report, part, plain=plain, stacks=options.stacks)


def _directories(options: argparse.Namespace, side: Plain) -> list[Path]:
    """New directories of the fleet's stacks."""
    root = side.directory / f"plain-{uuid.uuid4().hex[:8]}"
    directories = [root / f"stack{number}" for number in range(options.stacks)]
    _write(directories, side)
    return directories


def _write(directories: Sequence[Path], side: Plain) -> None:
    """Write the stacks into their directories."""
    for directory in directories:
        directory.mkdir(parents=True)
        module = stacks.module(slow=side.slow, provider=side.provider)
        (directory / "main.tf").write_text(module, encoding="utf-8")
        values = stacks.values(f"{directory.parent.name}-{directory.name}", side.provider)
        (directory / "terraform.tfvars").write_text(values, encoding="utf-8")


def _through_xargs(options: argparse.Namespace, side: Plain) -> float:
    """The same fleet as people do it without a platform."""
    directories = _directories(options, side)
    terraform = command(side.tool)
    script = f"cd {{}} && {terraform} init >init.log 2>&1 && {terraform} apply -auto-approve >apply.log 2>&1"
    began = time.monotonic()
    subprocess.run(
        ["xargs", "-P", str(options.concurrency), "-I{}", "sh", "-c", script],
        input="\n".join(map(str, directories)),
        env={**os.environ, **ENVIRONMENT, **side.provider.environment},
        text=True,
        check=True,
    )
    return time.monotonic() - began


def command(tool: Tool) -> str:
    """The tool as a shell writes it."""
    return shlex.join(words(tool))


@dataclass(frozen=True)
class Look:
    """What a platform did whose Terraform notes when it runs. Times are in seconds."""

    wall: float
    began: float
    """By the machine's clock, as `VerbRuns.began`."""
    runs: Mapping[str, VerbRuns]
    spent: Sequence[Spent]
    cpu: Mapping[str, float]
    """CPU of each process, with its children."""
    executor_seconds: float
    """CPU of the executor without its children."""
    init: VerbRuns
    """The one of the revision."""
    alone: float
    """From the request of one service, with nothing beside it, until its apply starts."""


async def _look_inside(
    options: argparse.Namespace,
    tool: Tool,
    directory: Path,
    name: str,
    *,
    promise: Path,
    environment: Mapping[str, str],
) -> Look:
    """Where time and CPU of the stacks go: a platform of its own whose Terraform notes when it runs."""
    noted = directory / f"noted-{name}"
    noted.mkdir()
    log = noted / "runs.log"
    wrapper = noted / "terraform"
    program = words(tool)
    text = WRAPPER.format(python=sys.executable, program=program[0], command=program, log=str(log))
    wrapper.write_text(text, encoding="utf-8")
    wrapper.chmod(0o755)
    environment = {
        **environment,
        "BOND_TERRAFORM": str(wrapper),
        "BOND_TOOL_WRITABLE_PATHS": json.dumps([str(noted)]),
    }
    with processes.bond_up(directory / f"inside-{name}", **environment) as (platform, status):
        watched = {each["name"]: psutil.Process(each["pid"]) for each in status["processes"]}
        watched["client"] = psutil.Process()
        await processes.publish(platform.settings, promise)
        async with DirectClient.connect(platform.settings, by="benchmark") as bond:
            await _through_bondstone(bond, name, 1, 1)
            init = _runs(log).get("init", VerbRuns())
            log.unlink()
            began = time.time()
            await _through_bondstone(bond, name, 1, 1)
            alone = _runs(log)["apply"].began[0] - began
            log.unlink()
            before = {each: processes.cpu_seconds(process) for each, process in watched.items()}
            executor_seconds = _own_cpu(watched["executor"])
            began = time.time()
            wall, services = await _through_bondstone(bond, name, options.stacks, options.in_flight)
            executor_seconds = _own_cpu(watched["executor"]) - executor_seconds
            cpu = {each: processes.cpu_seconds(process) - before[each] for each, process in watched.items()}
            runs = _runs(log)
            spent = [await spent_by((await bond.connection.temporal()), service) for service in services]
    return Look(wall, began, runs, spent, cpu, executor_seconds, init, alone)


def _own_cpu(process: psutil.Process) -> float:
    """CPU seconds of a process without those of its children."""
    times = process.cpu_times()
    return float(times.user + times.system)


def _runs(log: Path) -> dict[str, VerbRuns]:
    """Each run of Terraform, by verb."""
    runs: dict[str, VerbRuns] = defaultdict(VerbRuns)
    for line in log.read_text(encoding="utf-8").splitlines():
        verb, *numbers = line.split()
        each = runs[verb]
        for values, number in zip(
            (each.began, each.seconds, each.cpu, each.watching, each.memory), map(float, numbers), strict=True
        ):
            values.append(number)
    return runs


def _add_turns(options: argparse.Namespace, report: Report, look: Look, plain: float) -> None:
    """When the applies run, and the least that so many at a time can take: nothing between them."""
    applies = look.runs["apply"]
    ends = [start + seconds for start, seconds in zip(applies.began, applies.seconds, strict=True)]
    first, last = min(applies.began), max(ends)
    each = statistics.mean(applies.seconds)
    after = look.began + look.wall - last
    least = look.alone + each * math.ceil(options.stacks / options.concurrency) + after
    report.add(f"{SLOW}, a look inside: wall time", "s", look.wall)
    report.add("  until the first apply starts", "s", first - look.began)
    report.add("    of one service with nothing beside it", "s", look.alone)
    report.add("  terraform apply", "s", *applies.seconds)
    report.add(
        "  of the slots' time applies run in", "", sum(applies.seconds) / ((last - first) * options.concurrency)
    )
    report.add("  after the last apply: state, ledger, outputs", "s", after)
    report.add("  at least possible: one alone until its apply, the applies in turn, the end", "s", least)
    report.add("    of it to xargs", "", least / plain)


def _add_time(options: argparse.Namespace, report: Report, look: Look) -> None:
    busy = sum(sum(each.seconds) for each in look.runs.values())
    report.add("instant, a look inside: wall time", "s", look.wall)
    report.add("  of the slots' time Terraform runs in", "", busy / (look.wall * options.concurrency))
    for kind, verbs in (("terraform.plan", ("plan", "show")), ("terraform.apply", ("apply",))):
        report.add(f"  {kind}: queued at the server", "s", *(service.queued[kind] for service in look.spent))
        report.add(f"  {kind}: on the worker", "s", *(service.ran[kind] for service in look.spent))
        for verb in verbs:
            report.add(f"    terraform {verb}", "s", *look.runs[verb].seconds)
    for kind in ("ledger.record", WORKFLOW_TASK):
        name = (
            "workflow tasks, all of a service, with resolve, policy and outputs" if kind == WORKFLOW_TASK else kind
        )
        report.add(f"  {name}", "s", *(service.queued[kind] + service.ran[kind] for service in look.spent))


def _add_cpu(options: argparse.Namespace, report: Report, look: Look) -> None:
    """CPU seconds of a stack by phase; what the wrapper takes is left out."""
    count = options.stacks
    tools = sum(sum(each.cpu) for each in look.runs.values())
    watching = sum(sum(each.watching) for each in look.runs.values())
    report.add("  CPU a stack: all", "CPU-s", (sum(look.cpu.values()) - watching) / count)
    for verb, each in sorted(look.runs.items()):
        report.add(f"    terraform {verb}", "CPU-s", sum(each.cpu) / count)
        report.add("      memory of its largest process", "MiB", max(each.memory))
    report.add(
        "    shim, setpriv and starts of processes",
        "CPU-s",
        (look.cpu["executor"] - look.executor_seconds - tools - watching) / count,
    )
    report.add("    executor: run directory, sandbox, plan, state log", "CPU-s", look.executor_seconds / count)
    for name, seconds in look.cpu.items():
        if name != "executor":
            report.add(f"    {name}", "CPU-s", seconds / count)
    if look.init.cpu:
        report.add("  CPU of the one init of the revision", "CPU-s", sum(look.init.cpu))


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
    options.add_argument(
        "--provider",
        choices=[NONE, SMALL, LARGE],
        default=NONE,
        help="whose resources the instant ones are: small is hashicorp/time, large hashicorp/aws against a mock; "
        "both need `make bench-tools` (default: %(default)s)",
    )
    options.add_argument(
        "--mirror", default="", help="directory of a mirror of providers that has hashicorp/aws, for `large`"
    )
    run(options.parse_args(), measure)


if __name__ == "__main__":
    main()
