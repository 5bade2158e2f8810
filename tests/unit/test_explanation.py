"""Why something stands where it stands: one sentence, the same for the command and the console."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from bondstone.base.errors import ErrorInfo
from bondstone.client.documents.campaign import (
    CampaignDocument,
    HoldingFreeze,
    PausedDocument,
    WaveDocument,
)
from bondstone.client.documents.service import OperationDocument, ProgressDocument, RetryDocument, ServiceDocument
from bondstone.client.documents.step import ApprovalDocument, StepDocument
from bondstone.client.explanation import ReadingTime, explain_campaign, explain_operation, explain_service
from bondstone.model.campaign.state import CampaignStatus
from bondstone.model.service import Health, OperationKind, OperationStatus, Phase, StepStatus

AT = datetime(2026, 11, 29, 14, 2, tzinfo=UTC)
LATE = datetime(2026, 11, 29, 23, 40, tzinfo=UTC)
CLOCK = ReadingTime(now=AT + timedelta(minutes=1))
FAILED = ErrorInfo(code="TOOL_FAILED", message="the backend answered 503\nand a stack")


def operation(status: OperationStatus, **fields) -> OperationDocument:
    known = {
        "id": "payments/orders/op/7",
        "service": "payments/orders",
        "kind": OperationKind.UPDATE,
        "revision": "sqlite-database@1.4.0",
        "requested_by": "ada",
        "requested_at": AT,
        "started_at": AT,
    }
    return OperationDocument(status=status, **{**known, **fields})


def service(*operations: OperationDocument, **fields) -> ServiceDocument:
    known = {
        "id": "payments/orders",
        "team": "payments",
        "name": "orders",
        "promise": "sqlite-database",
        "revision": "sqlite-database@1.4.0",
        "phase": Phase.READY,
        "health": Health.HEALTHY,
        "labels": {},
        "inputs": {},
        "outputs": {},
        "links": {},
    }
    return ServiceDocument(operations=operations, **{**known, **fields})


def campaign(**fields) -> CampaignDocument:
    wave = WaveDocument(
        name="rest", status="running", targets=3, succeeded=0, failed=0, running=2, waiting=1, counts={}
    )
    known = {
        "name": "cve",
        "status": CampaignStatus.RUNNING,
        "requested_by": "dana",
        "targets": 3,
        "wave": "rest",
        "targets_digest": "c" * 64,
        "max_concurrent": 2,
        "counts": {"succeeded": 2, "failed": 1},
        "waves": (wave,),
        "running": 2,
        "flights": (),
        "failures": (),
        "failed": 0,
        "awaits": (),
        "skipped": {},
    }
    return CampaignDocument(**{**known, **fields})


def gate(**fields) -> ApprovalDocument:
    known = {
        "operation": "payments/orders/op/7",
        "step": "database",
        "digest": "a" * 64,
        "status": "waiting",
        "kind": "update",
        "revision": "x@1",
        "requested_by": "ada",
        "asked_at": AT,
        "needs": (),
        "missing": ("1 of dba",),
    }
    return ApprovalDocument(**{**known, **fields})


def test_an_operation_at_its_gate_names_the_step_the_people_and_since_when():
    waiting = operation(OperationStatus.AWAITING_APPROVAL, approvals=(gate(), gate(status="approved", step="x")))
    assert explain_operation(waiting, CLOCK) == (
        "waits for approval of step database by one of dba, since 14:02 UTC"
    )
    late = operation(OperationStatus.AWAITING_APPROVAL, approvals=(gate(expires_at=AT + timedelta(days=1)),))
    assert explain_operation(late, CLOCK).endswith("since 14:02 UTC, until 2026-11-30 14:02 UTC")


@pytest.mark.parametrize(
    ("missing", "people"),
    [
        (("1 of dba or sre",), "one of dba or sre"),
        (("11 of dba", "1 of sre"), "11 of dba and one of sre"),
        (("1 of anybody",), "anybody"),
        (("1 of anybody but ada",), "anybody but ada"),
        ((), "nobody"),
    ],
)
def test_a_gate_says_who_may_open_it(missing, people):
    waiting = operation(OperationStatus.AWAITING_APPROVAL, approvals=(gate(missing=missing),))
    assert explain_operation(waiting, CLOCK) == f"waits for approval of step database by {people}, since 14:02 UTC"


def test_an_operation_that_tries_again_says_what_when_and_why():
    retry = RetryDocument(
        activity="terraform.plan", attempt=4, at_most=0, error=FAILED, next_at=AT + timedelta(minutes=5)
    )
    running = operation(OperationStatus.RUNNING, retrying=(retry,))
    assert explain_operation(running, CLOCK) == (
        "retries terraform.plan, attempt 4, next at 14:07 UTC, because the backend answered 503"
    )
    now = running.changed(retrying=(retry.changed(next_at=None, at_most=10),))
    assert "attempt 4 of 10, which runs now, because" in explain_operation(now, CLOCK)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (operation(OperationStatus.QUEUED), "is queued since 14:02 UTC"),
        (
            operation(
                OperationStatus.RUNNING,
                steps=(StepDocument(id="db", executor="terraform", status=StepStatus.APPLYING, started_at=AT),),
            ),
            "applies step db since 14:02 UTC",
        ),
        (
            operation(
                OperationStatus.RUNNING,
                steps=(StepDocument(id="web", executor="helm", status=StepStatus.APPLYING, started_at=AT),),
                progress=(
                    ProgressDocument(
                        activity="helm.apply", done=2, total=5, waits_for="Deployment/web: 0 of 1 pods ready"
                    ),
                ),
            ),
            "applies step web since 14:02 UTC: 2 of 5, Deployment/web: 0 of 1 pods ready",
        ),
        (
            operation(
                OperationStatus.RUNNING,
                steps=(StepDocument(id="db", executor="terraform", status=StepStatus.SUCCEEDED),),
                progress=(
                    ProgressDocument(
                        activity="health.probe",
                        about="http http://10.0.0.7/health",
                        waits_for="answers 503",
                        since=AT + timedelta(seconds=61),
                    ),
                ),
            ),
            "waits for its health since 14:03 UTC: http http://10.0.0.7/health: answers 503",
        ),
        (
            operation(
                OperationStatus.RUNNING,
                steps=(StepDocument(id="db", executor="terraform", status=StepStatus.SUCCEEDED),),
            ),
            "checks outputs and health since 14:02 UTC",
        ),
        (operation(OperationStatus.SUCCEEDED, finished_at=AT), "succeeded at 14:02 UTC"),
        (
            operation(
                OperationStatus.FAILED,
                error=FAILED,
                steps=(StepDocument(id="db", executor="terraform", status=StepStatus.FAILED),),
            ),
            "failed at step db: the backend answered 503",
        ),
        (operation(OperationStatus.REJECTED), "was rejected"),
        (operation(OperationStatus.ROLLED_BACK, error=FAILED), "was rolled back: the backend answered 503"),
    ],
)
def test_an_operation_in_each_status(document, words):
    assert explain_operation(document, CLOCK) == words


def test_a_service_says_what_its_running_operation_does():
    waiting = operation(OperationStatus.AWAITING_APPROVAL, approvals=(gate(),))
    queued = operation(OperationStatus.QUEUED, id="payments/orders/op/8")
    assert explain_service(service(queued, waiting, phase=Phase.AWAITING_APPROVAL), CLOCK) == (
        "update op/7 waits for approval of step database by one of dba, since 14:02 UTC"
    )


def test_a_service_at_rest_says_since_when_who_paused_it_and_what_differs():
    done = operation(OperationStatus.SUCCEEDED, finished_at=AT)
    assert explain_service(service(done), CLOCK) == "is ready since 14:02 UTC"
    paused = service(done, paused_by="ada", paused_at=AT, pause_reason="moving", drift=2)
    assert explain_service(paused, CLOCK) == (
        "is ready since 14:02 UTC; paused by ada since 14:02 UTC: moving; 2 objects differ from what was applied"
    )
    failed = service(operation(OperationStatus.FAILED, error=FAILED), phase=Phase.FAILED)
    assert explain_service(failed, CLOCK) == "is failed: update op/7 failed: the backend answered 503"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "runs 2 targets of wave rest"),
        ({"waves": ()}, "chooses its targets"),
        ({"awaiting": 1}, "runs 2 targets of wave rest, 1 of which wait for approval of their plans"),
        (
            {"freezes": (HoldingFreeze(name="audit", team="", ends_at=LATE),)},
            "waits: freeze `audit` until 23:40 UTC",
        ),
        (
            {"status": CampaignStatus.WAITING_WINDOW, "opens_at": AT + timedelta(hours=1)},
            "waits for its window to open at 15:02 UTC",
        ),
        (
            {"paused": PausedDocument(cause="verb", by="eve", reason="lunch", at=AT)},
            "is paused by eve since 14:02 UTC: lunch",
        ),
        (
            {"paused": PausedDocument(cause="budget", at=AT), "budget": "2 failures, 1 allowed"},
            "is paused since 14:02 UTC: 2 failures, 1 allowed",
        ),
        (
            {"status": CampaignStatus.ABORTING, "ending": "aborted: lunch"},
            "is aborted; 2 targets still under way: aborted: lunch",
        ),
        ({"status": CampaignStatus.ROLLING_BACK, "running": 1}, "rolls back 1 target"),
        (
            {"status": CampaignStatus.COMPLETED, "ended_at": AT},
            "ended completed at 14:02 UTC: 2 succeeded, 1 failed",
        ),
        (
            {
                "status": CampaignStatus.ABORTED, "ended_at": AT, "counts": {"not-attempted": 3},
                "ending": "aborted: nobody decided the gate of wave rest in time",
            },
            "ended aborted at 14:02 UTC: 3 not-attempted; nobody decided the gate of wave rest in time",
        ),
    ],
)  # fmt: skip
def test_a_campaign_in_each_state(fields, words):
    assert explain_campaign(campaign(**fields), CLOCK) == words


def test_what_only_people_can_change_is_said_before_what_time_changes():
    held = campaign(
        paused=PausedDocument(cause="verb", by="eve", at=AT),
        freezes=(HoldingFreeze(name="f", team="", ends_at=None),),
    )
    assert explain_campaign(held, CLOCK).startswith("is paused by eve")


def test_times_are_those_of_the_reader():
    clock = ReadingTime(now=AT, zone=ZoneInfo("Europe/Berlin"))
    assert clock.words(AT) == "15:02"
    assert clock.words(AT + timedelta(days=2)) == "2026-12-01 15:02"
