"""A patch of a fleet through Bondstone against `xargs -P` of `terraform apply -auto-approve`.

Both sides have the same stacks, made before; each patch adds a resource that takes two seconds. Plain: the new
`main.tf` in each stack's directory, and `xargs -P 4` of `terraform apply -auto-approve`. Bondstone also resolves
the new revision, keeps the plan, asks the policies, keeps every state and writes the ledger. They take turns.

With `--kill`, one more patch of each side has everything that works on its stacks killed half-way (kill -9): the
executor worker with its Terraforms, or xargs with its own. Then both wait for whom they need: a person who runs
the xargs command again, and one who resumes a campaign that has paused.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

from benchmarks import stacks
from benchmarks.durable_stacks import ENVIRONMENT
from benchmarks.fleet import command
from benchmarks.report import Figure, Report, parser, run, say
from bondstone.activities.terraform.binary import Tool, find_tool
from bondstone.base import names
from bondstone.base.platform_file import Platform
from bondstone.base.settings import Settings
from bondstone.client.direct.client import DirectClient
from bondstone.model.campaign.run import CampaignDescription
from harness import processes
from harness.waiting import NotInTime, until_async, wait_until

PROMISE = "patched"
BUSY_SECONDS = 5
CAMPAIGN_SECONDS = 3600
"""Only catches what hangs."""
"""How long a kill waits for Terraforms in the middle of a change."""


async def measure(options: argparse.Namespace) -> Report:
    report = Report("patching")
    tool = find_tool(Settings())
    ours: list[float] = []
    theirs: list[float] = []
    with processes.scratch() as directory:
        slots = {"BOND_TERRAFORM_SLOTS": str(options.concurrency)}
        with processes.bond_up(directory / "data", **slots) as (platform, _):
            await processes.publish(platform.settings, stacks.promise(directory, PROMISE, slow=False))
            async with DirectClient.connect(platform.settings, by="benchmark") as bond:
                services = [f"fleet/stack{number}" for number in range(options.stacks)]
                plain = PlainFleet(tool, directory / "plain", options)
                await _made(bond, services, options)
                await asyncio.to_thread(plain.make)
                for number in range(1, options.rounds + 1):
                    promise = stacks.promise(directory, PROMISE, slow=False, patches=number)
                    await processes.publish(platform.settings, promise)
                    ours.append(await _patched(bond, options, f"1.0.{number}"))
                    theirs.append(await asyncio.to_thread(plain.patch, number))
                    say(f"round {number}: {ours[-1]:.1f} s through Bondstone, {theirs[-1]:.1f} s through xargs")
                if options.kill:
                    await _killed(report, bond, platform, plain, options)
    report.add("Bondstone", "s", *ours)
    report.add("xargs", "s", *theirs)
    ratios = [our / their for our, their in zip(ours, theirs, strict=True)]
    report.figures.append(Figure("  ratio, each round's pair", "", ratios, at_most=1.0))
    report.notes.append(
        f"{options.stacks} services, {options.concurrency} applies at once, {options.in_flight} in flight, "
        f"with {tool.path} ({tool.mode}); the sides take turns; Bondstone's turns each begin with a new revision"
    )
    return report


async def _made(bond: DirectClient, services: list[str], options: argparse.Namespace) -> None:
    places = asyncio.Semaphore(2 * options.in_flight)

    async def one(service: str) -> None:
        async with places:
            await (await bond.services.request(PROMISE, service)).result()

    await asyncio.gather(*map(one, services))


async def _patched(bond: DirectClient, options: argparse.Namespace, version: str) -> float:
    """Patch every service, so many at a time as a campaign does, and wait for the last one."""
    if options.campaign:
        return await _by_campaign(bond, options, version)
    places = asyncio.Semaphore(options.in_flight)

    async def one(service: str) -> None:
        async with places:
            await (await bond.services.patch(service, to=version)).result()

    began = time.monotonic()
    await asyncio.gather(*(one(f"fleet/stack{number}") for number in range(options.stacks)))
    return time.monotonic() - began


CAMPAIGN = """\
apiVersion: bondstone.dev/v1
kind: Campaign
metadata: {{name: {name}, reason: benchmark}}
spec:
  operation: patch
  promise: {promise}
  to: {to}
  max_concurrent: {at_once}
  waves:
    - {{name: all, rest: true}}
