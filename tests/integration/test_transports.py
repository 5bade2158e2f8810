"""The Python client means the same over HTTP and over Temporal: one suite, both transports, a real platform."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from platforms import PROMISES, LocalPlatform

from bondstone.base.errors import (
    AlreadyExists,
    CampaignInvalid,
    InputsInvalid,
    InvalidInput,
    NotFound,
    PolicyDenied,
    Refused,
    VoteStale,
)
from bondstone.client import Bondstone, connect
from bondstone.client.direct.client import DirectClient
from bondstone.client.http.address import find_api_of
from bondstone.client.http.client import HttpClient

pytestmark = pytest.mark.integration

CAMPAIGN = """
apiVersion: bondstone.dev/v1
kind: Campaign
metadata: {{name: {name}, owner: {team}, reason: drill}}
spec:
  operation: reconcile
  promise: plain
  select: {{where: "team == '{team}'"}}
  budget: {{max_failures: 0}}
  waves: [{{name: all, rest: true}}]
"""


@pytest.fixture(params=["http", "direct"])
async def bond(platform: LocalPlatform, request: pytest.FixtureRequest) -> AsyncIterator[Bondstone]:
    """A client over one transport."""
    settings = platform.settings
    if request.param == "direct":
        async with DirectClient.connect(settings, by="ada") as client:
            yield client
        return
    address = find_api_of(settings)
    assert address is not None
    async with HttpClient.open(address, by="ada", data=settings.data) as client:
        yield client


@pytest.fixture
def team(bond: Bondstone) -> str:
    """A team of the transport's own."""
    return "over-http" if isinstance(bond, HttpClient) else "over-temporal"


async def test_the_environment_chooses_the_transport(platform, monkeypatch):
    monkeypatch.setenv("BOND_DATA", str(platform.data))
    async with connect() as client:
        assert isinstance(client, HttpClient)
    async with connect(platform.settings) as client:
        assert isinstance(client, HttpClient)
    monkeypatch.setenv("BOND_API", "")
    async with connect() as client:
        assert isinstance(client, DirectClient)


async def test_a_service_from_request_to_decommission(bond, team):
    name = f"{team}/whole"
    operation = await bond.services.request(
        "patient", name, {"size": "medium", "seconds": 1}, labels={"tier": "prod"}, reason="new"
    )
    assert operation.id == f"{name}/op/1"
    recorded = []
    document = await operation.result(recorded.append)
    assert document.status == "succeeded"
    assert [each.status for each in recorded][-1] == "succeeded"
    assert len(recorded) > 1
    assert document.requested_by == "ada"
    assert document.reason == "new"

    service = await bond.services.get(name)
    assert (service.phase, service.labels, service.inputs["size"]) == ("ready", {"tier": "prod"}, "medium")
    assert (await bond.services.wait(name)).phase == "ready"
    assert (await bond.services.outputs(name))["size"] == "medium"
    rows = await bond.services.list(team=team, labels={"tier": "prod"})
    assert [row.id for row in rows] == [name]
    assert await bond.services.set_labels(name, {"a": "b"}, remove=["tier"]) == {"a": "b"}

    [plan, *_] = await bond.operations.plans(operation.id, step="first")
    assert plan.operation == operation.id
    logs = await bond.logs.list(operation.id, step="first")
    assert {log.step for log in logs} == {"first"}
    lines = [line async for line in bond.logs.read(operation.id, step="first")]
    assert any("Apply complete" in line.text for line in lines)
    entries = await bond.state.log(name, step="first")
    assert entries[-1].kind == "release"
    assert b'"version": 4' in (await bond.state.pull(name, step="first")).content

    assert (await bond.services.pause(name, reason="looking")).paused_by == "ada"
    with pytest.raises(Refused, match="paused already"):
        await bond.services.pause(name)
    assert (await bond.services.resume(name)).paused_by == ""
    changed = await (await bond.services.update(name, {"size": "small"})).result()
    assert changed.kind == "update"
    assert [row.id for row in await bond.operations.list(name)] == [f"{name}/op/2", f"{name}/op/1"]
    gone = await (await bond.services.decommission(name)).result()
    assert gone.kind == "decommission"
    assert {record.kind for record in await bond.services.history(name)} >= {"operation"}
    verified = await bond.ledger.verify(name)
    assert (verified.chains, verified.breaks) == (1, ())
    assert verified.records >= 3
    assert (await bond.ledger.anchor()).chains >= 1
    assert b"ledger/" in await bond.ledger.export(name)
    assert name not in [row.id for row in await bond.services.list()]


