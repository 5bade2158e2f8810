"""The workflow `Notification`: tried again until it arrives, failed when the receiver is gone."""

from __future__ import annotations

import uuid

import pytest
from temporalio import activity
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from bondstone.base import names
from bondstone.model.notification import DeliverCall, Delivered, EventSource
from bondstone.temporal.announcing import deliver
from bondstone.workflows import served


class Sender:
    """Stands for the activity that sends.

    Args:
        fails: How often it fails before it arrives.
        gone: Whether the receiver is gone for good.
    """

    def __init__(self, fails: int = 0, *, gone: bool = False) -> None:
        self.fails = fails
        self.gone = gone
        self.calls: list[DeliverCall] = []

    @activity.defn(name=names.NOTIFICATION_DELIVER)
    async def deliver(self, call: DeliverCall) -> Delivered:
        self.calls.append(call)
        if len(self.calls) <= self.fails or self.gone:
            raise ApplicationError("answered 500", non_retryable=self.gone, next_retry_delay=None)
        return Delivered(status=204, words="delivered")


def call() -> DeliverCall:
    source = EventSource(kind="operation", id=f"told/{uuid.uuid4().hex[:8]}/op-1", ledger_key="ledger/x")
    return DeliverCall(subscription="hooks", source=source)


async def outcome(client: Client, sender: Sender, call: DeliverCall) -> Delivered:
    worker = Worker(
        client,
        task_queue=names.CONTROL_QUEUE,
        workflows=served.ALL,
        activities=[sender.deliver],
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    async with worker:
        workflow_id = await deliver(client, call)
        assert await deliver(client, call) == workflow_id  # announced twice, told once
        return await client.get_workflow_handle(workflow_id, result_type=Delivered).result()


async def test_an_event_is_delivered_once_however_often_it_is_announced(temporal):
    sender, told = Sender(), call()
    assert (await outcome(temporal, sender, told)).status == 204
    assert sender.calls == [told]


async def test_a_receiver_that_failed_is_tried_again(temporal):
    sender = Sender(fails=1)
    assert (await outcome(temporal, sender, call())).words == "delivered"
    assert len(sender.calls) == 2


async def test_a_receiver_that_is_gone_fails_the_delivery(temporal):
    sender = Sender(gone=True)
    with pytest.raises(WorkflowFailureError):
        await outcome(temporal, sender, call())
    assert len(sender.calls) == 1