"""


async def _by_campaign(bond: DirectClient, options: argparse.Namespace, version: str) -> float:
    """The same as one campaign, from the call that starts it to its end."""
    began = time.monotonic()
    name = await _started(bond, options, version)
    handle = (await bond.connection.temporal()).get_workflow_handle(
        names.campaign_workflow_id(name), result_type=CampaignDescription
    )
    ended = await handle.result()
    seconds = time.monotonic() - began
    if ended.counts != {"succeeded": options.stacks}:
        raise RuntimeError(f"the campaign ended otherwise: {ended.counts}")
    return seconds


async def _started(bond: DirectClient, options: argparse.Namespace, version: str) -> str:
    name = f"patch-{version.replace('.', '-')}"
    text = CAMPAIGN.format(name=name, promise=PROMISE, to=version, at_once=options.in_flight)
    await bond.campaigns.run(text.encode(), "benchmark.yaml")
    return name


# Killed half-way --------------------------------------------------------------------------------------------


async def _killed(
    report: Report,
    bond: DirectClient,
    platform: processes.Platform,
    plain: PlainFleet,
    options: argparse.Namespace,
) -> None:
    number = options.rounds + 1
    promise = stacks.promise(plain.directory.parent, PROMISE, slow=False, patches=number)
    await processes.publish(platform.settings, promise)
    await _killed_campaign(report, bond, platform.settings, options, f"1.0.{number}")
    await asyncio.to_thread(_killed_xargs, report, plain, number, options)


async def _killed_campaign(
    report: Report, bond: DirectClient, settings: Settings, options: argparse.Namespace, version: str
) -> None:
    began = time.monotonic()
    name = await _started(bond, options, version)
    half: int = options.stacks // 2

    async def half_done() -> bool:
        campaign = await bond.campaigns.describe(name)
        if campaign.status.ended:
            raise RuntimeError(f"the campaign ended before it was half done: {campaign.counts}")
        return campaign.counts.get("succeeded", 0) >= half

    await until_async(half_done, f"half of {name}", seconds=CAMPAIGN_SECONDS)
    running = Platform.read(settings.data)
    executor = next(each.pid for each in running.processes if each.name == "executor") if running else 0
    hit = await asyncio.to_thread(_kill, psutil.Process(executor), options.concurrency)
    commands = 0

    async def ended() -> CampaignDescription | None:
        nonlocal commands
        campaign = await bond.campaigns.describe(name)
        if campaign.paused and not campaign.running:
            await bond.campaigns.resume(name, reason="benchmark")
            commands += 1
        return campaign if campaign.status.ended else None

    campaign = await until_async(ended, f"the end of {name}", seconds=CAMPAIGN_SECONDS)
    seconds = time.monotonic() - began
    left = options.stacks - campaign.counts.get("succeeded", 0)
    report.add("killed half-way, Bondstone: Terraforms that were killed", "", hit)
    report.add("  targets without their change until somebody comes", "", left)
    report.add("  commands a person gives", "", commands)
    report.add("  from the start to the end of the campaign", "s", seconds)


def _killed_xargs(report: Report, plain: PlainFleet, number: int, options: argparse.Namespace) -> None:
    began = time.monotonic()
    xargs = plain.begin(number)
    half: int = options.stacks // 2

    def half_done() -> bool:
        if xargs.poll() is not None:
            raise RuntimeError(f"xargs ended with {xargs.returncode} before it was half done")
        return plain.done() >= half

    wait_until(half_done, "half of the stacks", seconds=CAMPAIGN_SECONDS)
    hit = _kill(psutil.Process(xargs.pid), options.concurrency)
    xargs.wait()
    left = options.stacks - plain.done()
    commands = 0
    while plain.done() < options.stacks or not commands:
        commands += 1
        plain.again()
    report.add("killed half-way, xargs: Terraforms that were killed", "", hit)
    report.add("  targets without their change until somebody comes", "", left)
    report.add("  commands a person gives", "", commands)
    report.add(
        "  from the start to the last one done, if that person was there at once", "s", time.monotonic() - began
    )


def _kill(process: psutil.Process, concurrency: int) -> int:
    """Kill -9 of a process and all it has started, when most of its Terraforms are in the middle of a change.

    Returns:
        How many were.
    """
    family = [process]
    hit = 0

    def is_busy() -> bool:
        nonlocal family, hit
        family = [process, *process.children(recursive=True)]
        hit = sum(map(_applies, family))
        return hit > concurrency // 2

    with contextlib.suppress(NotInTime):
        wait_until(is_busy, seconds=BUSY_SECONDS)
    for member in family:
        with contextlib.suppress(psutil.Error):
            member.kill()
    psutil.wait_procs(family, timeout=10)
    return hit


def _applies(process: psutil.Process) -> bool:
    """Whether it is what a provisioner runs: one for each Terraform at work."""
    try:
        return bool(process.name() == "sleep")
    except psutil.Error:
        return False


class PlainFleet:
    """The same stacks as people have them without a platform."""

    def __init__(self, tool: Tool, directory: Path, options: argparse.Namespace) -> None:
        self._tool = tool
        self.directory = directory
        self._concurrency = options.concurrency
        self._stacks = [directory / f"stack{number}" for number in range(options.stacks)]

    def make(self) -> None:
        """Make them."""
        for stack in self._stacks:
            stack.mkdir(parents=True)
            (stack / "terraform.tfvars").write_text(f'name = "{stack.name}"\n', encoding="utf-8")
        self._write(0)
        self._all(f"{command(self._tool)} init >init.log 2>&1 && {self._apply}")

    def patch(self, number: int) -> float:
        """Patch them; how many seconds it took."""
        self._write(number)
        began = time.monotonic()
        self._all(self._apply)
        return time.monotonic() - began

    def begin(self, number: int) -> subprocess.Popen[str]:
        """Patch them, without waiting for the end."""
        self._write(number)
        for log in self._logs():
            log.unlink()
        return self._xargs(self._apply)

    def again(self) -> None:
        """What a person does who finds that it was killed: the same command, over all of them."""
        self._all(self._apply)

    def done(self) -> int:
        """How many have been patched since `begin`, by what Terraform said."""
        return sum("Apply complete!" in log.read_text(encoding="utf-8") for log in self._logs())

    @property
    def _apply(self) -> str:
        return f"{command(self._tool)} apply -auto-approve >apply.log 2>&1"

    def _write(self, patches: int) -> None:
        for stack in self._stacks:
            (stack / "main.tf").write_text(stacks.module(slow=False, patches=patches), encoding="utf-8")

    def _logs(self) -> Iterable[Path]:
        return [log for stack in self._stacks if (log := stack / "apply.log").exists()]

    def _all(self, script: str) -> None:
        if status := self._xargs(script).wait():
            raise RuntimeError(f"xargs ended with {status}")

    def _xargs(self, script: str) -> subprocess.Popen[str]:
        xargs = subprocess.Popen(
            ["xargs", "-P", str(self._concurrency), "-I{}", "sh", "-c", f"cd {{}} && {script}"],
            stdin=subprocess.PIPE,
            env={**os.environ, **ENVIRONMENT},
            text=True,
        )
        if xargs.stdin is not None:
            xargs.stdin.write("\n".join(map(str, self._stacks)))
            xargs.stdin.close()
        return xargs


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--stacks", type=int, default=24, help="size of the fleet (default: %(default)s)")
    options.add_argument("--concurrency", type=int, default=4, help="Terraforms at once (default: %(default)s)")
    options.add_argument("--in-flight", type=int, default=8, help="services at work (default: %(default)s)")
    options.add_argument("--rounds", type=int, default=2, help="patches of each side (default: %(default)s)")
    options.add_argument("--campaign", action="store_true", help="patch by one campaign instead of one by one")
    options.add_argument("--kill", action="store_true", help="kill a last patch of each side half-way")
    run(options.parse_args(), measure)


if __name__ == "__main__":
    main()
