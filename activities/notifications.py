"""The control activity that sends one message to one receiver."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx2
from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError

from bondstone.activities.failures import speaks_failures
from bondstone.base import names
from bondstone.base.connection_words import connection_words
from bondstone.base.errors import NotFound, ObjectMissing
from bondstone.model.campaign.run import LedgerBatch
from bondstone.model.ledger import LedgerRecord
from bondstone.model.notification import DeliverCall, Delivered, EventSource, cloud_event
from bondstone.model.service import OperationRecord
from bondstone.store import Store
from bondstone.temporal import calls

SEND_SECONDS: Final = 15
MAX_RETRY_AFTER: Final = timedelta(hours=10)
MEDIA_TYPE: Final = "application/cloudevents+json"
_WORDS: Final = 300


class NotificationActivities:
    """Makes events of what is kept, and sends them.

    Args:
        store: Where it is kept.
        client: To ask whether an operation still waits.
        http: Sends; by default a client of its own.
    """

    def __init__(self, store: Store, client: Client, http: httpx2.AsyncClient | None = None) -> None:
        self._store = store
        self._client = client
        self._http = http

    @activity.defn(name=names.NOTIFICATION_DELIVER)
    @speaks_failures
    async def deliver(self, call: DeliverCall) -> Delivered:
        """Send it, signed.

        Raises:
            ApplicationError: the receiver did not take it.
        """
        try:
            subscription = await self._store.notifications.get(call.subscription)
            secret = await self._store.notifications.secret(call.subscription)
        except NotFound:
            return Delivered(words="the subscription was deleted")
        event = await self._event(call.source)
        if event is None:
            return Delivered(words="there is nothing to tell any more")
        body = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
        if self._http is None:
            self._http = httpx2.AsyncClient(timeout=SEND_SECONDS, follow_redirects=False)
        try:
            answer = await self._http.post(
                subscription.url, content=body, headers=signed_headers(secret, call.source.id, body)
            )
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise ApplicationError(
                f"{subscription.url} does not answer: {connection_words(error)}"[:_WORDS],
                type="UNDELIVERED",
            ) from None
        if answer.is_success:
            return Delivered(status=answer.status_code, words="delivered")
        raise ApplicationError(
            f"{subscription.url} answered {answer.status_code}",
            type="UNDELIVERED",
            non_retryable=answer.status_code == httpx2.codes.GONE,
            next_retry_delay=_retry_after(answer),
        )

    async def _event(self, source: EventSource) -> dict[str, Any] | None:
        if source.kind == "test":
            return cloud_event(
                source, subject="test", time=source.at or datetime.now(UTC), data={"by": source.by, "test": True}
            )
        if source.kind == "approval":
            return await self._approval(source)
        try:
            data = await self._store.objects.get(source.ledger_key)
        except ObjectMissing:
            return None
        if source.kind == "campaign":
            return campaign_event(source, LedgerBatch.model_validate_json(data))
        return record_event(source, LedgerRecord.model_validate_json(data))

    async def _approval(self, source: EventSource) -> dict[str, Any] | None:
        """The event of a plan that waits; None when it waits no more."""
        team, name, number = names.parse_operation(source.operation)
        workflow_id = names.operation_workflow_id(team, name, number)
        try:
            record = await calls.query(self._client, workflow_id, OperationRecord)
        except NotFound:
            return None
        return approval_event(source, record)


def signed_headers(secret: bytes, message_id: str, body: bytes, now: datetime | None = None) -> dict[str, str]:
    """The headers of a message, as the Standard Webhooks specification 1.0 says.

    Args:
        secret: The key, without prefix and base64.
        message_id: The same for the same event, however often it is sent.
        body: As it is sent.
        now: The time; default: now.
    """
    timestamp = int((now or datetime.now(UTC)).timestamp())
    signature = hmac.new(secret, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return {
        "content-type": MEDIA_TYPE,
        "user-agent": "bondstone",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{base64.b64encode(signature).decode()}",
    }


def record_event(source: EventSource, record: LedgerRecord) -> dict[str, Any]:
    """The event of an operation that has ended."""
    operation = f"{record.service}/op/{record.operation}"
    revision = record.revision_after or record.revision_before
    return cloud_event(
        source,
        subject=operation,
        time=record.at,
        data={
            "service": str(record.service),
            "team": record.service.team,
            "operation": operation,
            "operation_kind": record.operation_kind,
            "status": record.status,
            "revision": str(revision) if revision else "",
            "by": record.by,
            "reason": record.reason,
            "campaign": record.campaign,
            "dry_run": record.dry_run,
            "drift": record.drift,
            "error": {"code": record.error.code, "message": record.error.message} if record.error else None,
        },
    )


def approval_event(source: EventSource, record: OperationRecord) -> dict[str, Any] | None:
    """The event of a plan that waits for people; None when it waits no more."""
    gate = next((gate for gate in record.approvals if gate.digest == source.digest), None)
    if gate is None or gate.status != "waiting":
        return None
    return cloud_event(
        source,
        subject=record.id,
        time=gate.asked_at,
        data={
            "service": str(record.service),
            "team": record.service.team,
            "operation": record.id,
            "operation_kind": record.kind,
            "step": gate.step,
            "digest": source.digest,
            "needs": [need.model_dump(mode="json") for need in gate.needs],
            "revision": str(record.revision),
            "by": record.requested_by,
            "reason": record.reason,
        },
    )


def campaign_event(source: EventSource, batch: LedgerBatch) -> dict[str, Any] | None:
    """The event of a campaign that has ended."""
    if batch.final is None:
        return None
    final = batch.final.model_dump(mode="json")
    kept = ("status", "counts", "failures", "targets", "requested_by", "reason", "ending", "ended_at")
    return cloud_event(
        source,
        subject=batch.campaign,
        time=source.at or datetime.now(UTC),
        data={"campaign": batch.campaign, **{key: final[key] for key in kept if key in final}},
    )


def _retry_after(answer: httpx2.Response) -> timedelta | None:
    text = answer.headers.get("retry-after", "")
    return min(timedelta(seconds=int(text)), MAX_RETRY_AFTER) if text.isdigit() and int(text) > 0 else None
