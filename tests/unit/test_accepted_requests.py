"""What a person was attested to ask of one service is no reason to act on another, or to record that it was done.

Each attack takes the attestation of a request that was accepted for another service. All else that is checked
fits: the person, the kind, a revision and inputs that the attacked service has had, a number nobody used.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bondstone.activities.attested import Checks
from bondstone.activities.ledger_checks import check_record
from bondstone.activities.permits import PermitActivities
from bondstone.base.errors import AttestationInvalid, BondError, PermitInvalid
from bondstone.model.attestation import Attestation, acceptance_id, basis_digest
from bondstone.model.ledger import LedgerRecord
from bondstone.model.permit_calls import AcceptedRequest
from bondstone.model.service import (
    OperationInput,
    OperationKind,
    OperationRecord,
    OperationStatus,
    Request,
    Resolved,
    RevisionRef,
    ServiceId,
)
from bondstone.store import Store
from bondstone.store.crypto import KeyRing
from bondstone.store.objects import Objects

MINE = ServiceId(team="payments", name="mine")
OTHER = ServiceId(team="payments", name="other")
NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
REVISION = RevisionRef(promise="queue", version="1.0.0", digest="a" * 64)
ATTESTATION = Attestation(
    subject="ada", means="oidc", verb="service.reconcile", target=str(MINE), arguments="b" * 64, issued_at=NOON,
    expires_at=NOON + timedelta(minutes=5), nonce="n" * 20,
)  # fmt: skip
REQUEST = Request(
    request_id="r", kind=OperationKind.RECONCILE, repair=True, requested_by="ada", attestation=ATTESTATION
)


@pytest.fixture
async def store(tmp_path) -> Store:
    """One in which the request was accepted for `MINE`, and both services have had the revision."""
    store = Store(await Objects.open(f"file://{tmp_path}"), KeyRing.generate())
    key = acceptance_id(ATTESTATION, REQUEST.request_id)
    await store.vouched.accept(key, AcceptedRequest(service=MINE, request=REQUEST))
    for service in (MINE, OTHER):
        await store.vouched.add(service, "basis", basis_digest(REVISION.digest, {}))
    return store


def permits(store: Store) -> PermitActivities:
    nothing: Any = None
    return PermitActivities(store, Checks(store, demanded=True), None, nothing)


async def permitted(store: Store, service: ServiceId) -> None:
    """An operation asks for its permit."""
    record = OperationRecord(
        service=service, number=7, kind=OperationKind.RECONCILE, revision=REVISION, request_id="r",
        requested_by="ada", requested_at=NOON,
    )  # fmt: skip
    operation = OperationInput(
        record=record, resolved=Resolved(revision=REVISION), repair=True, attestation=ATTESTATION
    )
    await permits(store)._request_of(operation)


async def retried(store: Store, service: ServiceId) -> None:
    """A service is asked to run the request again."""
    await permits(store)._insist_accepted(service, REQUEST)


async def recorded(store: Store, service: ServiceId) -> None:
    """A service records that the operation was carried out."""
    record = LedgerRecord(
        kind="operation", service=service, sequence="op-7", at=NOON, by="ada", operation=7,
        operation_kind=OperationKind.RECONCILE, status=OperationStatus.SUCCEEDED, revision_after=REVISION,
        call={"request_id": "r"}, attestation=ATTESTATION,
    )  # fmt: skip
    await check_record(store, Checks(store, demanded=True), record)


@pytest.mark.parametrize(
    ("act", "refusal"),
    [(permitted, PermitInvalid), (retried, AttestationInvalid), (recorded, AttestationInvalid)],
    ids=lambda each: getattr(each, "__name__", ""),
)
async def test_a_request_that_was_accepted_is_good_for_its_own_service_alone(
    store: Store, act: Any, refusal: type[BondError]
) -> None:
    with pytest.raises(refusal, match="accepted"):
        await act(store, OTHER)
    await act(store, MINE)
