"""A campaign whose patch replaces something: its targets ask, it says so, and one vote approves the same plans."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from platforms import PROMISES, LocalPlatform, publish, read_json, refused
from ruamel.yaml import YAML

from harness.waiting import wait_until

pytestmark = pytest.mark.integration

PROMISE = "replaced"
SERVICES = [f"asking/replaced-{number}" for number in range(3)]
CAMPAIGN = """\
apiVersion: bondstone.dev/v1
kind: Campaign
metadata: {name: NAME, owner: platform, reason: "a new disk for all"}
spec:
  operation: patch
  promise: replaced
  to: 1.0.1
  select: {include: [asking/replaced-0, asking/replaced-1, asking/replaced-2]}
  waves: [{name: every, rest: true}]
"""


def revision(directory: Path, version: str) -> Path:
    """A revision of which every other version replaces the thing."""
    target = directory / version
    shutil.copytree(PROMISES / "turning", target)
    yaml = YAML(typ="safe")
    promise = yaml.load(target / "promise.yaml")
    promise["metadata"] |= {"name": PROMISE, "version": version}
    yaml.dump(promise, target / "promise.yaml")
    module = target / "terraform" / "thing" / "main.tf"
    module.write_text(module.read_text().replace("input =", f'triggers_replace = "{version}"\n  input ='))
    return target


@pytest.fixture(scope="module")
def fleet(platform: LocalPlatform, tmp_path_factory: pytest.TempPathFactory) -> LocalPlatform:
    directory = tmp_path_factory.mktemp("replaced")

    async def make() -> None:
        async with platform.client() as bond:
            await publish(bond, revision(directory, "1.0.0"))
            operations = [await bond.services.request(PROMISE, service, {}) for service in SERVICES]
            await asyncio.gather(*(operation.result() for operation in operations))
            await publish(bond, revision(directory, "1.0.1"))

    asyncio.run(make())
    return platform


def campaign(directory: Path, name: str) -> str:
    file = directory / f"{name}.yaml"
    file.write_text(CAMPAIGN.replace("NAME", name))
    return str(file)


def test_targets_that_ask_are_previewed_shown_waited_for_and_approved_together(fleet, tmp_path):
    bond, file = fleet.bond, campaign(tmp_path, "disks")
    preview = bond("campaign", "preview", "-f", file).stdout
    assert "each target whose plan would delete or replace something waits for an approval" in preview
    assert "3 targets will ask for an approval" in bond("campaign", "preview", "-f", file, "--plan").stdout

    waits = bond("campaign", "run", "-f", file, "--wait", status=5)
    assert "waits for an approval of their plans: 3 targets" in waits.stdout
    assert "bond approval approve --campaign disks" in waits.stderr
    bond("campaign", "wait", "disks", status=5)
    shown = read_json(fleet, "campaign-show", "campaign", "show", "disks")
    assert (shown["status"], shown["awaiting"]) == ("awaiting-approval", 3)
    assert all(flight["awaiting"] for flight in shown["flights"])
    assert "overlaps" in bond("campaign", "preview", "-f", campaign(tmp_path, "disks-too")).stdout
    report = read_json(fleet, "campaign-report", "campaign", "report", "disks")
    assert "an approval of their plans: 3 targets" in report["awaits"]
    assert report["counts"] == {"running": 3}

    [group] = read_json(fleet, "campaign-approvals", "approval", "list", "--campaign", "disks")
    assert group["changes"] == ["replace terraform_data.thing"]
    digests = {gate["digest"] for gate in group["approvals"]}
    assert len(digests) == 3
    approve = ["approval", "approve", "--campaign", "disks"]
    votes = read_json(fleet, "campaign-votes", "--as", "eve", *approve)
    assert {vote["digest"] for vote in votes} == digests, "each by its own digest"
    assert {vote["approval"]["status"] for vote in votes} == {"approved"}
    bond("campaign", "wait", "disks")
    listed = ("service", "list", "--promise", PROMISE, "--no-headers")  # which follows a moment later
    wait_until(lambda: fleet.bond(*listed).stdout.count("replaced@1.0.1") == 3, "all three are listed as patched")
    refused(bond(*approve, "-o", "json", status=3), "NOT_FOUND")

    again = bond("campaign", "run", "-f", file, "--name", "later", "--supersedes", "disks", "-o", "json", status=4)
    assert "nothing to take over from" in refused(again, "REFUSED")["message"]
    assert "later" not in bond("campaign", "list").stdout
