"""Kill a platform at random while a campaign patches a fleet, and check what became of it.

    python -m harness.chaos.campaign --targets 1000 --kills 40

Real services on a real platform, with a tool that writes each of its effects down. The same seed, the same kills.
In the end each target must have had its effect exactly once, by one operation; report, ledger and the services'
own ledgers must say the same; no slot may be left taken; and the budget must have been kept at each start.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections import Counter

from bondstone.base.processes import leave
from harness import processes
from harness.chaos.__main__ import UNSOUND
from harness.chaos.campaign_run import Outcome, Run, Victim, planned
from harness.machine import describe, machine

SHOWN = 5
"""Broken rules that are shown in words, of each kind."""


def main() -> None:
    """The command."""
    made = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    made.add_argument("--targets", type=int, default=1000, help="services (default: %(default)s)")
    made.add_argument("--kills", type=int, default=40, help="over the whole campaign (default: %(default)s)")
    made.add_argument("--at-once", type=int, default=20, help="targets at once (default: %(default)s)")
    made.add_argument(
        "--refusing", type=int, default=100, help="of so many targets one fails (default: %(default)s)"
    )
    made.add_argument("--seed", type=int, default=1, help="the same seed, the same kills (default: %(default)s)")
    options = made.parse_args()
    for name in list(os.environ):
        if name.startswith(("BOND_", "TEMPORAL_")):
            del os.environ[name]  # what leads to somebody's platform
    with processes.scratch() as directory:
        run = Run(
            directory,
            targets=options.targets,
            at_once=options.at_once,
            refusing=options.refusing,
            say=lambda text: print(text, file=sys.stderr, flush=True),
        )
        outcome = asyncio.run(run.outcome(planned(options.seed, options.kills, options.targets)))
    print(f"seed {options.seed}, {options.at_once} at once, {describe(machine())}\n\n{table(outcome)}")
    leave(0 if outcome.sound else UNSOUND)


def table(result: Outcome) -> str:
    """What became of it, in Markdown."""
    killed = Counter(kill.victim for kill in result.kills)
    victims = ", ".join(f"{killed[victim]} {victim}" for victim in Victim)
    rows = [
        ("targets", result.targets),
        ("kills", f"{len(result.kills)}: {victims}"),
        ("outcomes", ", ".join(f"{count} {outcome}" for outcome, count in sorted(result.counts.items()))),
        ("targets without exactly one effect", len(result.broken["effects"])),
        ("targets without exactly one operation", len(result.broken["operations"])),
        ("differences of report and ledgers", len(result.broken["report"])),
        ("slots left taken", len(result.broken["slots"])),
        ("starts beyond budget or concurrency", len(result.broken["budget"])),
        ("times the tool was asked again, and changed nothing", result.asked_again),
        ("seconds of the campaign", f"{result.seconds:.0f}"),
        ("seconds to make the services before it", f"{result.provision_seconds:.0f}"),
    ]
    lines = ["| what | seen |", "| --- | --- |", *(f"| {what} | {value} |" for what, value in rows)]
    for rule, wrong in result.broken.items():
        lines += [f"\n{rule}: {each}" for each in wrong[:SHOWN]]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
