"""A campaign over a fleet: real workflows on a real server, fake tools."""

from __future__ import annotations

from campaign_fakes import TO, CampaignPlatform, Fleet
from fakes import serving
from temporalio.client import Client
from temporalio.common import SearchAttributeKey

from bondstone import names
from bondstone.model.campaign import CampaignStatus, Outcome


async def test_a_fleet_is_patched_wave_after_wave(temporal: Client) -> None:
    platform = CampaignPlatform()
    fleet = await Fleet.of(temporal, platform, [1, 3], max_failures=0)
    async with serving(temporal, platform):
        await fleet.start()
        result = await fleet.result()
        states = [await caller.state() for caller in fleet.callers]
        description = await fleet.handle.describe()
    assert result.status is CampaignStatus.COMPLETED
    assert result.counts == {"succeeded": 4}
    assert [state.resolved.revision.version for state in states if state.resolved] == [TO] * 4
    records = await fleet.records()
    assert [record.outcome for _, record in sorted(records.items())] == [Outcome.SUCCEEDED] * 4
    first = records[0]
    assert first.service == str(fleet.callers[0].service)
    assert first.operation_id == f"{first.service}/op/1"
    assert first.revision_before is not None
    assert first.revision_after is not None
    assert (first.revision_before.version, first.revision_after.version) == ("1.0.0", TO)
    assert list(first.plans) == ["main"]
    waves = {record.target: record.wave for record in records.values()}
    assert waves == {0: "wave-0", 1: "wave-1", 2: "wave-1", 3: "wave-1"}
    assert (await fleet.notes()) == ["wave-started", "wave-ended", "wave-started", "wave-ended", "ended"]
    found = description.typed_search_attributes
    assert found[SearchAttributeKey.for_keyword(names.SA_PHASE)] == "completed"
    assert found[SearchAttributeKey.for_keyword(names.SA_CAMPAIGN)] == fleet.name
