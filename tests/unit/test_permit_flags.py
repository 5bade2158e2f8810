"""An operation is permitted only as it was requested: each of its flags is compared with the accepted request."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bondstone.activities.permits import OWN, PermitActivities, _flags, _flags_of_request
from bondstone.base.errors import PermitInvalid
from bondstone.model.permit_calls import AcceptedRequest
from bondstone.model.service import (
    DayTwo,
    OperationInput,
    OperationKind,
    OperationRecord,
    Request,
    Resolved,
    RevisionRef,
    ServiceId,
)

SERVICE = ServiceId(team="house", name="one")
REVISION = RevisionRef(promise="tree", version="1.0.0", digest="a" * 64)
REQUEST = Request(request_id="r", kind=OperationKind.RECONCILE, requested_by="ada")


def an_operation(*, by: str = "ada", **fields: Any) -> OperationInput:
    """The reconcile that `REQUEST` leads to, or another."""
    record = OperationRecord(
        service=SERVICE, number=2, kind=OperationKind.RECONCILE, revision=REVISION, request_id="r",
        requested_by=by, requested_at=datetime(2026, 1, 31, 12, tzinfo=UTC),
    )  # fmt: skip
    stands = Resolved(revision=REVISION, day_two=DayTwo(reconcile_seconds=60))
    return OperationInput(record=record, resolved=stands, **fields)


def test_an_operation_has_the_flags_of_its_request() -> None:
    request = REQUEST.changed(with_parts=True, repair=True)
    operation = an_operation(with_parts=True, repair=True)
    assert _flags(operation) == _flags_of_request(AcceptedRequest(service=SERVICE, request=request))


@pytest.mark.parametrize(
    "changed",
    [{"with_parts": True}, {"repair": True}, {"recheck": True}, {"ask": True}, {"adopt": {"x": "y"}},
     {"on_failure": "destroy"}],
    ids=lambda changed: next(iter(changed)),
)  # fmt: skip
def test_an_operation_that_says_more_than_its_request_is_another_one(changed: dict[str, Any]) -> None:
    requested = _flags_of_request(AcceptedRequest(service=SERVICE, request=REQUEST))
    assert _flags(an_operation()) == requested
    assert _flags(an_operation(**changed)) != requested


@pytest.mark.parametrize(("with_parts", "permitted"), [(False, True), (True, False)])
async def test_the_drift_check_that_a_service_makes_by_itself_leaves_its_parts_alone(
    *, with_parts: bool, permitted: bool
) -> None:
    async def stands_on(*_: object) -> bool:
        return True

    nothing: Any = None
    checks = cast("Any", SimpleNamespace(stands_on=stands_on))
    permits = PermitActivities(nothing, checks, None, nothing)
    check = permits._insist_own(an_operation(by=OWN, with_parts=with_parts))
    if permitted:
        await check
    else:
        with pytest.raises(PermitInvalid, match="no attestation"):
            await check
