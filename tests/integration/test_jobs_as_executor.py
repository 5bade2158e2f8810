"""Every operation on a container step that is a Job: a real API server, a node that runs pods by a real engine."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import pytest
from every_executor import World
from operations_walk import (
    deploy,
    goes_on,
    is_changed_in_every_way,
    is_taken_down,
    kill_all,
    patched_until_it_waits,
    platform_with,
)
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


@pytest.mark.kills
async def test_a_job_goes_through_every_operation_of_its_life_and_is_followed_when_workers_die(
    jobs_platform: LocalPlatform, world: World
):
    begun = world.containers.things.begun
    async with deploy("jobs", jobs_platform, world) as deployed:
        await is_changed_in_every_way(deployed, jobs_platform)
        before = begun[deployed.namespace]
        operation = await patched_until_it_waits(deployed)
        kill_all(jobs_platform.workers("executor").values())
        await goes_on(deployed, operation)
        assert begun[deployed.namespace] == before + 1, "the Job is followed, no other is begun"
        await is_taken_down(deployed)
