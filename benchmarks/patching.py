"""A patch of a fleet through Bondstone against `xargs -P` of `terraform apply -auto-approve`.

Both sides have the same stacks, made before; each patch adds a resource that takes two seconds. Plain: the new
`main.tf` in each stack's directory, and `xargs -P 4` of `terraform apply -auto-approve`. Bondstone also resolves
the new revision, keeps the plan, asks the policies, keeps every state and writes the ledger. They take turns.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import time
from pathlib import Path

from activities.terraform.binary import Tool, find_tool
from benchmarks import processes, stacks
from benchmarks.fleet import TERRAFORM_ENVIRONMENT, command
from benchmarks.report import Figure, Report, parser, run, say
from bondstone import names
from bondstone.client import Bondstone
from bondstone.model.campaign_run import CampaignDescription
from bondstone.settings import Settings

PROMISE = "patched"


async def measure(options: argparse.Namespace) -> Report:
    report = Report("patching")
    tool = find_tool(Settings())
    ours: list[float] = []
    theirs: list[float] = []
    with processes.scratch() as directory:
        slots = {"BOND_TERRAFORM_SLOTS": str(options.concurrency)}
        with processes.bond_up(directory / "data", **slots) as (platform, _):
            await processes.publish(platform.settings, stacks.promise(directory, PROMISE, slow=False))
            async with Bondstone.connect(platform.settings, by="benchmark") as bond:
                services = [f"fleet/stack{number}" for number in range(options.services)]
                plain = PlainFleet(tool, directory / "plain", options)
                await asyncio.gather(*(_requested(bond, service) for service in services))
                await asyncio.to_thread(plain.make)
                for number in range(1, options.rounds + 1):
                    promise = stacks.promise(directory, PROMISE, slow=False, patches=number)
                    await processes.publish(platform.settings, promise)
                    ours.append(await _patched(bond, options, f"1.0.{number}"))
                    theirs.append(await asyncio.to_thread(plain.patch, number))
                    say(f"round {number}: {ours[-1]:.1f} s through Bondstone, {theirs[-1]:.1f} s through xargs")
    report.add("Bondstone", "s", *ours)
    report.add("xargs", "s", *theirs)
    ratios = [our / their for our, their in zip(ours, theirs, strict=True)]
    report.figures.append(Figure("  ratio, each round's pair", "", ratios, at_most=1.0))
    report.notes.append(
        f"{options.services} services, {options.concurrency} applies at once, {options.in_flight} in flight, "
        f"with {tool.path} ({tool.mode}); the sides take turns; Bondstone's turns each begin with a new revision"
    )
    return report


async def _requested(bond: Bondstone, service: str) -> None:
    await (await bond.request(PROMISE, service)).result()


async def _patched(bond: Bondstone, options: argparse.Namespace, version: str) -> float:
    """Patch every service, so many at a time as a campaign does, and wait for the last one."""
    if options.campaign:
        return await _by_campaign(bond, options, version)
    places = asyncio.Semaphore(options.in_flight)

    async def one(service: str) -> None:
        async with places:
            await (await bond.patch(service, to=version)).result()

    began = time.monotonic()
    await asyncio.gather(*(one(f"fleet/stack{number}") for number in range(options.services)))
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


async def _by_campaign(bond: Bondstone, options: argparse.Namespace, version: str) -> float:
    """The same as one campaign, from the call that starts it to its end."""
    name = f"patch-{version.replace('.', '-')}"
    text = CAMPAIGN.format(name=name, promise=PROMISE, to=version, at_once=options.in_flight)
    began = time.monotonic()
    await bond.campaigns.start(text.encode(), "benchmark.yaml")
    handle = bond.temporal.get_workflow_handle(names.campaign_workflow_id(name), result_type=CampaignDescription)
    ended = await handle.result()
    seconds = time.monotonic() - began
    if ended.counts != {"succeeded": options.services}:
        raise RuntimeError(f"the campaign ended otherwise: {ended.counts}")
    return seconds


class PlainFleet:
    """The same stacks as people have them without a platform."""

    def __init__(self, tool: Tool, directory: Path, options: argparse.Namespace) -> None:
        self._tool = tool
        self._concurrency = options.concurrency
        self._stacks = [directory / f"stack{number}" for number in range(options.services)]

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

    @property
    def _apply(self) -> str:
        return f"{command(self._tool)} apply -auto-approve >apply.log 2>&1"

    def _write(self, patches: int) -> None:
        for stack in self._stacks:
            (stack / "main.tf").write_text(stacks.module(slow=False, patches=patches), encoding="utf-8")

    def _all(self, script: str) -> None:
        subprocess.run(
            ["xargs", "-P", str(self._concurrency), "-I{}", "sh", "-c", f"cd {{}} && {script}"],
            input="\n".join(map(str, self._stacks)),
            env={**os.environ, **TERRAFORM_ENVIRONMENT},
            text=True,
            check=True,
        )


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--services", type=int, default=24, help="size of the fleet (default: %(default)s)")
    options.add_argument("--concurrency", type=int, default=4, help="Terraforms at once (default: %(default)s)")
    options.add_argument("--in-flight", type=int, default=8, help="services at work (default: %(default)s)")
    options.add_argument("--rounds", type=int, default=2, help="patches of each side (default: %(default)s)")
    options.add_argument("--campaign", action="store_true", help="patch by one campaign instead of one by one")
    run(options.parse_args(), measure)


if __name__ == "__main__":
    main()
