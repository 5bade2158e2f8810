"""What is measured, and that it is what it says."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import UTC, datetime, timedelta

import pytest

from bondstone.activities.ledger import RecordActivities
from bondstone.activities.terraform.slots import Slots
from bondstone.activities.tooling.heartbeat import Pulse, Stop
from bondstone.base import metrics
from bondstone.base.errors import SettingsInvalid
from bondstone.base.settings import Settings
from bondstone.model.ledger import LedgerEntry, LedgerRecord
from bondstone.model.service import OperationKind, OperationStatus, RevisionRef, ServiceId
from bondstone.workers import embedded, telemetry

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def measured():
    measured = defaultdict(list)
    metrics.use(lambda metric, value, labels: measured[metric.name, *sorted(labels.items())].append(value))
    yield measured
    metrics.use(metrics._nowhere)


def slots(measured, use: str) -> dict[str, float]:
    return {
        state: measured["bond_terraform_slots", ("state", state), ("use", use)][-1]
        for state in ("total", "used", "waiting")
    }


async def test_slots_count_who_has_one_and_who_waits(measured):
    places = Slots(Settings(terraform_slots=1))
    assert slots(measured, "change") == {"total": 1, "used": 0, "waiting": 0}
    async with Pulse(lambda _: None) as pulse:
        async with places.changing(pulse, Stop()):
            waiting = asyncio.create_task(places.changing(pulse, Stop()).__aenter__())
            while slots(measured, "change")["waiting"] == 0:  # noqa: ASYNC110 - no event to await
                await asyncio.sleep(0)
            assert slots(measured, "change") == {"total": 1, "used": 1, "waiting": 1}
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            assert slots(measured, "change") == {"total": 1, "used": 1, "waiting": 0}
        assert slots(measured, "change") == {"total": 1, "used": 0, "waiting": 0}


class NoLedger:
    ledger = None

    async def record(self, record: LedgerRecord) -> LedgerEntry:
        return LedgerEntry(key=record.sequence, digest="d")


async def recorded(**fields) -> None:
    store = NoLedger()
    store.ledger = store
    service = ServiceId(team="payments", name="db")
    await RecordActivities(store).record(
        LedgerRecord(service=service, sequence="op-1", at=NOW, by="ada", **fields)
    )


async def test_an_operation_is_measured_by_kind_promise_and_outcome(measured):
    await recorded(
        kind="operation",
        operation_kind=OperationKind.PATCH,
        status=OperationStatus.FAILED,
        revision_after=RevisionRef(promise="queue", version="1.0.0", digest="d"),
        requested_at=NOW - timedelta(seconds=10),
        started_at=NOW - timedelta(seconds=7),
    )
    kind, promise = ("kind", "patch"), ("promise", "queue")
    assert measured["bond_operation_duration_seconds", kind, ("outcome", "failed"), promise] == [7]
    assert measured["bond_operation_queue_seconds", kind, promise] == [3]


async def test_what_is_no_operation_is_not_measured(measured):
    await recorded(kind="pause")
    assert not measured


@pytest.mark.parametrize("bind", ["localhost:9464", "9464", "nonsense"])
def test_an_address_that_cannot_be_served_is_said_in_words(bind):
    with pytest.raises(SettingsInvalid, match="metrics cannot be served") as raised:
        telemetry.start("control", bind)
    assert "BOND_METRICS_BIND" in raised.value.hint


def test_each_worker_of_the_embedded_platform_has_a_port_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(embedded.os, "cpu_count", lambda: 4)
    commands = embedded.worker_commands(Settings(data=tmp_path, metrics_bind="127.0.0.1:9464"), new=False)
    assert {command.name: command.environment["BOND_METRICS_BIND"] for command in commands} == {
        "control": "127.0.0.1:9464",
        "control-2": "127.0.0.1:9465",
        "executor": "127.0.0.1:9466",
    }


def test_names_follow_the_conventions_of_prometheus():
    for metric in metrics.METRICS:
        assert metric.name.startswith("bond_")
        assert metric.name.endswith("_seconds") == (metric.kind == "histogram")
        assert list(metric.buckets) == sorted(metric.buckets)
