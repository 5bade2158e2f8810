"""Telling subscribers: for each of them that wants an event, a workflow that delivers it.

The workflow's id is that of the event, so announcing the same thing again, from wherever, starts nothing.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Final

from temporalio.client import Client
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from bondstone.base import names
from bondstone.base.errors import PolicyDenied
from bondstone.model.ledger import LedgerRecord
from bondstone.model.notification import DeliverCall, EventSource, Kind, Subscription
from bondstone.store.store import Store

FRESH_SECONDS: Final = 2.0
"""How old the list of subscriptions may be."""


class Announcer:
    """Starts deliveries.

    Args:
        store: Where the subscriptions are.
        client: The connection.
    """

    def __init__(self, store: Store, client: Client) -> None:
        self._store = store
        self._client = client
        self._known: tuple[float, list[Subscription]] = (-FRESH_SECONDS, [])

    async def announce(self, source: EventSource | None, team: str) -> None:
        """Start a delivery for each subscription that wants it.

        Args:
            source: The event; None for what is told to nobody.
            team: Whose it is; empty for none.
        """
        if source is None:
            return
        for subscription in await self._subscriptions():
            if subscription.wants(source.kind, team):
                await deliver(self._client, DeliverCall(subscription=subscription.name, source=source))

    async def _subscriptions(self) -> list[Subscription]:
        if time.monotonic() - self._known[0] > FRESH_SECONDS:
            self._known = (time.monotonic(), await self._store.notifications.list())
        return self._known[1]


async def deliver(client: Client, call: DeliverCall, *, again: bool = False) -> str:
    """Start a delivery; the id of its workflow, also when it was started before.

    Args:
        client: The connection.
        call: What to whom.
        again: Also when it has failed before.
    """
    workflow_id = names.notification_workflow_id(call.subscription, call.source.id)
    reuse = WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY if again else WorkflowIDReusePolicy.REJECT_DUPLICATE
    with suppress(WorkflowAlreadyStartedError):
        await client.start_workflow(
            names.NOTIFICATION_WORKFLOW,
            call,
            id=workflow_id,
            task_queue=names.CONTROL_QUEUE,
            id_reuse_policy=reuse,
            static_summary=f"{call.source.kind}: {call.source.id}",
        )
    return workflow_id


def event_of(record: LedgerRecord, key: str) -> EventSource | None:
    """The event that a ledger record is; None for what is told to nobody.

    Args:
        record: As it was written.
        key: Where it is.
    """
    if record.kind != "operation" or record.status is None:
        return None
    kind: Kind = "operation"
    if record.error is not None and record.error.code == PolicyDenied.code:
        kind = "denial"
    elif record.drift:
        kind = "drift"
    return EventSource(kind=kind, id=f"{record.service}/{record.sequence}", ledger_key=key, at=record.at)
