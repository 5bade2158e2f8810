"""How `bond` chooses rows, shows plans, and says how an operation ended: without a platform."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime

import pytest

from bondstone.base.errors import ErrorInfo, ExpressionInvalid
from bondstone.cli import plan_views, views, waiting
from bondstone.client.documents.service import OperationDocument
from bondstone.client.documents.step import ChangeDocument, ChangesDocument, PlanDocument
from bondstone.client.documents.worker import QueueDocument
from bondstone.client.row_filter import ROW_TYPES, row_filter
from bondstone.model.service import (
    OperationKind,
    OperationRecord,
    OperationStatus,
    RevisionRef,
    ServiceId,
    StepRecord,
    StepStatus,
)
from bondstone.model.service_row import ServiceRow

AT = datetime(2026, 1, 31, 12, tzinfo=UTC)


def row(**fields) -> ServiceRow:
    known = {
        "id": "payments/orders", "team": "payments", "name": "orders", "promise": "postgres",
        "revision": "postgres@1.4.0", "phase": "ready", "health": "healthy", "labels": {}, "changed_at": AT,
    }  # fmt: skip
    return ServiceRow(**{**known, **fields})


def ended(status: OperationStatus, code: str = "") -> OperationRecord:
    return OperationRecord(
        service=ServiceId(team="a", name="b"),
        number=1,
        kind=OperationKind.PROVISION,
        status=status,
        revision=RevisionRef(promise="p", version="1.0.0", digest="d"),
        request_id="r",
        requested_by="ada",
        requested_at=AT,
        error=ErrorInfo(code=code, message="no") if code else None,
    )


@pytest.mark.parametrize(
    ("where", "matches"),
    [
        ("", True),
        ("phase == 'ready' && team == 'payments'", True),
        ("labels.tier == 'data'", True),
        ("labels.env == 'x'", False),
        ("'tier' in labels", True),
        ("operation == null", True),
        ("changed_at < '2027'", True),
        ("revision.startsWith('postgres@2')", False),
    ],
)
def test_where_chooses_rows_and_a_label_that_is_not_there_is_false(where, matches):
    assert row_filter(where)(row(labels={"tier": "data"})) is matches


@pytest.mark.parametrize("where", ["phas == 'ready'", "phase", "phase == 3", "phase ==", "size(labels)"])
def test_a_where_that_cannot_be_right_is_refused_before_anything_is_asked(where):
    with pytest.raises(ExpressionInvalid):
        row_filter(where)


def test_where_knows_every_field_of_a_row():
    assert set(ROW_TYPES) == {each.name for each in fields(ServiceRow)}


@pytest.mark.parametrize(
    ("status", "code", "exit_code"),
    [
        (OperationStatus.SUCCEEDED, "", 0),
        (OperationStatus.FAILED, "TOOL_FAILED", 1),
        (OperationStatus.FAILED, "STORE_UNAVAILABLE", 1),
        (OperationStatus.FAILED, "EXPRESSION_INVALID", 1),
        (OperationStatus.FAILED, "POLICY_DENIED", 4),
        (OperationStatus.FAILED, "NEVER_HEARD_OF", 1),
        (OperationStatus.REJECTED, "", 4),
        (OperationStatus.CANCELLED, "OPERATION_CANCELLED", 1),
    ],
)
def test_the_exit_code_says_how_an_operation_ended(status, code, exit_code):
    assert waiting.exit_code(ended(status, code)) == exit_code


def test_a_plan_is_read_by_action_and_address_with_only_what_changes(capsys):
    plan_views.plan(
        PlanDocument(
            operation="a/b/op/1",
            step="database",
            digest="d" * 64,
            tool="terraform 1.15.5",
            counts=ChangesDocument(create=1, update=1, delete=1),
            changes=(
                ChangeDocument(address="z.gone", action="delete", before={"x": 1}),
                ChangeDocument(
                    address="m.changed",
                    action="update",
                    before={"same": 1, "size": "small", "key": "(secret)"},
                    after={"same": 1, "size": "large", "key": "(secret)"},
                    unknown=("arn",),
                ),
                ChangeDocument(address="a.new\x1b[31m", action="create", after={"size": "x" * 300, "none": None}),
            ),
        )
    )
    out = capsys.readouterr().out
    assert "1 to create, 1 to update, 1 to delete" in out.splitlines()[0]
    assert [line for line in out.splitlines() if line[:3] in {"  +", "  ~", "  -"}] == [
        "  + a.new\\x1b[31m",
        "  ~ m.changed",
        "  - z.gone",
    ]
    assert 'size = "small" -> "large"' in out
    assert "arn  = (none) -> (known after apply)" in out
    assert "same" not in out
    assert "none " not in out
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) < 150


def test_a_plan_shows_what_is_let_go_moved_and_imported_and_what_fails(capsys):
    changes = (
        ChangeDocument(address="a.gone", action="forget", before={"x": 1}),
        ChangeDocument(address="a.new", action="move", moved_from="a.old", before={"x": 1}, after={"x": 1}),
        ChangeDocument(address="a.vpc", action="import", import_id="vpc-1"),
    )
    counts = ChangesDocument(forget=1, move=1, imports=1)
    words = ("check.c: the endpoint is down",)
    made = {"operation": "a/b/op/1", "step": "database", "digest": "d" * 64, "counts": counts}
    plan_views.plan(PlanDocument(**made, changes=changes, failed_checks=words))
    lines = capsys.readouterr().out.splitlines()
    assert "1 to forget, 1 to move, 1 to import" in lines[0]
    assert "  ! a.gone  (stays, and is managed no more)" in lines
    assert "  > a.new  (moved from a.old)" in lines
    assert "  < a.vpc  (imported from vpc-1)" in lines
    assert "  check.c: the endpoint is down" in lines
    assert views.counts(counts) == "+0 ~0 ±0 -0, 1 to forget, 1 to move, 1 to import"


def test_an_operation_shows_what_was_wrong_with_how_its_steps_were_applied(capsys):
    words = "web/Touch it is not idempotent"
    record = ended(OperationStatus.SUCCEEDED).changed(
        steps=(StepRecord(id="hosts", executor="ansible", status=StepStatus.SUCCEEDED, warnings=(words,)),)
    )
    views.operation(OperationDocument.of(record))
    assert f"warnings (they stop nothing):\n  hosts: {words}\n" in capsys.readouterr().out


def test_a_difference_past_the_cut_is_shown(capsys):
    def spec(image: str, text: str) -> dict:
        return {
            "spec": {
                "args": ["x" * 500],
                "containers": [{"name": "main", "image": image}],
                "text": "y" * 900 + text,
            }
        }

    change = ChangeDocument(address="a.b", action="update", before=spec("one", "old"), after=spec("two", "new"))
    made = {"operation": "a/b/op/1", "step": "s", "digest": "d" * 64, "counts": ChangesDocument(update=1)}
    plan_views.plan(PlanDocument(**made, changes=(change,)))
    out = capsys.readouterr().out
    assert '"image": "one"' in out
    assert '"image": "two"' in out
    assert "xxx" not in out
    only = ChangeDocument(
        address="a.b", action="update", before={"t": "y" * 900 + "old"}, after={"t": "y" * 900 + "new"}
    )
    plan_views.plan(PlanDocument(**made, changes=(only,)))
    out = capsys.readouterr().out
    assert "old" in out
    assert "new" in out
    start = "y" * 900
    longer = ChangeDocument(address="a.b", action="update", before={"t": start}, after={"t": start + "new"})
    plan_views.plan(PlanDocument(**made, changes=(longer,)))
    assert f't = "…{"y" * 20}" -> "…{"y" * 20}new"' in capsys.readouterr().out


async def test_a_pool_is_asked_about_only_when_a_step_stands_still(monkeypatch):
    looked: list[str] = []

    class Workers:
        async def queues(self, pools):
            looked.extend(pools)
            return [QueueDocument(queue="control"), QueueDocument(queue="pool", pool=pools[0])]

    class Bond:
        workers = Workers()

    class View:
        printed: list[str] = []

        def remark(self, text):
            self.printed.append(text)

    now = 0.0
    monkeypatch.setattr(waiting.time, "monotonic", lambda: now)
    pools = waiting._Pools(Bond(), "a/b/op/1", View())
    step = StepRecord(id="s", executor="terraform", status=StepStatus.PLANNING, pool="prod-eu")
    pools.changed(ended(OperationStatus.RUNNING).changed(steps=(step,)))
    now = 9
    await pools.look()
    assert looked == []
    now = 11
    await pools.look()
    await pools.look()
    assert looked == ["prod-eu"]
    [words] = View.printed
    assert "no worker polls pool prod-eu" in words
