"""Operations over the HTTP API. `Bondstone.operations`."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

from typing_extensions import override

from bondstone.base.errors import Unreachable
from bondstone.client.http.follow import PAUSE_SECONDS, follow
from bondstone.client.http.transport import Transport, operation_path
from bondstone.client.operations import PATIENCE_SECONDS, OnChange, Operations

if TYPE_CHECKING:
    from bondstone.client.documents.service import OperationDocument
    from bondstone.client.documents.step import PlanDocument
    from bondstone.model.rows import OperationRow

WAIT_SECONDS: Final = 30


class HttpOperations(Operations):
    """Operations over the HTTP API.

    Args:
        transport: Connections to the API.
    """

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    @override
    async def get(self, operation: str) -> OperationDocument:
        return _document(await self._http.get(operation_path(operation)))

    @override
    async def plans(self, operation: str, *, step: str = "") -> list[PlanDocument]:
        from bondstone.client.documents.step import PlanDocument  # noqa: PLC0415 - this verb only

        plans = await self._http.get(operation_path(operation, "plans"), {"step": step})
        return [PlanDocument.model_validate(plan) for plan in plans]

    @override
    async def cancel(self, operation: str, *, reason: str = "") -> OperationDocument:
        return _document(await self._http.post(operation_path(operation, "cancel"), {"reason": reason}))

    @override
    async def wait(
        self,
        operation: str,
        on_change: OnChange | None = None,
        *,
        through_approvals: bool = False,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> OperationDocument:
        if on_change is None:
            return await self._wait(
                operation, through_approvals=through_approvals, patience_seconds=patience_seconds
            )
        path = operation_path(operation, "events")
        followed = follow(self._http, path, "operation", _document, patience_seconds=patience_seconds)
        async for document in followed:
            on_change(document)
            if document.status.ended or (document.status == "awaiting-approval" and not through_approvals):
                return document
        return await self.get(operation)

    @override
    async def list(self, service: str = "") -> list[OperationRow]:
        from bondstone.model.rows import OperationRow  # noqa: PLC0415 - this verb only

        rows = await self._http.get("/operations", {"service": service})
        return [OperationRow.model_validate(row) for row in rows]

    async def _wait(
        self, operation: str, *, through_approvals: bool, patience_seconds: float
    ) -> OperationDocument:
        """Wait without hearing of what is between: the API answers as soon as it has ended."""
        answered = time.monotonic()
        query = {"wait": WAIT_SECONDS, "through_approvals": through_approvals}
        while True:
            try:
                document = _document(await self._http.get(operation_path(operation), query))
            except Unreachable:
                if time.monotonic() - answered >= patience_seconds:
                    raise
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            answered = time.monotonic()
            if document.status.ended or (document.status == "awaiting-approval" and not through_approvals):
                return document


def _document(value: Any) -> OperationDocument:
    from bondstone.client.documents.service import OperationDocument  # noqa: PLC0415 - lists need none

    return OperationDocument.model_validate(value)
