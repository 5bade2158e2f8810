"""What programs read keeps its shape, and no secret is in it."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import jsonschema_rs
import pytest

from bondstone.base.errors import ErrorInfo
from bondstone.base.settings import Settings
from bondstone.client.documents.service import (
    MASK,
    OperationDocument,
    RecordDocument,
    ServiceDocument,
)
from bondstone.client.documents.step import PlanDocument
from bondstone.model.ledger import LedgerRecord
from bondstone.model.plan import Change, ChangeCounts, Decision, Finding, PlanRef
from bondstone.model.service import (
    OperationKind,
    OperationRecord,
    OperationStatus,
    PendingOperation,
    Phase,
    Resolved,
    RevisionRef,
    ServiceId,
    ServiceState,
    StepRecord,
    StepStatus,
)
from bondstone.terminal.output import plain
from tools import schemas

AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
SERVICE = ServiceId(team="payments", name="orders-db")
REVISION = RevisionRef(promise="postgres", version="1.4.0", digest="ab")
SECRET = {"$secret": "secrets/payments/orders-db/x"}
PLAN = PlanRef(digest="d" * 64, key="plans/x", counts=ChangeCounts(create=2), tool="terraform 1.15.5")
STEP = StepRecord(
    id="database",
    executor="terraform",
    status=StepStatus.SUCCEEDED,
    plan=PLAN,
    changes=PLAN.counts,
    decision=Decision(outcome="allow", findings=(Finding(level="warn", message="big", policy="main.warn"),)),
    started_at=AT,
)


def record(number: int, status: OperationStatus = OperationStatus.SUCCEEDED, **fields) -> OperationRecord:
    return OperationRecord(
        service=SERVICE,
        number=number,
        kind=OperationKind.PROVISION,
        status=status,
        revision=REVISION,
        request_id="r",
        requested_by="ada",
        requested_at=AT,
        **fields,
    )


def state() -> ServiceState:
    resolved = Resolved(revision=REVISION, inputs={"size": "small", "auth": {"password": SECRET}})
    waiting = PendingOperation(record=record(3, OperationStatus.RUNNING), resolved=resolved)
    return ServiceState(
        service=SERVICE,
        phase=Phase.READY,
        resolved=resolved,
        outputs={"dsn": SECRET, "hosts": ["a", SECRET]},
        operations=(record(1), record(2, steps=(STEP,))),
        queue=(waiting,),
        created_at=AT,
    )


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(data=tmp_path, temporal_ui="http://127.0.0.1:8233/")


def fits(name: str, document: object) -> None:
    schema = json.loads(schemas.schemas()[f"{name}.json"])
    jsonschema_rs.validator_for(schema, validate_formats=True).validate(plain(document))


def test_the_written_schemas_are_current():
    assert schemas.stale(schemas.schemas()) == []


def test_a_service_has_the_documented_fields_newest_operation_first(settings):
    live = {3: record(3, OperationStatus.RUNNING, steps=(STEP,))}
    document = ServiceDocument.of(state(), settings, live)
    fits("service-show", document)
    value = plain(document)
    documented = "id team name promise revision phase health labels inputs outputs operations links"
    assert value.keys() >= set(documented.split())
    assert [operation["id"] for operation in value["operations"]] == [
        f"payments/orders-db/op/{number}" for number in (3, 2, 1)
    ]
    operation = value["operations"][0]
    documented = "id kind status revision requested_by requested_at started_at finished_at steps error"
    assert operation.keys() >= set(documented.split())
    assert operation["steps"][0].keys() >= {"id", "executor", "status", "changes"}
    assert (
        operation["steps"][0]["changes"].items() >= {"create": 2, "update": 0, "replace": 0, "delete": 0}.items()
    )
    assert value["links"] == {
        "temporal": "http://127.0.0.1:8233/namespaces/default/workflows/service%2Fpayments%2Forders-db"
    }
    assert (value["promise"], value["revision"]) == ("postgres", "postgres@1.4.0")


def test_no_reference_and_no_secret_is_in_any_document(settings):
    document = ServiceDocument.of(state(), settings)
    assert document.inputs == {"size": "small", "auth": {"password": MASK}}
    assert document.outputs == {"dsn": MASK, "hosts": ["a", MASK]}
    entry = RecordDocument.of(
        LedgerRecord(
            kind="operation",
            service=SERVICE,
            sequence="op-1",
            at=AT,
            by="ada",
            operation=1,
            inputs_after={"password": SECRET},
            steps=(STEP,),
            revision_after=REVISION,
        )
    )
    fits("service-history", [entry])
    for item_found in (document, entry):
        assert "$secret" not in json.dumps(plain(item_found))


def test_without_a_ui_there_are_no_links(tmp_path):
    assert ServiceDocument.of(state(), Settings(data=tmp_path, temporal_ui="")).links == {}


def test_a_failed_operation_and_a_plan_fit_their_schemas(settings):
    error = ErrorInfo(code="TOOL_FAILED", message="no")
    fits(
        "operation-show",
        OperationDocument.of(record(1, OperationStatus.FAILED, error=error, retry_of=1), settings),
    )
    change = Change(address="a.b", action="create", after={"x": 1}, unknown=("id",))
    fits("operation-plan", [PlanDocument.of(record(2, steps=(STEP,)), STEP, PLAN, [change])])
