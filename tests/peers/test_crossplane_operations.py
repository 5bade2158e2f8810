"""Every operation of the shared walk on a composite of Crossplane itself."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from every_executor import World
from operations_walk import deploy, is_changed_in_every_way, is_taken_down, platform_with

from harness.local_platform import LocalPlatform
from harness.servers.crossplane_core import CrossplaneCore

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


@pytest.fixture
def world(crossplane: CrossplaneCore, hosts, containers) -> World:
    return World(crossplane.plane, hosts, containers)


@pytest.fixture
def platform(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPlatform]:
    settings = {"BOND_CLUSTERS": json.dumps({"default": {"kubeconfig": str(world.plane.kubeconfig)}})}
    with platform_with(tmp_path_factory.mktemp("operations"), ["crossplane"], world, settings) as local:
        yield local


async def test_a_composite_goes_through_every_operation_of_its_life(platform: LocalPlatform, world: World):
    async with deploy("crossplane", platform, world) as deployed:
        await is_changed_in_every_way(deployed, platform)
        await is_taken_down(deployed)
