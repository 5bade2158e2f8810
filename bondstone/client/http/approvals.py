"""Approvals over the HTTP API. `Bondstone.approvals`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from typing_extensions import override

from bondstone.client.approvals import Approvals
from bondstone.client.documents.step import ApprovalDocument
from bondstone.client.http.transport import operation_path

if TYPE_CHECKING:
    from bondstone.client.http.client import HttpClient


class HttpApprovals(Approvals):
    """Approvals over the HTTP API.

    Args:
        bond: The client.
    """

    def __init__(self, bond: HttpClient) -> None:
        self._http = bond.transport

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
