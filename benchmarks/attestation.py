"""What attestations, permits and signed ledger records add to an operation: `required` against `local`.

Two platforms, each `bond up` with a promise of one Terraform step without providers, take turns in one run: a new
service, asked for by the Python client, from the call to ready. CPU is that of the platform's processes (server,
workers, their tools) over the same operations.
"""

from __future__ import annotations

import argparse
import time
from contextlib import AsyncExitStack

import psutil

from benchmarks import stacks
from benchmarks.report import Report, parser, run, say
from bondstone.base.platform_file import Platform as PlatformFile
from bondstone.client.direct.client import DirectClient
from bondstone.model.service import OperationStatus
from harness import processes

PROMISE = "one-stack"
MODES = ("local", "required")
MOST_ADDED_SECONDS = 0.2


async def measure(options: argparse.Namespace) -> Report:
    report = Report("attestation")
    walls: dict[str, list[float]] = {mode: [] for mode in MODES}
    with processes.scratch() as directory:
        async with AsyncExitStack() as stack:
            promise = stacks.promise(directory, PROMISE, slow=False)
            clients, trees = {}, {}
            for mode in MODES:
                data = directory / mode
                platform, _ = stack.enter_context(processes.bond_up(data, BOND_ATTESTATION=mode))
                await processes.publish(platform.settings, promise)
                settings = platform.settings.changed(attestation=mode)
                clients[mode] = await stack.enter_async_context(DirectClient.connect(settings, by="benchmark"))
                written = PlatformFile.read(data)
                if written is None:
                    raise RuntimeError(f"{data} has no platform")
                trees[mode] = [psutil.Process(process.pid) for process in written.processes]
            for bond in clients.values():
                await provision(bond, 0)  # runs `init`
            before = {mode: sum(map(processes.cpu_seconds, trees[mode])) for mode in MODES}
            for number in range(1, options.runs + 1):
                for mode, bond in clients.items():
                    began = time.monotonic()
                    await provision(bond, number)
                    walls[mode].append(time.monotonic() - began)
                say(f"run {number}: " + ", ".join(f"{mode} {walls[mode][-1]:.2f} s" for mode in MODES))
            for mode in MODES:
                spent = (sum(map(processes.cpu_seconds, trees[mode])) - before[mode]) / options.runs
                report.add(f"an operation, {mode}", "s", *walls[mode])
                report.add(f"  CPU of the platform for it, {mode}", "s", spent)
    added = [one - other for one, other in zip(walls["required"], walls["local"], strict=True)]
    report.add("`required` adds to an operation", "s", *added, at_most=MOST_ADDED_SECONDS)
    return report


async def provision(bond: DirectClient, number: int) -> None:
    """A new service, ready."""
    record = await (await bond.services.request(PROMISE, f"bench/s{number}", {})).wait()
    if record.status is not OperationStatus.SUCCEEDED:
        raise RuntimeError(f"{number}: {record.error}")


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--runs", type=int, default=15, help="operations a side (default: %(default)s)")
    run(options.parse_args(), measure)


if __name__ == "__main__":
    main()
