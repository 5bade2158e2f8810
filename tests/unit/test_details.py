"""What Temporal's UI shows of a workflow: words, and links to what it is made of."""

from __future__ import annotations

from datetime import UTC, datetime

from bondstone.base.errors import ErrorInfo
from bondstone.base.printable import asked_by, markdown
from bondstone.model.campaign.run import CampaignDescription, FlightView, Job, TargetRecord
from bondstone.model.campaign.state import TargetOutcome
from bondstone.model.service import (
    OperationKind,
    OperationRecord,
    OperationStatus,
    RevisionRef,
    ServiceId,
    StepRecord,
    StepStatus,
)
from bondstone.workflows import details

AT = datetime(2026, 11, 29, 14, 2, tzinfo=UTC)


def test_a_campaign_links_its_targets_those_that_run_and_those_that_failed():
    flights = (
        FlightView(
            target=1, service="shop/carts", attempt=1, phase="running", operation="shop/carts/op/4", started_at=AT
        ),
        FlightView(target=2, service="shop/orders", attempt=1, phase="submitted", started_at=AT),
        FlightView(target=4, service="shop/a", attempt=1, phase="accepted", awaiting=True, started_at=AT),
        FlightView(target=5, service="shop/b", attempt=1, phase="between", stalled="its turn", started_at=AT),
    )
    failed = TargetRecord(
        target=3, service="shop/mail", outcome=TargetOutcome.FAILED, ended_at=AT, operation_id="shop/mail/op/2",
        error=ErrorInfo(code="TOOL_FAILED", message="no quota | left"),
    )  # fmt: skip
    job = Job(operation=OperationKind.PATCH, promise="queue", to="1.0.1")
    shown = CampaignDescription(name="cve", job=job, targets=3, flights=flights)
    text = details.campaign(shown, [failed], "default")
    assert "| [shop/carts/op/4](/namespaces/default/workflows/service%2Fshop%2Fcarts%2Fop%2F4) | running |" in text
    assert "| [shop/orders](/namespaces/default/workflows/service%2Fshop%2Forders) | submitted |" in text
    assert "workflows/service%2Fshop%2Fmail%2Fop%2F2) | failed | no quota \\| left |" in text
    assert "shop%2Fa) | running | waits for an approval |" in text
    assert "shop%2Fb) | waiting | its turn |" in text
    assert "between" not in text


def test_an_ended_campaign_links_its_failures_then_those_that_ended_last():
    outcomes = [(n, TargetOutcome.FAILED if n in {0, 1} else TargetOutcome.SUCCEEDED) for n in range(20)]
    ended: tuple[TargetRecord, ...] = ()
    for number, outcome in [*outcomes, (1, TargetOutcome.SUCCEEDED)]:  # the second was tried again
        record = TargetRecord(target=number, service=f"shop/s{number}", outcome=outcome, ended_at=AT)
        ended = details.last_targets((*ended, record))
    assert [record.target for record in ended] == [0, 12, 13, 14, 15, 16, 17, 18, 19, 1]
    assert [record.outcome for record in ended][::9] == [TargetOutcome.FAILED, TargetOutcome.SUCCEEDED]


def test_an_operation_says_what_ended_it_also_when_that_was_no_step():
    revision = RevisionRef(promise="queue", version="1.0.0", digest="a" * 64)
    error = ErrorInfo(code="UNHEALTHY", message="health http: no answer")
    record = OperationRecord(
        id="shop/cart/op/1", service=ServiceId(team="shop", name="cart"), number=1, kind=OperationKind.PROVISION,
        status=OperationStatus.FAILED, revision=revision, requested_by="ada", requested_at=AT, request_id="r",
        error=error,
    )  # fmt: skip
    assert details.operation(record).endswith("\nhealth http: no answer")
    step = StepRecord(id="main", executor="terraform", status=StepStatus.FAILED, error=error)
    assert details.operation(record.changed(steps=(step,))).count(error.message) == 1


def test_text_from_outside_cannot_break_a_table_or_make_a_link():
    assert markdown("a | [b](http://x)\n<c>") == "a \\| \\[b\\](http://x) \\<c\\>"
    assert asked_by("ada") == "asked by ada"
    assert asked_by("ada", "for *all*") == "asked by ada: for \\*all\\*"
