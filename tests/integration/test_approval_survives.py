"""Rule 3: what was approved is what is applied, after any wait and on any worker.

Operations wait at their gates; the whole platform stops; whatever its workers had on disk is removed; it starts
again on other ports, on the same store.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from platforms import PROMISES, LocalPlatform, publish, running
from test_notifications import Receiver, subscribe

from bondstone.base.canonical import digest
from bondstone.client.direct.client import DirectClient
from bondstone.model.service import OperationRecord, OperationStatus
from bondstone.temporal.announcing import FRESH_SECONDS
from harness.waiting import until_async

pytestmark = [pytest.mark.integration, pytest.mark.kills]

STEP = "things"


async def at_the_gate(bond: DirectClient, operation: str, *, other_than: str = "") -> str:
    """Wait until somebody is asked; the digest of the plan they are asked about."""

    async def digest() -> str:
        record = await bond.operations.record(operation)
        assert not record.status.ended, record.error
        waiting = [approval.digest for approval in record.approvals if approval.status == "waiting"]
        return waiting[-1] if waiting and waiting[-1] != other_than else ""

    return await until_async(digest, f"{operation} waits for people")


def move(platform: LocalPlatform) -> None:
    """Stop everything, wipe what workers had on disk, and start on other ports."""
    before = platform.settings.temporal_address
    platform.down()
    shutil.rmtree(platform.settings.work_dir)
    platform.port = 0
    platform.up()
    assert platform.settings.temporal_address != before


class Waits(NamedTuple):
    """A plan that waits for people while the platform moves."""

    service: str
    operation: str
    digest: str
    made: Path


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPlatform]:
    with running(tmp_path_factory.mktemp("survives") / "data") as platform:

        async def prepare() -> None:
            async with platform.client() as bond:
                await publish(bond, PROMISES / "held")

        asyncio.run(prepare())
        yield platform


@pytest.fixture(scope="module")
def moved(local: LocalPlatform, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Waits]:
    """A platform that has moved while two plans waited: of a new service, and of an update."""

    async def wait() -> dict[str, Waits]:
        waiting = {}
        async with local.client() as bond:
            for kind, value in (("request", "as approved"), ("update", "two")):
                service, made = a_service(), tmp_path_factory.mktemp(kind) / "made.txt"
                first = {"gated": True, "value": value} if kind == "request" else {"gated": False, "value": "one"}
                operation = await bond.services.request("held", service, {"made": str(made), **first})
                if kind == "update":
                    await operation.result()
                    operation = await bond.services.update(service, {"gated": True, "value": value})
                plan = await at_the_gate(bond, operation.id)
                waiting[kind] = Waits(service, operation.id, plan, made)
        return waiting

    waiting = asyncio.run(wait())
    move(local)
    return waiting


def a_service() -> str:
    return f"payments/svc-{uuid.uuid4().hex[:8]}"


async def approve(local: LocalPlatform, operation: str, plan: str) -> None:
    async with local.client("grace") as grace:
        await grace.operation(operation).approve(plan, step=STEP, roles=["dba"])


async def ends(bond: DirectClient, operation: str) -> OperationRecord:
    async with asyncio.timeout(120):
        record = await bond.operations.ended(operation)
    assert record.status is OperationStatus.SUCCEEDED, record.error
    return record


async def test_a_notification_is_delivered_although_everything_was_killed_in_between(local, tmp_path):
    receiver = Receiver(500)
    subscribe(local, "gates", receiver, "--kind", "approval")
    await asyncio.sleep(FRESH_SECONDS + 0.5)  # until every worker knows of it
    async with local.client() as bond:
        inputs = {"made": str(tmp_path / "made.txt"), "gated": True, "value": "one"}
        operation = await bond.services.request("held", a_service(), inputs)
        await at_the_gate(bond, operation.id)

        async def tried() -> bool:
            return bool(receiver.received)

        await until_async(tried, "the attempt that fails")
    local.kill_everything()
    assert len(receiver.received) == 1, "it was not delivered before"
    local.up()

    async def delivered() -> bool:
        return len(receiver.received) > 1

    await until_async(delivered, "the delivery")
    assert len({headers["webhook-id"] for headers, _ in receiver.received}) == 1
    assert [event["data"]["operation"] for event in receiver.events("approval")] == [operation.id] * 2
    receiver.close()


async def test_rule_3_the_approved_plan_is_applied_by_workers_that_never_saw_it(local, moved):
    service, operation, approved, made = moved["request"]
    assert not made.exists()
    async with local.client() as bond:
        await approve(local, operation, approved)
        record = await ends(bond, operation)
        (step,) = record.steps
        assert step.plan.digest == approved
        assert [gate.digest for gate in record.approvals] == [approved], "nobody was asked twice"
        assert digest(await (await bond.connection.store()).sealed.get(f"{step.plan.key}/artefact")) == approved
        plans = await (await bond.connection.store()).objects.list(f"plans/{service}")
        assert {info.key.split("/")[-2] for info in plans} == {approved}, "no other plan was made"
        assert (await bond.services.get(service)).outputs == {"value": "as approved"}
    assert made.read_text().split().count("made") == 3


async def test_rule_3_a_state_that_moved_meanwhile_asks_again_unless_it_is_covered(local, moved, tmp_path):
    service, operation, approved, made = moved["update"]
    file = tmp_path / "x.tfstate"
    local.bond("state", "pull", service, "-f", str(file))
    state = json.loads(file.read_text())

    # Nothing that matters has moved: the new plan does what was approved.
    file.write_text(json.dumps(state | {"serial": state["serial"] + 1}))
    local.bond("state", "push", service, str(file))
    async with local.client() as bond:
        await approve(local, operation, approved)
        record = await ends(bond, operation)
        assert record.steps[0].plan.digest != approved
        assert [gate.digest for gate in record.approvals] == [approved], "covered: nobody was asked twice"
        operation = (await bond.services.update(service, {"value": "three"})).id
        approved = await at_the_gate(bond, operation)

    # A thing is gone from the state: to make it again was never approved.
    local.bond("state", "pull", service, "-f", str(file))
    state = json.loads(file.read_text())
    left = [item for item in state["resources"] if item["name"] != "thing_2"]
    file.write_text(json.dumps(state | {"serial": state["serial"] + 1, "resources": left}))
    local.bond("state", "push", service, str(file))
    async with local.client() as bond:
        await approve(local, operation, approved)
        again = await at_the_gate(bond, operation, other_than=approved)
        assert (await bond.services.get(service)).outputs == {"value": "two"}
        assert made.read_text().count("made thing_2") == 1
        await approve(local, operation, again)
        record = await ends(bond, operation)
        assert [gate.status for gate in record.approvals] == ["approved", "approved"]
        assert record.steps[0].plan.digest == again
        assert (await bond.services.get(service)).outputs == {"value": "three"}
    assert made.read_text().count("made thing_2") == 2
