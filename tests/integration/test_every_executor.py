"""Every operation on a step of every executor: real workflows, a real Helm, API server, Ansible, container engine.

The same walk runs for all (`operations_walk.py`): nothing in it, as nothing in the workflows, knows which executor
is at work. Jobs have a platform and a file of their own; Crossplane has its own control plane, in `tests/peers`.
Terraform has a provider of the tests (`tools/go/terraform-provider-time/shop`): what is built in cannot drift.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest
from every_executor import KINDS, World
from helm_kit import helm
from operations_walk import (
    TOGETHER,
    deploy,
    go_on,
    goes_through_its_life,
    kill_all,
    patched_until_they_wait,
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


@pytest.mark.parametrize("kind", TOGETHER)
async def test_it_goes_through_every_operation_of_its_life(kind: str, platform: LocalPlatform, world: World):
    if kind not in kinds():
        pytest.skip(f"there is no {PROVIDER}: run `make tools`")
    await goes_through_its_life(kind, platform, world)


@pytest.mark.kills
async def test_workers_and_their_tools_die_in_the_middle_of_a_patch_and_it_goes_on(platform, world):
    async with AsyncExitStack() as stack:
        things = {kind: await stack.enter_async_context(deploy(kind, platform, world)) for kind in kinds()}
        operations = await patched_until_they_wait(things)
        path = f"/api/v1/namespaces/{things['helm'].namespace}/secrets?labelSelector=owner%3Dhelm"
        releases = world.plane.call("GET", path)
        assert releases["items"][-1]["metadata"]["labels"]["status"] == "pending-upgrade"
        kill_all(platform.workers("executor").values())  # the next worker marks the release as failed at once
        await go_on(things, operations)
        assert world.containers.things.begun[things["container"].namespace] == 2, "one provision, one patch"
        for kind in ("helm", "kubernetes", "kratix"):
            world.plane.call("DELETE", f"/api/v1/persistentvolumes/{things[kind].namespace}")
        assert world.containers.names() == []


def test_no_workflow_knows_an_executor():
    for path in (ROOT / "workflows").glob("*.py"):
        tree = ast.parse(path.read_text())
        words = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        assert not words & {*KINDS}, path
