"""A compound service of four parts, against the same four requested by hand at once, turn by turn.

Each part is a Terraform stack of resources that take two seconds. The compound has no step of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from pathlib import Path

from benchmarks import stacks
from benchmarks.report import Figure, Report, parser, run, say
from bondstone.client.direct.client import DirectClient
from harness import processes

AIM_RATIO = 1.1
PARTS = 4
PART, COMPOUND = "part-stack", "compound"


async def measure(options: argparse.Namespace) -> Report:
    report = Report("compound")
    with processes.scratch() as directory, processes.bond_up(directory / "data") as (platform, _):
        await processes.publish(platform.settings, stacks.promise(directory, PART, slow=True))
        await processes.publish(platform.settings, _compound(directory))
        async with DirectClient.connect(platform.settings, by="benchmark") as bond:
            await _whole(bond, "warm")  # the first request of a revision runs `init`
            wholes: list[float] = []
            by_hand: list[float] = []
            for number in range(options.runs):
                wholes.append(await _whole(bond, f"c{number}"))
                by_hand.append(await _by_hand(bond, f"h{number}"))
                say(f"round {number + 1}: {wholes[-1]:.1f} s as a compound, {by_hand[-1]:.1f} s by hand")
    report.add(f"a compound of {PARTS} parts", "s", *wholes)
    report.add(f"the {PARTS} requested by hand at once", "s", *by_hand)
    ratios = [whole / hand for whole, hand in zip(wholes, by_hand, strict=True)]
    report.figures.append(Figure("  ratio, each round's pair", "", ratios, at_most=AIM_RATIO))
    return report


async def _whole(bond: DirectClient, name: str) -> float:
    began = time.monotonic()
    await (await bond.services.request(COMPOUND, f"bench/{name}")).result()
    return time.monotonic() - began


async def _by_hand(bond: DirectClient, name: str) -> float:
    began = time.monotonic()
    operations = [await bond.services.request(PART, f"bench/{name}-{number}") for number in range(PARTS)]
    await asyncio.gather(*(operation.result() for operation in operations))
    return time.monotonic() - began


def _compound(directory: Path) -> Path:
    parts = "".join(f"    - {{as: p{number}, promise: {PART}}}\n" for number in range(PARTS))
    return processes.write_promise(directory / COMPOUND, COMPOUND, {}, f"  requires:\n{parts}")


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--runs", type=int, default=3, help="rounds that count (default: %(default)s)")
    run(options.parse_args(), measure)


if __name__ == "__main__":
    main()
