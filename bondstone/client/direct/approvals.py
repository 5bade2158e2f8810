"""Approvals over Temporal: votes are updates of the operation's workflow. `Bondstone.approvals`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from typing_extensions import override

from bondstone.base import names
from bondstone.base.errors import InvalidInput, Refused, VoteStale
from bondstone.client.approvals import SHORTEST_DIGEST, Approvals
from bondstone.client.direct.operation_watch import WatchedOperation
from bondstone.client.documents.step import ApprovalDocument, approvals
from bondstone.model.service import Approval, OperationRecord, OperationStatus, VoteCall
from bondstone.temporal import calls, listing

if TYPE_CHECKING:
    from bondstone.client.direct.connection import Caller


class DirectApprovals(Approvals):
    """Approvals over Temporal.

    Args:
        caller: Who asks, and by which connection.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    @override
    async def approve(
        self, operation: str, digest: str, *, step: str = "", roles: Sequence[str] = (), comment: str = ""
    ) -> ApprovalDocument:
        return await self._vote(names.UPDATE_APPROVE, operation, digest, step, roles, comment)

    @override
    async def reject(
        self, operation: str, digest: str, *, reason: str, step: str = "", roles: Sequence[str] = ()
    ) -> ApprovalDocument:
        return await self._vote(names.UPDATE_REJECT, operation, digest, step, roles, reason)

    @override
    async def list(self) -> list[ApprovalDocument]:
        rows = await listing.operations(await self._caller.connection.temporal(), waiting=True)
        records = [await WatchedOperation(self._caller.connection, row.id).record() for row in rows]
        waiting = [record for record in records if record.status is OperationStatus.AWAITING_APPROVAL]
        gates = [gate for record in waiting for gate in approvals(record, waiting=True)]
        return sorted(gates, key=lambda gate: gate.asked_at)

    async def _vote(  # noqa: PLR0917 - private
        self, update: str, operation: str, digest: str, step: str, roles: Sequence[str], comment: str
    ) -> ApprovalDocument:
        prefix = _checked(digest)
        record = await WatchedOperation(self._caller.connection, operation).record()
        gate = _gate(record, step, prefix)
        call = VoteCall(
            step=gate.step, digest=gate.digest, by=self._caller.by, roles=tuple(roles), comment=comment
        )
        temporal = await self._caller.connection.temporal()
        voted = await calls.update(temporal, record.workflow_id, update, call, Approval)
        return ApprovalDocument.of(record, voted)


def _checked(digest: str) -> str:
    """The beginning of a digest, without its prefix."""
    prefix = digest.strip().lower().removeprefix("sha256:")
    if len(prefix) < SHORTEST_DIGEST or not set(prefix) <= set("0123456789abcdef"):
        raise InvalidInput(
            f"{digest[:80]!r} is not a plan's digest",
            hint=f"give at least {SHORTEST_DIGEST} of its characters, as `bond approval list` shows them",
        )
    return prefix


def _gate(record: OperationRecord, step: str, prefix: str) -> Approval:
    """The gate that a step and the beginning of a digest name; whether a vote still counts the gate itself says.

    Raises:
        Refused: nothing waits there.
        VoteStale: another plan waits there, in words which.
    """
    if record.status.ended:
        raise Refused(f"the operation has ended: {record.status}", where=record.id)
    gates = [gate for gate in record.approvals if not step or gate.step == step]
    named = [gate for gate in gates if gate.digest.startswith(prefix)]
    if named:
        return named[-1]
    open_gates = [f"step {gate.step} with plan {gate.digest[:SHORTEST_DIGEST]}" for gate in gates
                  if gate.status == "waiting"]  # fmt: skip
    if open_gates:
        raise VoteStale(
            f"no plan {prefix[:SHORTEST_DIGEST]} waits there; what waits is {', '.join(open_gates)}",
            where=record.id,
            hint="look at the current plan with `bond operation plan`, and vote on its digest",
        )
    what = f"step {step!r}" if step else "the operation"
    raise Refused(f"{what} waits for no approval", where=record.id, hint="`bond approval list` shows what waits")
