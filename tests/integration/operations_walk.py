"""The life of a service through all operations, the same for every executor, and a kill in mid-patch."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from every_executor import KEPT, KINDS, VERSIONS, Deployed, World, inputs, write
from platforms import LocalPlatform, publish, running, until

from bondstone.base.errors import BondError
from bondstone.client import Operation
from bondstone.model.service import Approval, OperationRecord, OperationStatus
from harness.waiting import until_async

TOGETHER = [kind for kind in KINDS if kind not in {"jobs", "crossplane"}]
"""On one platform; with Jobs, the container steps of a pool are all Jobs; Crossplane has its own control plane."""


@contextmanager
def platform_with(
    root: Path, kinds: Sequence[str], world: World, settings: Mapping[str, str]
) -> Iterator[LocalPlatform]:
    """A platform with all versions of some promises."""
    with running(root / "data", settings) as local:

        async def all_versions() -> None:
            async with local.client() as bond:
                for kind in kinds:
                    for version in VERSIONS:
                        await publish(bond, write(root, kind, version, world))

        asyncio.run(all_versions())
        yield local


async def ends(operation: Operation, status: OperationStatus = OperationStatus.SUCCEEDED) -> OperationRecord:
    async with asyncio.timeout(400):
        record = await operation.wait(through_approvals=True)
    assert record.status is status, record.error
    return record


@asynccontextmanager
async def deploy(kind: str, platform: LocalPlatform, world: World) -> AsyncIterator[Deployed]:
    name = f"ops-{uuid.uuid4().hex[:8]}"
    kept = KEPT[kind](world, name)
    async with platform.client() as bond:
        service = f"shop/{name}"
        values = inputs(kind, name, world)
        await ends(await bond.services.request(f"thing-{kind}", service, values, version="1.0.0"))
        yield Deployed(bond, service, kept, name)
    kept.clean()


async def is_changed_in_every_way(deployed: Deployed, platform: LocalPlatform) -> None:
    """Every operation on a service but its request and its end."""
    await _is_patched_after_a_dry_run(deployed)
    await _has_its_drift_found_and_undone(deployed)
    await _goes_back_by_itself_and_when_asked(deployed)
    await _is_changed_as_policies_allow_and_people_approve(deployed, platform)


async def is_taken_down(deployed: Deployed) -> None:
    """It is as the platform wants it, and nothing of it is left at its end."""
    assert (await ends(await deployed.bond.services.reconcile(deployed.service))).drift == 0
    await ends(await deployed.bond.services.decommission(deployed.service))
    assert deployed.kept.names == set()


async def _is_patched_after_a_dry_run(deployed: Deployed) -> None:
    bond, service = deployed.bond, deployed.service
    assert (deployed.kept.data, deployed.kept.names) == ({"colour": "blue", "version": "1.0.0"}, {"thing"})
    dry = await ends(await bond.services.patch(service, to="1.0.1", dry_run=True))
    assert (dry.steps[0].changes.create, dry.steps[0].changes.update) == (1, 1)
    assert deployed.kept.data["version"] == "1.0.0"
    patched = await ends(await bond.services.patch(service, to="1.0.1"))
    assert patched.steps[0].changes == dry.steps[0].changes
    assert (deployed.kept.data["version"], deployed.kept.names) == ("1.0.1", {"thing", "since-1.0.1"})


async def _has_its_drift_found_and_undone(deployed: Deployed) -> None:
    bond, service = deployed.bond, deployed.service
    deployed.kept.by_hand(colour="pink")
    deployed.kept.lose("since-1.0.1")
    record = await ends(await bond.services.reconcile(service))
    drifted = [deployed.kept.address, deployed.kept.address.replace("thing", "since-1.0.1")]
    assert (record.drift, sorted(record.steps[0].drift)) == (2, sorted(drifted))
    assert (deployed.kept.data["colour"], deployed.kept.names) == ("pink", {"thing"})
    await ends(await bond.services.reconcile(service, repair=True))
    assert (deployed.kept.data["colour"], deployed.kept.names) == ("blue", {"thing", "since-1.0.1"})


async def _goes_back_by_itself_and_when_asked(deployed: Deployed) -> None:
    bond, service = deployed.bond, deployed.service
    await ends(await bond.services.patch(service, to="1.0.2"), OperationStatus.ROLLED_BACK)
    assert deployed.kept.data["version"] == "1.0.1"
    state = await bond.services.get(service)
    assert (state.revision.partition("@")[2], state.phase) == ("1.0.1", "ready")

    await ends(await bond.services.upgrade(service, to="1.1.0"))
    assert deployed.kept.data == {"colour": "blueish", "version": "1.1.0"}
    assert await bond.services.outputs(service) == deployed.kept.data
    await ends(await bond.services.rollback(service))
    assert (deployed.kept.data, deployed.kept.names) == (
        {"colour": "blue", "version": "1.0.1"},
        {"thing", "since-1.0.1"},
    )
    assert await bond.services.outputs(service) == deployed.kept.data


async def _is_changed_as_policies_allow_and_people_approve(deployed: Deployed, platform: LocalPlatform) -> None:
    bond, service = deployed.bond, deployed.service
    denied = await ends(await bond.services.update(service, {"colour": "forbidden"}), OperationStatus.FAILED)
    assert denied.error is not None
    assert "that colour is forbidden" in json.dumps(denied.model_dump(mode="json"))
    assert deployed.kept.data["colour"] == "blue"

    operation = await bond.services.update(service, {"colour": "red"}, ask=True)

    async def waiting() -> tuple[Approval, ...]:
        return (await bond.operations.record(operation.id)).approvals

    approvals = await until_async(waiting, "it waits for people")
    [plan] = await operation.plans()
    [change] = plan.changes
    assert (approvals[0].digest, change.action, change.type) == (plan.digest, "update", deployed.kept.type)
    async with platform.client("grace") as grace:
        as_grace = grace.operation(operation.id)
        with pytest.raises(BondError, match="no plan 000000000000 waits there"):
            await as_grace.approve("0" * 64, step="app")
        # meanwhile somebody is at it by hand: what was approved still says all that happens
        deployed.kept.by_hand(colour="pink")
        await as_grace.approve(plan.digest, step="app")
    record = await ends(operation)
    assert [approval.digest for approval in record.approvals] == [plan.digest], "nobody was asked twice"
    assert deployed.kept.data["colour"] == "red"


async def patched_until_it_waits(deployed: Deployed) -> Operation:
    """A patch that is half-way."""
    operation = await deployed.bond.services.patch(deployed.service, to="1.0.3")
    await until(lambda: deployed.kept.data["version"] == "1.0.3", "the tool is at work", in_thread=True)
    return operation


async def goes_on(deployed: Deployed, operation: Operation) -> None:
    """It ends by itself, as if nothing had died."""
    deployed.kept.let_go()
    await ends(operation)
    assert deployed.kept.names == {"thing", "since-1.0.1"}


def kill_all(pids: Iterable[int]) -> None:
    """Hosts that go down: the workers and all that they started, with no time to say anything."""
    family = [
        item for pid in pids for item in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True))
    ]
    for end in (psutil.Process.suspend, psutil.Process.kill):
        for process in family:
            with suppress(psutil.NoSuchProcess):  # a tool that ended by itself meanwhile
                end(process)
    psutil.wait_procs(family, timeout=60)
