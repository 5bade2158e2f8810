"""With `payloads_require_sealed`: the platform works, and nothing that was sealed for one workflow serves another.

The attacker has Temporal's address and no key. It reads sealed payloads in histories and sends them to others.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from platforms import PROMISES, LocalPlatform, running, until
from temporalio.api.common.v1 import Payload
from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.converter import DataConverter, DefaultPayloadConverter, EncodingPayloadConverter
from temporalio.service import RPCError

from bondstone.base import names
from bondstone.temporal.payloads import ENCODING

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

STRATEGY = """
apiVersion: bondstone.dev/v1
kind: Strategy
metadata: {name: look, reason: to look for drift}
spec: {operation: reconcile, promise: patient, select: {include: [seal/one]}, waves: [{name: all, rest: true}]}
"""


class AsItIs(EncodingPayloadConverter):
    """Sends a payload as the attacker found it."""

    encoding = ENCODING.decode()

    def to_payload(self, value):
        return value if isinstance(value, Payload) else None

    def from_payload(self, payload, type_hint=None):
        return payload, type_hint


class Replaying(DefaultPayloadConverter):
    """Knows no key."""

    def __init__(self) -> None:
        super().__init__()
        self.converters = {AsItIs.encoding.encode(): AsItIs(), **self.converters}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPlatform]:
    data = tmp_path_factory.mktemp("sealed") / "data"
    sealed = {"BOND_PAYLOAD_KEYS": str(data / "payload-keys.json"), "BOND_PAYLOADS_REQUIRE_SEALED": "true"}
    with running(data, sealed) as local:
        local.bond("promise", "publish", str(PROMISES / "patient"))
        for name in ("one", "two"):
            local.bond(
                "service", "request", "patient", f"seal/{name}", "--set", "seconds=0", "--wait", seconds=120
            )
        yield local


@pytest.fixture
async def attacker(platform: LocalPlatform) -> Client:
    converter = replace(DataConverter.default, payload_converter_class=Replaying)
    return await Client.connect(platform.settings.temporal_address, data_converter=converter)


async def updates_of(client: Client, service: str) -> list[Payload]:
    """The arguments of the requests that a service was sent, as its history holds them."""
    history = await client.get_workflow_handle(names.service_workflow_id(*service.split("/"))).fetch_history()
    collected = []
    for event in history.events:
        accepted = event.workflow_execution_update_accepted_event_attributes.accepted_request.input
        collected += [*accepted.args.payloads, *event.workflow_execution_started_event_attributes.input.payloads]
    return collected


def test_services_campaigns_and_schedules_work(platform: LocalPlatform, tmp_path: Path) -> None:
    platform.bond("service", "update", "seal/one", "--set", "size=medium", "--wait", seconds=120)
    strategy = tmp_path / "look.yaml"
    strategy.write_text(STRATEGY)
    platform.bond("schedule", "create", "look", "-f", str(strategy), "--cron", "0 1 * * *", "--paused")
    campaign = platform.bond("schedule", "trigger", "look", "-o", "jsonpath={.campaign}").stdout.strip()
    assert campaign
    platform.bond("campaign", "wait", campaign, seconds=120)
    assert "medium" in platform.bond("service", "show", "seal/one", "-o", "json").stdout


async def test_no_history_has_a_plain_payload(platform: LocalPlatform, attacker: Client) -> None:
    for service in ("seal/one", "seal/two"):
        payloads = await updates_of(attacker, service)
        assert payloads
        assert {payload.metadata["encoding"] for payload in payloads} == {ENCODING}


async def test_a_sealed_request_replayed_to_another_service_is_rejected(
    platform: LocalPlatform, attacker: Client
) -> None:
    await asyncio.to_thread(platform.bond, "service", "update", "seal/one", "--set", "size=small", "--wait")
    [state] = (await updates_of(attacker, "seal/one"))[:1]
    other = attacker.get_workflow_handle(names.service_workflow_id("seal", "two"))
    for update in (names.UPDATE_REQUEST_OPERATION, names.UPDATE_PAUSE, names.UPDATE_SET_LABELS):
        with pytest.raises(WorkflowUpdateFailedError):
            await other.execute_update(update, state)
    assert [each.kind async for each in kept(platform, "seal/two")] == ["operation"]


async def kept(platform: LocalPlatform, service: str):
    """The ledger of a service."""
    async with platform.client() as bond:
        for record in await bond.services.history(service):
            yield record


async def test_plain_signals_and_updates_are_refused_and_the_service_lives_on(
    platform: LocalPlatform, attacker: Client
) -> None:
    other = attacker.get_workflow_handle(names.service_workflow_id("seal", "two"))
    await other.signal("record", {"anything": True})
    with pytest.raises((WorkflowUpdateFailedError, RPCError)):
        await other.execute_update(names.UPDATE_REQUEST_OPERATION, {"kind": "update", "inputs": {"size": "large"}})
    await until(lambda: "dropping the signal" in platform.log("control"), seconds=60)
    shown = await asyncio.to_thread(
        platform.bond, "service", "update", "seal/two", "--set", "size=medium", "--wait", seconds=120
    )
    assert "succeeded" in shown.stdout


async def test_a_service_that_is_started_with_what_was_sealed_for_another_never_runs(
    platform: LocalPlatform, attacker: Client
) -> None:
    [state] = (await updates_of(attacker, "seal/one"))[:1]
    name = f"forged-{uuid.uuid4().hex[:6]}"
    handle = await attacker.start_workflow(
        "Service", state, id=names.service_workflow_id("seal", name), task_queue=names.CONTROL_QUEUE
    )
    try:
        await until(lambda: name in platform.log("control"), seconds=60)
        events = [event.event_type async for event in handle.fetch_history_events()]
        assert all("ACTIVITY" not in str(event) for event in events)
    finally:
        await handle.terminate()
