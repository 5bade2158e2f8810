"""A trigger that is sent again is answered from what its first try has started, also where Temporal forgot it.

Temporal drops a repeated request of a schedule only until the schedule's own workflow continues as new.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from bondstone.client.direct.schedules.schedules import DirectSchedules
from bondstone.model.campaign.schedule import ScheduleEntry
from bondstone.store import Store
from bondstone.store.crypto import KeyRing
from bondstone.store.objects import Objects
from bondstone.store.schedules import ScheduleStore

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


class AskedTemporal(Exception):
    """Something would be started."""


async def test_a_trigger_that_has_started_its_campaign_asks_temporal_for_no_other(tmp_path) -> None:
    store = Store(await Objects.open(f"file://{tmp_path}"), KeyRing.generate())

    async def kept() -> Store:
        return store

    async def temporal() -> Any:
        raise AskedTemporal

    caller: Any = SimpleNamespace(by="ada", connection=SimpleNamespace(store=kept, temporal=temporal))
    nothing: Any = None
    schedules = DirectSchedules(caller, nothing)
    ledger = ScheduleStore(store.objects)
    before = ScheduleEntry(schedule="nightly", kind="run", at=NOON, by="eve", campaign="nightly-1")
    request = schedules._request("r")
    trigger = ScheduleEntry(
        schedule="nightly", kind="triggered", at=NOON + timedelta(hours=1), by="ada", request=request
    )
    await ledger.record(before)
    await ledger.record(trigger)
    with pytest.raises(AskedTemporal):  # the first try may have died before it reached Temporal
        await schedules.trigger("nightly", request_id="r")
    started = before.changed(at=NOON + timedelta(hours=2), campaign="nightly-2")
    await ledger.record(started)
    assert await schedules.trigger("nightly", request_id="r") == "nightly-2"
    with pytest.raises(AskedTemporal):
        await schedules.trigger("nightly", request_id="another")
