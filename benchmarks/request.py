"""One request on an idle platform, from the command line to ready, and where the time goes.

`bond service request PROMISE TEAM/NAME --wait` of a promise of one Terraform step without providers, several
times, each a process of its own. The parts come from the event times of the service's histories.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections import defaultdict
from datetime import UTC, datetime

from benchmarks import stacks
from benchmarks.histories import WORKFLOW_TASK, spent_by
from benchmarks.report import Report, parser, run, say
from bondstone.client.direct.client import DirectClient
from harness import processes

AIM_SECONDS = 2.5
PAUSE_SECONDS = 1.0
PROMISE = "one-stack"
ACTIVITIES = (
    "promise.resolve",
    "terraform.plan",
    "policy.check",
    "terraform.apply",
    "promise.outputs",
    "ledger.record",
)


async def measure(options: argparse.Namespace) -> Report:
    report = Report("request")
    walls: list[float] = []
    parts: dict[str, list[float]] = defaultdict(list)
    with processes.scratch() as directory, processes.bond_up(directory / "data") as (platform, _):
        await processes.publish(platform.settings, stacks.promise(directory, PROMISE, slow=False))
        async with DirectClient.connect(platform.settings, by="benchmark") as bond:
            for number in range(options.runs + 1):
                service = f"bench/s{number}"
                time.sleep(PAUSE_SECONDS)  # noqa: ASYNC251 - idle is what is measured
                requested_at, began = datetime.now(UTC), time.monotonic()
                platform.bond("service", "request", PROMISE, service, "--wait", "-o", "json")
                wall, ended = time.monotonic() - began, datetime.now(UTC)
                say(
                    f"run {number}: {wall:.2f} s"
                    + (", not counted: the first one runs `init`" if not number else "")
                )
                if number == 0:
                    report.add("the very first request of a revision", "s", wall)
                    continue
                walls.append(wall)
                spent = await spent_by((await bond.connection.temporal()), service)
                if spent.began is None or spent.committed is None:
                    raise RuntimeError(f"the history of {service} has no end")
                inside = 0.0
                for kind in ACTIVITIES:
                    parts[f"{kind}: to its worker"].append(spent.queued[kind])
                    parts[kind].append(spent.ran[kind])
                    inside += spent.queued[kind] + spent.ran[kind]
                parts["before: process, imports, connect, promise"].append(
                    (spent.began - requested_at).total_seconds()
                )
                parts["between: workflow tasks, accept, commit"].append(
                    (spent.committed - spent.began).total_seconds() - inside
                )
                parts["after: noticed, printed, ended"].append((ended - spent.committed).total_seconds())
                parts[f"({WORKFLOW_TASK}s, in number)"].append(spent.workflow_tasks)
    report.add("request to ready, by command", "s", *walls, at_most=AIM_SECONDS)
    for name, values in parts.items():
        report.add(f"  {name}", "" if name.startswith("(") else "s", *values)
    imports = [_python("import bondstone.client") for _ in range(options.runs)]
    report.add("Python that imports the client, and ends", "s", *imports)
    report.add("Python that does nothing", "s", *(_python("pass") for _ in range(options.runs)))
    return report


def _python(code: str) -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.monotonic() - began


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--runs", type=int, default=7, help="requests that count (default: %(default)s)")
    run(options.parse_args(), measure)


if __name__ == "__main__":
    main()
