"""What a service answers to a campaign, from its state alone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from bondstone.base.errors import ErrorInfo
from bondstone.model.campaign.events import AttemptAccepted, AttemptDeclined, AttemptFinished
from bondstone.model.campaign.run import SubmitCall, WithdrawCall
from bondstone.model.service import (
    OperationKind,
    OperationRecord,
    OperationStatus,
    PendingOperation,
    Request,
    Resolved,
    RevisionRef,
    ServiceId,
    ServiceState,
)
from bondstone.workflows import submitted

NOW = datetime(2026, 11, 24, tzinfo=UTC)
SERVICE = ServiceId(team="payments", name="db")


def at(version: str, **inputs: Any) -> Resolved:
    return Resolved(revision=RevisionRef(promise="postgres", version=version, digest="d" * 64), inputs=inputs)


OLD, NEW = at("1.0.0"), at("1.0.1")


def record(number: int, **fields: Any) -> OperationRecord:
    known = {
        "service": SERVICE,
        "number": number,
        "kind": OperationKind.PATCH,
        "status": OperationStatus.SUCCEEDED,
        "revision": NEW.revision,
        "request_id": f"campaign/c/0/{number}",
        "requested_by": "ada",
        "requested_at": NOW,
        "campaign": "c",
    }
    return OperationRecord.model_validate(known | fields)


def pending(number: int, resolved: Resolved = NEW, **fields: Any) -> PendingOperation:
    request = Request(request_id=f"campaign/c/0/{number}", kind=OperationKind.PATCH, version="1.0.1")
    return PendingOperation(record=record(number, **fields), resolved=resolved, request=request)


def state(**fields: Any) -> ServiceState:
    return ServiceState(service=SERVICE, resolved=OLD, healthy=(OLD,)).changed(**fields)


def call(attempt: int = 1, *, undoes: str = "", **request: Any) -> SubmitCall:
    inputs = {"request_id": f"campaign/c/0/{attempt}", "kind": OperationKind.PATCH, "version": "1.0.1"} | request
    return SubmitCall(
        campaign="c",
        target=0,
        attempt=attempt,
        request=Request.model_validate(inputs),
        reply_to="campaign/c",
        undoes=undoes,
    )


def test_what_nothing_speaks_against_is_taken_on_in_the_campaigns_name() -> None:
    answer = submitted.answer(state(), call())
    assert isinstance(answer, Request)
    assert (answer.campaign, answer.version, answer.retry) == ("c", "1.0.1", False)


def test_a_busy_service_says_with_what() -> None:
    answer = submitted.answer(state(queue=(pending(3, requested_by="bob"),)), call(9))
    assert isinstance(answer, AttemptDeclined)
    assert (answer.why, answer.reason) == ("busy", "its patch payments/db/op/3 has not ended")


def test_a_service_that_is_leaving_is_left_alone() -> None:
    answer = submitted.answer(state(queue=(pending(3, kind=OperationKind.DECOMMISSION),)), call())
    assert isinstance(answer, AttemptDeclined)
    assert answer.why == "skipped"


@pytest.mark.parametrize(
    ("stands", "healthy", "complies"),
    [(NEW, (OLD, NEW), True), (NEW, (OLD,), False), (OLD, (OLD,), False), (NEW, (), False)],
)
def test_only_what_stands_in_health_on_the_goal_complies(
    stands: Resolved, healthy: tuple[Resolved, ...], *, complies: bool
) -> None:
    answer = submitted.answer(state(resolved=stands, healthy=healthy), call())
    assert (isinstance(answer, AttemptDeclined) and answer.reason == "compliant") is complies


def test_an_attempt_that_got_half_way_is_gone_on_with() -> None:
    answer = submitted.answer(state(resolved=NEW, retryable=pending(1)), call(2))
    assert isinstance(answer, Request)
    assert (answer.retry, answer.version, answer.promise) == (True, "", "")


def test_an_attempt_that_changed_nothing_is_begun_anew() -> None:
    answer = submitted.answer(state(retryable=pending(1)), call(2))
    assert isinstance(answer, Request)
    assert not answer.retry


def test_what_a_person_has_left_half_way_is_not_gone_on_with() -> None:
    answer = submitted.answer(state(resolved=NEW, retryable=pending(1, campaign="")), call(2))
    assert isinstance(answer, Request)
    assert not answer.retry


def test_the_same_submission_is_answered_with_what_is_known_of_it() -> None:
    taken = submitted.taken(state(), call(), 7)
    assert submitted.answer(taken, call()) == AttemptAccepted(target=0, attempt=1, operation=7)
    error = ErrorInfo(code="X", message="no")
    ended, known = submitted.closed(taken, record(7, status=OperationStatus.FAILED, error=error))
    assert known is not None
    again = submitted.answer(ended, call())
    assert isinstance(again, AttemptFinished)
    assert (again.status, again.error, again.operation) == ("failed", error, 7)
    assert again.evidence["operation_id"] == "payments/db/op/7"


def test_an_operation_of_nobodys_campaign_ends_without_a_word() -> None:
    assert submitted.closed(state(), record(7)) == (state(), None)


def test_what_is_withdrawn_before_it_comes_is_never_begun() -> None:
    withdrawn = submitted.withdrawn(
        state(), WithdrawCall(request_id="campaign/c/0/1", target=0, attempt=1, reply_to="campaign/c")
    )
    answer = submitted.answer(withdrawn, call())
    assert isinstance(answer, AttemptFinished)
    assert answer.status is OperationStatus.CANCELLED


def test_what_is_remembered_is_bounded_and_never_forgets_what_runs() -> None:
    result = submitted.taken(state(), call(1), 1)
    for number in range(2, 100):
        result = submitted.taken(result, call(number), number)
        result, _ = submitted.closed(result, record(number))
    assert len(result.submissions) == submitted.MAX_ENDED + 1
    assert submitted.answer(result, call(1)) == AttemptAccepted(target=0, attempt=1, operation=1)


UNDOES = "campaign/c/0/"


def undo(service_state: ServiceState) -> AttemptAccepted | AttemptDeclined | AttemptFinished | Request:
    return submitted.answer(service_state, call(5, undoes=UNDOES, kind=OperationKind.ROLLBACK, version=""))


def test_what_the_campaign_changed_last_is_rolled_back() -> None:
    answer = undo(state(resolved=NEW, operations=(record(1),)))
    assert isinstance(answer, Request)
    assert answer.kind is OperationKind.ROLLBACK


def test_a_look_for_drift_and_a_dry_run_change_nothing() -> None:
    later = (
        record(2, kind=OperationKind.RECONCILE, request_id="reconcile-2"),
        record(3, dry_run=True, request_id="r"),
    )
    assert isinstance(undo(state(resolved=NEW, operations=(record(1), *later))), Request)


def test_what_others_changed_since_is_not_rolled_back() -> None:
    answer = undo(state(resolved=NEW, operations=(record(1), record(2, request_id="mine", requested_by="bob"))))
    assert isinstance(answer, AttemptDeclined)
    assert (answer.why, answer.reason) == ("refused", "it was changed since by bob: payments/db/op/2")


def test_a_change_that_is_long_ago_is_known_by_its_request() -> None:
    assert isinstance(undo(state(resolved=NEW, seen_requests={"campaign/c/0/1": 1})), Request)
    answer = undo(state(resolved=NEW, seen_requests={"campaign/c/0/1": 1, "mine": 2}))
    assert isinstance(answer, AttemptDeclined)


@pytest.mark.parametrize(
    "service_state",
    [
        state(operations=(record(1, status=OperationStatus.ROLLED_BACK),)),
        state(operations=(record(1, status=OperationStatus.FAILED),), retryable=pending(1)),
        state(operations=(record(1), record(2, kind=OperationKind.ROLLBACK))),
    ],
    ids=["rolled back by itself", "never moved", "rolled back before"],
)
def test_what_is_back_already_is_not_taken_further_back(service_state: ServiceState) -> None:
    answer = undo(service_state)
    assert isinstance(answer, AttemptFinished)
    assert answer.status is OperationStatus.SUCCEEDED, "else it counts as a failure of a campaign that rolls back"


def test_a_failure_that_moved_it_is_rolled_back() -> None:
    result = state(resolved=NEW, operations=(record(1, status=OperationStatus.FAILED),), retryable=pending(1))
    assert isinstance(undo(result), Request)