async def test_refusals_are_the_same_errors(bond, team):
    with pytest.raises(NotFound):
        await bond.ledger.export(f"{team}/nothing")
    with pytest.raises(InputsInvalid) as wrong:
        await bond.services.request("patient", f"{team}/wrong", {"seconds": -1})
    assert wrong.value.problems
    with pytest.raises(NotFound):
        await bond.services.request("nothing", f"{team}/wrong")
    with pytest.raises(NotFound):
        await bond.services.get(f"{team}/nobody")
    with pytest.raises(InvalidInput):
        await bond.services.get("nobody")
    with pytest.raises(NotFound):
        await bond.operations.get(f"{team}/nobody/op/1")
    with pytest.raises(CampaignInvalid, match="the file is empty"):
        await bond.schedules.create(f"{team}-empty", b"", "nightly.yaml", cron="@daily")
    with pytest.raises(CampaignInvalid, match="the file is empty"):
        await bond.campaigns.preview(b"", "patch.yaml")
    await (await bond.services.request("plain", f"{team}/taken", request_id="r-1")).wait()
    again = await bond.services.request("plain", f"{team}/taken", request_id="r-1")
    assert again.id == f"{team}/taken/op/1"
    with pytest.raises(AlreadyExists):
        await bond.services.request("plain", f"{team}/taken")
    refused = await bond.services.request("patient", f"{team}/large", {"size": "large"})
    with pytest.raises(PolicyDenied, match="large is for nobody"):
        await refused.result()


async def test_a_plan_waits_for_another_person_and_is_approved_by_digest(bond, team):
    operation = await bond.services.request("patient", f"{team}/asked", ask=True)
    waiting = await operation.wait()
    assert waiting.status == "awaiting-approval"
    gates = [gate for gate in await bond.approvals.list() if gate.operation == operation.id]
    assert gates
    with pytest.raises(InvalidInput, match="digest"):
        await operation.approve("nonsense")
    with pytest.raises(VoteStale, match="no plan 000000000000 waits there"):  # as a plan that is past is named
        await bond.acting_as("grace").operation(operation.id).approve("0" * 64)
    assert (await operation.get()).approvals[0].votes == ()
    with pytest.raises(Refused):
        await operation.approve(gates[0].digest)
    grace = bond.acting_as("grace")
    while waiting.status == "awaiting-approval":
        for gate in [gate for gate in waiting.approvals if gate.status == "waiting"]:
            voted = await grace.operation(operation.id).approve(gate.digest, comment="seen")
            assert voted.votes[0].by == "grace"
        waiting = await operation.wait()
    assert waiting.status == "succeeded"

    other = await bond.services.request("patient", f"{team}/unwanted", ask=True)
    gate = (await other.wait()).approvals[0]
    rejected = await grace.operation(other.id).reject(gate.digest, reason="not now")
    assert rejected.status == "rejected"
    assert (await other.wait()).status == "rejected"


async def test_a_campaign_is_previewed_run_and_reported(bond, team):
    fleet = f"{team}-fleet"
    for number in range(2):
        await (await bond.services.request("plain", f"{fleet}/s{number}")).result()
    source = CAMPAIGN.format(name=f"{fleet}-look", team=fleet).encode()
    assert (await bond.campaigns.validate(source)).waves == 1
    preview = await bond.campaigns.preview(source)
    assert sorted(target.service for target in preview.selected) == [f"{fleet}/s0", f"{fleet}/s1"]
    started = await bond.campaigns.run(source)
    ended = await bond.campaigns.wait(started.name)
    assert (ended.status, ended.counts) == ("completed", {"succeeded": 2})
    assert started.name in [row.name for row in await bond.campaigns.list()]
    assert (await bond.campaigns.report(started.name, evidence=False)).name == started.name
    with pytest.raises(Refused):
        await bond.campaigns.pause(started.name)
    with pytest.raises(NotFound):
        await bond.campaigns.get("nobody")


async def test_promises_policies_freezes_and_builds_are_read_and_written(bond, team):
    assert (await bond.promises.publish(PROMISES / "patient")).published is False
    assert "patient" in [row.promise for row in await bond.promises.list(every_version=True)]
    promise = await bond.promises.get("patient")
    assert promise.input_schema["properties"]["size"]["enum"] == ["small", "medium", "large"]
    with pytest.raises(NotFound):
        await bond.promises.get("patient", "9.9.9")
    assert isinstance(await bond.policies.list(), list)
    ends = datetime.now(UTC) + timedelta(hours=1)
    freeze = await bond.freezes.create(f"{team}-stop", reason="quiet", team=team, ends_at=ends)
    assert freeze.by == "ada"
    assert freeze.ends_at == ends
    assert f"{team}-stop" in [each.name for each in await bond.freezes.list()]
    await bond.freezes.delete(freeze.name)
    with pytest.raises(Refused):
        await bond.freezes.delete(freeze.name)
    [control, pool] = await bond.workers.queues(["default"])
    assert control.pollers
    assert pool.pollers
