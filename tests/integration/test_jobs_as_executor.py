"""Every operation on a container step that is a Job: a real API server, a node that runs pods by a real engine."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import pytest
from every_executor import World
from operations_walk import deploy, go_on, goes_through_its_life, kill_all, patched_until_they_wait, platform_with
from platforms import LocalPlatform

from harness.servers import kubelet
from harness.servers.kubelet import TAINT, WORKER

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def world(control_plane, hosts, containers) -> World:
    return World(control_plane, hosts, containers)


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


async def test_a_job_goes_through_every_operation_of_its_life(jobs_platform: LocalPlatform, world: World):
    await goes_through_its_life("jobs", jobs_platform, world)


@pytest.mark.kills
async def test_workers_die_while_a_job_patches_and_the_next_one_follows_the_job(jobs_platform, world):
    async with deploy("jobs", jobs_platform, world) as thing:
        operations = await patched_until_they_wait({"jobs": thing})
        kill_all(jobs_platform.workers("executor").values())
        await go_on({"jobs": thing}, operations)
        assert world.containers.things.begun[thing.namespace] == 2, "one provision, one patch"
