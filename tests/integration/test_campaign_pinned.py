"""Pinned previews: what goes beyond the plans that were seen asks people, the rest goes on."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from platforms import PROMISES, LocalPlatform, publish, read_json, refused

from harness.waiting import until_async

pytestmark = pytest.mark.integration

CAMPAIGN = """\
apiVersion: bondstone.dev/v1
kind: Campaign
metadata: {name: pinned, owner: platform, reason: "CVE-2026-1234"}
spec:
  operation: patch
  promise: pinned-thing
  to: 1.0.1
  max_concurrent: 3
  waves:
    - {name: rest, rest: true}
"""


def revision(directory: Path, version: str) -> Path:
    """The promise `turning` under another name and version."""
    shutil.copytree(PROMISES / "turning", directory / version)
    file = directory / version / "promise.yaml"
    text = file.read_text().replace("name: turning, version: 1.0.0", f"name: pinned-thing, version: {version}")
    file.write_text(text.replace('"1.0.0 ${inputs.size}"', f'"{version} ${{inputs.size}}"'))
    return directory / version


async def test_what_goes_beyond_the_preview_asks_and_the_rest_goes_on(
    platform: LocalPlatform, tmp_path: Path
) -> None:
    services = [f"pinned/thing-{number}" for number in range(3)]
    file = tmp_path / "campaign.yaml"
    file.write_text(CAMPAIGN)
    async with platform.client() as bond:
        await publish(bond, revision(tmp_path, "1.0.0"))
        made = [await bond.services.request("pinned-thing", service) for service in services]
        await asyncio.gather(*(operation.result() for operation in made))
        await publish(bond, revision(tmp_path, "1.0.1"))

        preview = read_json(platform, "campaign-preview", "campaign", "preview", "-f", str(file), "--plan")
        plans = preview["plans"]
        assert [target["service"] for target in plans["targets"] if target["changes"]["update"] == 1] != []
        assert (plans["changes"]["update"], plans["destroys"], plans["failed"]) == (3, 0, 0)
        assert {
            state.resolved.revision.version for state in [await bond.services.read(it) for it in services]
        } == {"1.0.0"}

        await (await bond.services.update(services[1], {"size": "large"})).result()
        started = json.loads(
            platform.bond(
                "campaign", "run", "-f", str(file), "--pinned", plans["digest"][:12], "-o", "json"
            ).stdout
        )
        assert started["name"] == "pinned"

        async def asks() -> str:
            states = [await bond.services.read(service) for service in services]
            records = [state.queue[0].record for state in states if state.queue]
            moved = [state.resolved.revision.version for state in states if state.resolved]
            waits = records and records[0].status == "awaiting-approval"
            return records[0].id if waits and moved == ["1.0.1", "1.0.0", "1.0.1"] else ""

        waiting = await until_async(asks, "the service that is not as previewed asks")
        [approval] = (await bond.operation(waiting).get()).approvals
        [need] = approval.needs
        assert need.reason.startswith(f"beyond the pinned preview {plans['digest'][:12]}: ")
        assert "other values than were approved" in need.reason
        async with platform.client(by="grace") as other:
            await other.operation(waiting).approve(approval.digest, step=approval.step)
        async with asyncio.timeout(120):
            ended = await bond.campaigns.wait("pinned", through_approvals=True)
    assert ended.counts == {"succeeded": 3}


def test_a_preview_of_something_else_is_refused(platform: LocalPlatform, tmp_path: Path) -> None:
    file = tmp_path / "campaign.yaml"
    file.write_text(CAMPAIGN.replace("pinned,", "unpinned,"))
    run = ("campaign", "run", "-f", str(file), "-o", "json", "--pinned")
    refused(platform.bond(*run, "0123abcd0123", status=3), "NOT_FOUND")
    refused(platform.bond(*run, "latest", status=2), "INVALID_INPUT")
