"""What each thing that plain Terraform does not do adds to an operation: policy, plan storage, state log, ledger.

One service of 20 instant resources is made by a real platform. Then each part is done again, many times and one at
a time, by the very code that did it, on the same object store (a local one, synced at each write) and with the
same plan, states and record.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import psutil

from benchmarks.report import Report, parser, run, say
from bondstone.activities.policy import PolicyActivities
from bondstone.base.process_identity import Holder
from bondstone.client.direct.client import DirectClient
from bondstone.executors.protocol import Planned
from bondstone.model.ledger import LedgerRecord
from bondstone.model.plan import PlanRef
from bondstone.model.service import OperationRecord, ServiceId
from bondstone.model.step import PolicyCall
from bondstone.store import Store
from harness import processes

PROMISE, SERVICE, STEP = "measured", "bench/one", "stack"
RESOURCES = 20
MODULE = """\
resource "terraform_data" "part" {{
  count = {count}
  input = "part ${{count.index}}"
}}
output "id" {{
  value = terraform_data.part[0].id
}}
"""
SPEC = """\
  outputs:
    id: {value: "${steps.stack.outputs.id}"}
  steps:
    - id: stack
      terraform: {module: terraform}
  policies: [policies]
"""
POLICY = """\
package {name}

import rego.v1

deny contains msg if {{
  some change in input.plan.resource_changes
  change.type == "null_resource"
  msg := sprintf("%s is not allowed", [change.address])
}}

warn contains msg if {{
  some change in input.plan.resource_changes
  "delete" in change.change.actions
  msg := sprintf("%s goes away", [change.address])
}}
"""


async def measure(options: argparse.Namespace) -> Report:
    report = Report("overhead")
    with processes.scratch() as directory:
        await _publish_here(directory)
        with processes.bond_up(directory / "data") as (platform, _):
            await processes.publish(platform.settings, directory / "promise")
            async with DirectClient.connect(platform.settings, by="benchmark") as bond:
                rules = directory / "rules"
                rules.mkdir()
                (rules / "rules.rego").write_text(POLICY.format(name="organisation"), encoding="utf-8")
                await (await bond.connection.store()).policies.publish(rules)
                seconds, record = await _whole(options, bond)
                report.add(f"an operation on {RESOURCES} instant resources", "s", *seconds)
                await _parts(options, report, bond, record)
    report.notes.append(
        f"each part {options.times} times, one at a time; {RESOURCES} resources; "
        "two policy sets of two rules each; "
        "a plan is stored once and read twice in an operation, a state written once for each resource"
    )
    return report


async def _publish_here(directory: Path) -> None:
    files = {
        "terraform/main.tf": MODULE.format(count=RESOURCES),
        "policies/own.rego": POLICY.format(name="own"),
    }
    processes.write_promise(directory / "promise", PROMISE, files, SPEC)


async def _whole(options: argparse.Namespace, bond: DirectClient) -> tuple[list[float], OperationRecord]:
    """Operations from request to ready, on names of their own; the first one, which runs `init`, not counted."""
    seconds: list[float] = []
    first = await (await bond.services.request(PROMISE, SERVICE)).result()
    for number in range(options.operations):
        began = time.monotonic()
        await (await bond.services.request(PROMISE, f"bench/another{number}")).result()
        seconds.append(time.monotonic() - began)
        say(f"operation {number + 1}: {seconds[-1]:.2f} s")
    return seconds, await bond.operations.record(first.id)


async def _parts(
    options: argparse.Namespace, report: Report, bond: DirectClient, operation: OperationRecord
) -> None:
    store, service = (await bond.connection.store()), operation.service
    (step,) = operation.steps
    if step.plan is None:
        raise RuntimeError("the operation has no plan")
    plan = step.plan
    again = ServiceId(team="bench", name="again")

    policies = PolicyActivities(store, bond.settings)
    call = PolicyCall(
        service=service, operation=1, kind=operation.kind, revision=operation.revision, step=STEP, plan=plan
    )
    await _add(report, options, "policy: one check", lambda _: policies.check(call))

    planned = await _planned(store, plan)
    await _add(
        report,
        options,
        "plan storage: store one",
        lambda number: store.plans.store(again, number + 1, STEP, planned, destroy=False, log=""),
    )
    await _add(report, options, "plan storage: read one to apply it", lambda _: _read_plan(store, plan))

    state = (await store.state(service, STEP).read()).payload or b""
    await _add(report, options, "state log: claim and release", lambda _: _write_states(store, again, state, 0))
    await _add(
        report,
        options,
        f"state log: claim, {RESOURCES} states, release",
        lambda _: _write_states(store, again, state, RESOURCES),
    )

    (written,) = [record for record in await bond.services.ledger(SERVICE) if record.kind == "operation"]
    await _add(report, options, "ledger: one record", lambda number: store.ledger.record(_next(written, number)))


async def _add(
    report: Report, options: argparse.Namespace, name: str, work: Callable[[int], Awaitable[object]]
) -> None:
    """Time each run of a part; the first one, which loads what it needs, is not counted."""
    await work(0)
    walls: list[float] = []
    cpu = _cpu_seconds()
    for number in range(1, options.times + 1):
        began = time.monotonic()
        await work(number)
        walls.append(1000 * (time.monotonic() - began))
    report.add(name, "ms", *walls)
    report.add("  CPU", "CPU-ms", 1000 * (_cpu_seconds() - cpu) / options.times)


def _cpu_seconds() -> float:
    """Of this process and of its children, ended or alive: who else is busy does not count."""
    times = psutil.Process().cpu_times()
    ended = times.children_user + times.children_system
    alive = sum(processes.cpu_seconds(child) for child in psutil.Process().children())
    return float(times.user + times.system + ended + alive)


async def _planned(store: Store, plan: PlanRef) -> Planned:
    return Planned(
        artefact=await store.plans.artefact(plan),
        document=await store.plans.document(plan),
        changes=await store.plans.changes(plan),
        empty=plan.empty,
        position=plan.position,
        tool=plan.tool,
    )


async def _read_plan(store: Store, plan: PlanRef) -> None:
    await store.plans.artefact(plan)
    await store.plans.changes(plan)


async def _write_states(store: Store, service: ServiceId, state: bytes, count: int) -> None:
    claim = await store.state(service, STEP).claim(Holder.me("benchmark"))
    async with claim:
        for _ in range(count):
            await claim.append(state)
        await claim.release()


def _next(record: LedgerRecord, number: int) -> LedgerRecord:
    return record.changed(sequence=f"again-{number}", at=datetime.now(UTC))


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--times", type=int, default=30, help="of each part (default: %(default)s)")
    options.add_argument("--operations", type=int, default=5, help="whole ones (default: %(default)s)")
    run(options.parse_args(), measure)


if __name__ == "__main__":
    main()
