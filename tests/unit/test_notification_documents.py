"""What is told, to whom, and how it is signed."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest

from bondstone.activities.notifications import approval_event, record_event, signed_headers
from bondstone.base.errors import ErrorInfo
from bondstone.model.ledger import LedgerRecord
from bondstone.model.notification import EventSource, Subscription
from bondstone.model.service import Approval, OperationRecord, RevisionRef, ServiceId
from bondstone.temporal.announcing import event_of

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
SERVICE = ServiceId(team="payments", name="orders")


def record(**more: object) -> LedgerRecord:
    fields = {
        "kind": "operation", "service": SERVICE, "sequence": "op-7", "at": NOW, "by": "ada", "operation": 7,
        "operation_kind": "update", "status": "succeeded",
    }  # fmt: skip
    return LedgerRecord.model_validate({**fields, **more})


def test_a_message_is_signed_as_the_specification_has_it():
    """The example of the Standard Webhooks specification."""
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signed_headers(
        secret,
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        b'{"test": 2432232314}',
        datetime.fromtimestamp(1614265330, UTC),
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert headers["webhook-timestamp"] == "1614265330"
    assert headers["content-type"] == "application/cloudevents+json"


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({}, "operation"),
        ({"drift": 2, "operation_kind": "reconcile"}, "drift"),
        ({"status": "failed", "error": ErrorInfo(code="POLICY_DENIED", message="no public buckets")}, "denial"),
        ({"status": "failed", "error": ErrorInfo(code="TOOL_FAILED", message="exit 1")}, "operation"),
    ],
)
def test_what_an_operation_that_ended_is_told_as(more, kind):
    source = event_of(record(**more), "ledger/key")
    assert source is not None
    assert (source.kind, source.id) == (kind, "payments/orders/op-7")
    event = record_event(source, record(**more))
    assert {"specversion", "id", "source", "type", "subject", "time", "data"} <= set(event)
    assert event["type"] == f"dev.bondstone.{kind}"
    assert event["subject"] == "payments/orders/op/7"


def test_what_is_told_has_no_inputs():
    secret = {"password": {"$secret": "secrets/payments/orders/inputs/x"}, "note": "private"}
    source = EventSource(kind="operation", id="x")
    assert "private" not in json.dumps(record_event(source, record(inputs_after=secret)))


@pytest.mark.parametrize("kind", ["approval", "pause", "labels", "state"])
def test_other_records_are_told_to_nobody(kind):
    assert event_of(record(kind=kind), "key") is None


def test_a_subscription_gets_its_kinds_and_its_teams():
    one = Subscription(name="dba", url="https://x", kinds=("approval",), teams=("payments",), created_by="ada",
                       created_at=NOW)  # fmt: skip
    assert one.wants("approval", "payments")
    assert not one.wants("operation", "payments")
    assert not one.wants("approval", "search")
    assert one.wants("test", "")
    assert one.changed(kinds=(), teams=()).wants("campaign", "")


@pytest.mark.parametrize(("status", "told"), [("waiting", True), ("approved", False), ("expired", False)])
def test_a_plan_that_waits_no_more_is_not_told(status, told):
    gate = Approval(step="database", digest="sha256:" + "a" * 64, needs=(), status=status, asked_at=NOW)
    operation = OperationRecord.model_validate(
        {
            "service": SERVICE, "number": 7, "kind": "update", "status": "awaiting-approval", "approvals": (gate,),
            "revision": RevisionRef(promise="queue", version="1.0.0", digest="0" * 64), "requested_by": "ada",
            "requested_at": NOW, "request_id": "r-1",
        }
    )  # fmt: skip
    source = EventSource(kind="approval", id="x", operation=operation.id, digest=gate.digest)
    event = approval_event(source, operation)
    assert (event is not None) == told
