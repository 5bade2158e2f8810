"""Approvals over the HTTP API. `Bondstone.approvals`."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import override

from bondstone.client.approvals import Approvals
from bondstone.client.documents.step import ApprovalDocument
from bondstone.client.http.transport import Transport, operation_path


class HttpApprovals(Approvals):
    """Approvals over the HTTP API.

    Args:
        transport: Connections to the API.
    """

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    @override
    async def list(self) -> list[ApprovalDocument]:
        return [ApprovalDocument.model_validate(gate) for gate in await self._http.get("/approvals")]

    @override
    async def approve(
        self, operation: str, digest: str, *, step: str = "", roles: Sequence[str] = (), comment: str = ""
    ) -> ApprovalDocument:
        body = {"digest": digest, "step": step, "roles": list(roles), "comment": comment}
        return ApprovalDocument.model_validate(await self._http.post(operation_path(operation, "approve"), body))

    @override
    async def reject(
        self, operation: str, digest: str, *, reason: str, step: str = "", roles: Sequence[str] = ()
    ) -> ApprovalDocument:
        body = {"digest": digest, "step": step, "roles": list(roles), "reason": reason}
        return ApprovalDocument.model_validate(await self._http.post(operation_path(operation, "reject"), body))
