"""What an operation does now, and why it tries something again."""

from __future__ import annotations

from fakes import Caller, FakePlatform, raising, serving
from temporalio.client import Client

from bondstone.base.errors import ToolUnavailable
from bondstone.base.names import operation_workflow_id
from bondstone.temporal.pending import Pending, Retrying, pending
from harness.waiting import until_async


async def test_what_is_tried_again_is_said_with_the_reason(temporal: Client) -> None:
    away = ToolUnavailable(
        "the API server does not answer", where="https://10.0.0.1", hint="it will be tried again"
    )
    platform = FakePlatform(scripts={"plan main": [raising(away)] * 2})
    async with serving(temporal, platform):
        caller = Caller(temporal)
        await caller.request()
        operation = operation_workflow_id("payments", caller.service.name, 1)

        async def tried_again() -> tuple[Retrying, ...]:
            return (await pending(temporal, operation)).retrying

        retrying = await until_async(tried_again, "the plan is tried again")
        record = await caller.ended(1)
        later = await pending(temporal, operation)
    [tried] = retrying
    # Seen while it waits for the next attempt, or during it.
    assert tried == Retrying("fake.plan", tried.attempt, 30, away.info(), tried.next_at)
    assert tried.attempt >= 2
    assert (record.status, later) == ("succeeded", Pending())


async def test_of_an_operation_that_is_not_there_nothing_is_tried_again(temporal: Client) -> None:
    assert await pending(temporal, "service/payments/nowhere/op/1") == Pending()
