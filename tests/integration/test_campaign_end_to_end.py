"""A campaign on a real platform: real Terraform, real visibility, the ledger on disk."""

from __future__ import annotations

import asyncio
import shutil
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest
from platforms import PROMISES, LocalPlatform, publish
from temporalio.client import RPCError, WorkflowFailureError, WorkflowHandle, WorkflowQueryFailedError

from bondstone.base import names
from bondstone.base.errors import CampaignInvalid
from bondstone.client.direct.client import DirectClient
from bondstone.model.campaign.run import CampaignDescription, CampaignInput, FreezeRecord, Linked
from bondstone.model.campaign.state import CampaignStatus
from bondstone.store.campaigns import latest
from bondstone.temporal.failures import info_of
from harness.waiting import until_async

pytestmark = pytest.mark.integration

CAMPAIGN = """\
apiVersion: bondstone.dev/v1
kind: Campaign
metadata: {{name: {name}, owner: platform, reason: "CVE-2026-1234"}}
spec:
  operation: patch
  promise: {promise}
  to: 1.0.1
  select: {{where: "labels.fleet == '{name}'"}}
  waves:
    - {{name: canary, count: 1, max_failures: 0, soak: 1s}}
    {rest}
"""


def revision(tmp_path: Path, promise: str, version: str) -> Path:
    """The promise `patient` under another name and version."""
    directory = tmp_path / version
    shutil.copytree(PROMISES / "patient", directory)
    text = (directory / "promise.yaml").read_text()
    text = text.replace("name: patient, version: 1.0.0", f"name: {promise}, version: {version}")
    (directory / "promise.yaml").write_text(text)
    return directory


async def run(bond: DirectClient, name: str, source: str, *, linked: Linked | None = None) -> CampaignDescription:
    return await (await bond.connection.temporal()).execute_workflow(
        names.CAMPAIGN_WORKFLOW,
        CampaignInput(source=source, file="c.yaml", requested_by="ada", linked=linked),
        id=names.campaign_workflow_id(name),
        task_queue=names.CONTROL_QUEUE,
        result_type=CampaignDescription,
    )


async def frozen_teams(handle: WorkflowHandle) -> CampaignDescription:
    """How a campaign stands that a freeze holds up."""

    async def held_up() -> CampaignDescription | None:
        result: CampaignDescription = await handle.query(names.QUERY_DESCRIBE, result_type=CampaignDescription)
        return result if result.calendar and result.calendar.frozen_teams else None

    return await until_async(held_up, "a freeze holds it up", not_yet=(RPCError, WorkflowQueryFailedError))


async def test_three_services_are_patched_and_the_ledger_proves_it(
    platform: LocalPlatform, tmp_path: Path
) -> None:
    name = f"cve-{uuid.uuid4().hex[:6]}"
    promise = f"p{name}"
    async with platform.client() as bond:
        await publish(bond, revision(tmp_path, promise, "1.0.0"))
        services = [f"payments/{name}-{number}" for number in range(3)]
        operations = [
            await bond.services.request(promise, service, {"password": "hunter2hunter2"}, labels={"fleet": name})
            for service in services
        ]
        await asyncio.gather(*(operation.wait() for operation in operations))
        await publish(bond, revision(tmp_path, promise, "1.0.1"))

        with pytest.raises(WorkflowFailureError) as refused:
            await run(bond, name, CAMPAIGN.format(name=name, promise=promise, rest=""))
        error = info_of(refused.value.cause)
        assert error.code == CampaignInvalid.code
        assert "no wave takes 2 services" in error.problems[0].message
        assert error.problems[0].line > 0

        source = CAMPAIGN.format(name=name, promise=promise, rest="- {name: rest, rest: true}")
        async with asyncio.timeout(120):
            result = await run(bond, name, source)
        assert result.status is CampaignStatus.COMPLETED
        assert result.counts == {"succeeded": 3}
        states = [await bond.services.read(service) for service in services]
        assert {state.resolved.revision.version for state in states if state.resolved} == {"1.0.1"}
        batches = await (await bond.connection.store()).campaigns.ledger(name)
        records = latest(batches)
        assert sorted(record.service for record in records.values()) == services
        assert all(record.plans and record.decisions and record.revision_after for record in records.values())
        assert batches[-1].final is not None
        assert batches[-1].final.counts == {"succeeded": 3}

        result = await run(bond, f"{name}-again", source)
        assert (result.status, result.targets) == (CampaignStatus.COMPLETED, 0)
        assert result.left_out == {"compliant": 3}

        freeze = FreezeRecord(name=name, team="payments", by="grace", begins_at=datetime.now(UTC))
        await (await bond.connection.store()).campaigns.create_freeze(freeze)
        back = Linked(campaign=name, verb="rollback", which="all")
        running = asyncio.create_task(run(bond, f"{name}-back", source, linked=back))
        handle = (await bond.connection.temporal()).get_workflow_handle(names.campaign_workflow_id(f"{name}-back"))
        frozen = await frozen_teams(handle)
        assert (frozen.calendar.frozen_teams, frozen.counts) == (("payments",), {"waiting": 3})
        freezes = (await bond.connection.store()).campaigns
        await freezes.put_freeze(freeze.changed(ends_at=datetime.now(UTC)))
        await handle.signal(names.SIGNAL_CALENDAR)
        async with asyncio.timeout(120):
            result = await running
        assert (result.status, result.counts) == (CampaignStatus.COMPLETED, {"succeeded": 3})
        states = [await bond.services.read(service) for service in services]
        assert {state.resolved.revision.version for state in states if state.resolved} == {"1.0.0"}
