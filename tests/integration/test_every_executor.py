"""Every operation on a step of every executor: real workflows, a real Helm, API server, Ansible, container engine.

The same walk runs for all (`operations_walk.py`): nothing in it, as nothing in the workflows, knows which executor
is at work. Jobs have a platform and a file of their own; Crossplane has its own control plane, in `tests/peers`.
Terraform has a provider of the tests (`tools/go/terraform-provider-time/shop`): what is built in cannot drift.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator

import pytest
from every_executor import KINDS, World
from helm_kit import helm
from operations_walk import (
    TOGETHER,
    deploy,
    goes_on,
    is_changed_in_every_way,
    is_taken_down,
    kill_all,
    patched_until_it_waits,
    platform_with,
)
from platforms import LocalPlatform

from harness.pinned import ROOT, ToolMissing, find
from harness.terraform_mirror import configured, mirror

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]
PROVIDER = "terraform-provider-shop"


@pytest.fixture(scope="module")
def world(control_plane, hosts, containers) -> World:
    return World(control_plane, hosts, containers)


@pytest.fixture(scope="module")
def platform(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPlatform]:
    root = tmp_path_factory.mktemp("operations")
    clusters = {"default": {"kubeconfig": str(world.plane.kubeconfig)}}
    settings = {"BOND_HELM": helm(), "BOND_CLUSTERS": json.dumps(clusters), **world.containers.environment}
    settings |= {"BOND_TOOL_READABLE_PATHS": json.dumps([str(root)])}
    if "terraform" in kinds():
        program = find(PROVIDER)
        settings |= configured(root, mirror(root, "bond.test/tests/shop", "1.0.0", program))
    with platform_with(root, kinds(), world, settings) as local:
        yield local


def kinds() -> list[str]:
    """Those that this machine has the tools for: without the provider of the tests all but Terraform."""
    try:
        find(PROVIDER)
    except ToolMissing:
        return [kind for kind in TOGETHER if kind != "terraform"]
    return TOGETHER


@pytest.mark.kills
@pytest.mark.parametrize("kind", TOGETHER)
async def test_it_goes_through_every_operation_of_its_life_and_goes_on_when_workers_and_tools_die(
    kind: str, platform: LocalPlatform, world: World
):
    if kind not in kinds():
        pytest.skip(f"there is no {PROVIDER}: run `make tools`")
    begun = world.containers.things.begun
    async with deploy(kind, platform, world) as deployed:
        await is_changed_in_every_way(deployed, platform)
        before = begun.get(deployed.namespace, 0)
        operation = await patched_until_it_waits(deployed)
        if kind == "helm":
            path = f"/api/v1/namespaces/{deployed.namespace}/secrets?labelSelector=owner%3Dhelm"
            releases = world.plane.call("GET", path)["items"]
            newest = max(releases, key=lambda release: int(release["metadata"]["labels"]["version"]))
            assert newest["metadata"]["labels"]["status"] == "pending-upgrade"
        kill_all(platform.workers("executor").values())  # the next worker marks the release as failed at once
        await goes_on(deployed, operation)
        if kind == "container":
            assert begun[deployed.namespace] == before + 1, "the container is followed, no other is begun"
        await is_taken_down(deployed)
        if kind in {"helm", "kubernetes", "kratix"}:
            world.plane.call("DELETE", f"/api/v1/persistentvolumes/{deployed.namespace}")
        assert world.containers.names() == []


def test_no_workflow_knows_an_executor():
    for path in (ROOT / "workflows").glob("*.py"):
        tree = ast.parse(path.read_text())
        words = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        assert not words & {*KINDS}, path
