"""How a client waits for a result: without queries, each of which wakes a worker."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Final

import pytest

from bondstone.base import names
from bondstone.base.settings import Settings
from bondstone.client.direct import operation_watch
from bondstone.client.direct.services import DirectServices
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
)

_SERVICE: Final = ServiceId(team="payments", name="db")
_REVISION: Final = RevisionRef(promise="postgres", version="1.4.0", digest="ab")
_RESOLVED: Final = Resolved(revision=_REVISION, inputs={})


def _record(status: OperationStatus) -> OperationRecord:
    return OperationRecord(
        service=_SERVICE, number=3, kind=OperationKind.UPDATE, status=status, revision=_REVISION,
        request_id="r", requested_by="ada", requested_at=datetime(2026, 1, 31, 12, tzinfo=UTC),
    )  # fmt: skip


@pytest.mark.parametrize(("until", "looks"), [(2, 3), (99, len(operation_watch.COMMITS_WITHIN_SECONDS))])
async def test_a_client_asks_a_service_for_what_ended_once_it_is_committed(
    monkeypatch: pytest.MonkeyPatch, until: int, looks: int
) -> None:
    """A query wakes a worker; the search attributes that say when it is time do not."""
    monkeypatch.setattr(
        operation_watch, "COMMITS_WITHIN_SECONDS", (0.0,) * len(operation_watch.COMMITS_WITHIN_SECONDS)
    )
    described: list[str] = []

    async def describe(**_: Any) -> Any:
        described.append("payments/db/op/3" if len(described) < until else "payments/db/op/4")
        return SimpleNamespace(typed_search_attributes={operation_watch._OPERATION: described[-1]})

    async def temporal() -> Any:
        handles = {names.service_workflow_id("payments", "db"): SimpleNamespace(describe=describe)}
        return SimpleNamespace(get_workflow_handle=handles.__getitem__)

    connection: Any = SimpleNamespace(temporal=temporal)
    await operation_watch.WatchedOperation(connection, "payments/db/op/3").until_committed()
    assert len(described) == looks


@pytest.mark.parametrize("committed", [True, False])
async def test_a_service_and_its_operation_are_shown_as_of_one_moment(
    monkeypatch: pytest.MonkeyPatch, *, committed: bool
) -> None:
    """An operation's own workflow ends before its service has committed it."""
    ended = _record(OperationStatus.SUCCEEDED)
    pending = PendingOperation(record=_record(OperationStatus.RUNNING), resolved=_RESOLVED)
    at_work = ServiceState(service=_SERVICE, phase=Phase.UPDATING, queue=(pending,))
    after = ServiceState(service=_SERVICE, phase=Phase.READY, operations=(ended,)) if committed else at_work
    states = iter([at_work, after])

    async def read(_: Any) -> ServiceState:
        return next(states)

    async def record(_: Any) -> OperationRecord:
        return ended

    async def at_once(_: Any) -> None:
        """The service has had the time that a commit takes."""

    monkeypatch.setattr(operation_watch.WatchedOperation, "record", record)
    monkeypatch.setattr(operation_watch.WatchedOperation, "until_committed", at_once)
    caller: Any = SimpleNamespace(connection=None, settings=Settings())
    services = DirectServices(caller, bond=SimpleNamespace())  # type: ignore[arg-type] - makes no handle here
    monkeypatch.setattr(services, "read", read)
    document = await services.get("payments/db")
    [operation] = document.operations
    assert (document.phase, operation.status) == (
        (Phase.READY, "succeeded") if committed else (Phase.UPDATING, "running")
    )
