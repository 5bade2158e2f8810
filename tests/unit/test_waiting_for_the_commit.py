"""How a client waits for a result: without queries, each of which wakes a worker."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from bondstone.base import names
from bondstone.client.direct import operation_watch


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
    await operation_watch.WatchedOperation(connection, "payments/db/op/3")._until_committed()
    assert len(described) == looks
