"""Every operation on a step of every executor: real workflows, a real Helm, API server, Ansible, container engine.

The same test runs for all: nothing in it, as nothing in the workflows, knows which executor is at work. Terraform
is tested by itself (`test_up.py`, `test_kills.py`): what it has built in cannot drift.
"""

from __future__ import annotations

import ast
import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import psutil
import pytest
from every_executor import KEPT, KINDS, VERSIONS, Deployed, World, inputs, write
from helm_kit import helm
from platforms import LocalPlatform, publish, running, until

from bondstone.base.errors import BondError
from bondstone.client import Operation
from bondstone.model.service import OperationRecord, OperationStatus
from harness.pinned import ROOT
from harness.servers import kubelet
from harness.servers.kubelet import TAINT, WORKER

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

TOGETHER = [kind for kind in KINDS if kind != "jobs"]
"""On one platform; with Jobs, the container steps of a pool are all Jobs."""


@pytest.fixture(scope="module")
def world(control_plane, hosts, containers) -> World:
    return World(control_plane, hosts, containers)


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


@pytest.fixture(scope="module")
def platform(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPlatform]:
    root = tmp_path_factory.mktemp("operations")
    clusters = {"default": {"kubeconfig": str(world.plane.kubeconfig)}}
    settings = {"BOND_HELM": helm(), "BOND_CLUSTERS": json.dumps(clusters), **world.containers.environment}
    with platform_with(root, TOGETHER, world, settings) as local:
        yield local


@pytest.fixture(scope="module")
def jobs_platform(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPlatform]:
    """Its container steps are Jobs."""
    namespace = f"jobs-{uuid.uuid4().hex[:8]}"
    world.plane.call("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
    jobs = {
        "namespace": namespace,
        "collector": WORKER,
        "network": True,
        "node_selector": {TAINT["key"]: "yes"},
        "tolerations": [{"key": TAINT["key"], "operator": "Exists", "effect": TAINT["effect"]}],
    }
    clusters = {"default": {"kubeconfig": str(world.plane.kubeconfig)}}
    settings = {"BOND_CLUSTERS": json.dumps(clusters), "BOND_CONTAINER_JOBS": json.dumps(jobs)}
    root = tmp_path_factory.mktemp("jobs")
    with (
        kubelet.running(world.plane, world.containers.command),
        platform_with(root, ["jobs"], world, settings) as local,
    ):
        yield local
    world.plane.call("DELETE", f"/api/v1/namespaces/{namespace}")


@pytest.fixture
def own_platform(kind: str, request: pytest.FixtureRequest) -> LocalPlatform:
    """The one that has an executor."""
    local: LocalPlatform = request.getfixturevalue("jobs_platform" if kind == "jobs" else "platform")
    return local


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


@pytest.mark.parametrize("kind", KINDS)
async def test_it_goes_through_every_operation_of_its_life(kind: str, own_platform: LocalPlatform, world: World):
    async with deploy(kind, own_platform, world) as deployed:
        await _is_patched_after_a_dry_run(deployed)
        await _has_its_drift_found_and_undone(deployed)
        await _goes_back_by_itself_and_when_asked(deployed)
        await _is_changed_as_policies_allow_and_people_approve(deployed, own_platform)
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
    assert (await ends(await bond.services.reconcile(service))).drift == 0
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
    async with asyncio.timeout(120):
        while not (approvals := (await bond.operations.record(operation.id)).approvals):  # noqa: ASYNC110 - a fact of other processes
            await asyncio.sleep(0.1)
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


@pytest.mark.kills
async def test_workers_and_their_tools_die_in_the_middle_of_a_patch_and_it_goes_on(platform, world):
    async with AsyncExitStack() as stack:
        things = {kind: await stack.enter_async_context(deploy(kind, platform, world)) for kind in TOGETHER}
        operations = await _patched_until_they_wait(things)
        path = f"/api/v1/namespaces/{things['helm'].namespace}/secrets?labelSelector=owner%3Dhelm"
        releases = world.plane.call("GET", path)
        assert releases["items"][-1]["metadata"]["labels"]["status"] == "pending-upgrade"
        kill_all(platform.workers("executor").values())  # the next worker marks the release as failed at once
        await _go_on(things, operations)
        assert world.containers.things.begun[things["container"].namespace] == 2, "one provision, one patch"
        for kind in ("helm", "kubernetes"):
            world.plane.call("DELETE", f"/api/v1/persistentvolumes/{things[kind].namespace}")
        assert world.containers.names() == []


@pytest.mark.kills
async def test_workers_die_while_a_job_patches_and_the_next_one_follows_the_job(jobs_platform, world):
    async with deploy("jobs", jobs_platform, world) as thing:
        operations = await _patched_until_they_wait({"jobs": thing})
        kill_all(jobs_platform.workers("executor").values())
        await _go_on({"jobs": thing}, operations)
        assert world.containers.things.begun[thing.namespace] == 2, "one provision, one patch"


async def _patched_until_they_wait(things: Mapping[str, Deployed]) -> list[Operation]:
    """Patches of all of them that are half-way."""
    operations = [await each.bond.services.patch(each.service, to="1.0.3") for each in things.values()]
    await until(
        lambda: all(each.kept.data["version"] == "1.0.3" for each in things.values()),
        "every tool at work",
        in_thread=True,
    )
    return operations


async def _go_on(things: Mapping[str, Deployed], operations: Sequence[Operation]) -> None:
    """They end by themselves, as if nothing had died."""
    for each in things.values():
        each.kept.let_go()
    for operation in operations:
        await ends(operation)
    for kind, each in things.items():
        assert each.kept.names == {"thing", "since-1.0.1"}, kind
        assert (await ends(await each.bond.services.reconcile(each.service))).drift == 0, kind
        await ends(await each.bond.services.decommission(each.service))
        assert each.kept.names == set(), kind


def kill_all(pids: Iterable[int]) -> None:
    """Hosts that go down: the workers and all that they started, with no time to say anything."""
    family = [
        item for pid in pids for item in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True))
    ]
    for process in family:
        process.suspend()
    for process in family:
        process.kill()
    psutil.wait_procs(family, timeout=60)


def test_no_workflow_knows_an_executor():
    for path in (ROOT / "workflows").glob("*.py"):
        tree = ast.parse(path.read_text())
        words = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        assert not words & {"terraform", *KINDS}, path
