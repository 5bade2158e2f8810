"""Operations over Temporal: workflows, which the service and the ledger outlive. `Bondstone.operations`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from typing_extensions import override

from bondstone.base import names
from bondstone.base.errors import NotFound
from bondstone.client.direct.operation_watch import WatchedOperation, pending_of
from bondstone.client.operations import PATIENCE_SECONDS, OnChange, Operations
from bondstone.model.service import CancelCall, OperationRecord
from bondstone.temporal import calls, listing
from bondstone.temporal.service_ids import service_id

if TYPE_CHECKING:
    from bondstone.client.direct.connection import Caller
    from bondstone.client.documents.service import OperationDocument
    from bondstone.client.documents.step import PlanDocument
    from bondstone.model.rows import OperationRow


class DirectOperations(Operations):
    """Operations over Temporal and the object store.

    Args:
        caller: Who asks, and by which connection.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._connection = caller.connection

    @override
    async def get(self, operation: str) -> OperationDocument:
        record = await self.record(operation)
        return await self._document(record)

    async def record(self, operation: str) -> OperationRecord:
        """The operation as it is kept: by its service, its own workflow while it runs, or the ledger.

        Args:
            operation: `TEAM/NAME/op/N`.

        Raises:
            NotFound: there never was such an operation.
        """
        return await WatchedOperation(self._connection, operation).record()

    @override
    async def plans(self, operation: str, *, step: str = "") -> list[PlanDocument]:
        record = await self.record(operation)
        plans = await self._plans(record, step)
        if not plans:
            states = ", ".join(f"{each.id}: {each.status}" for each in record.steps)
            if step and step not in {each.id for each in record.steps}:
                raise NotFound(f"{operation} has no step {step!r}", hint=states or "its steps are not known yet")
            message = f"step {step} of {operation} has no plan" if step else f"no step of {operation} has a plan"
            raise NotFound(message, hint=states or "its steps are not known yet")
        return [*plans]

    @override
    async def cancel(self, operation: str, *, reason: str = "") -> OperationDocument:
        team, name, number = names.parse_operation(operation)
        call = CancelCall(
            number=number, requested_by=self._caller.by, reason=reason, expected_state=self._caller.expected_state
        )
        workflow_id = names.service_workflow_id(team, name)
        temporal = await self._connection.temporal()
        record = await calls.update(temporal, workflow_id, names.UPDATE_CANCEL_OPERATION, call, OperationRecord)
        return await self._document(record)

    @override
    async def wait(
        self,
        operation: str,
        on_change: OnChange | None = None,
        *,
        through_approvals: bool = False,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> OperationDocument:
        from bondstone.client.documents.service import OperationDocument  # noqa: PLC0415 - loads while the platform works

        def changed(record: OperationRecord) -> None:
            if on_change is not None:
                on_change(OperationDocument.of(record, self._caller.settings))

        watched = WatchedOperation(self._connection, operation)
        record = await watched.wait(
            None if on_change is None else changed,
            through_approvals=through_approvals,
            patience_seconds=patience_seconds,
        )
        return await self._document(record, live=False)

    async def ended(self, operation: str) -> OperationRecord:
        """Wait until an operation has ended, through every approval; as it is kept.

        Args:
            operation: `TEAM/NAME/op/N`.
        """
        return await WatchedOperation(self._connection, operation).ended()

    @override
    async def list(self, service: str = "") -> list[OperationRow]:
        if service:
            service_id(service)
        return await listing.operations(await self._connection.temporal(), service=service)

    # Helpers -----------------------------------------------------------------------------------------------------

    async def _document(self, record: OperationRecord, *, live: bool = True) -> OperationDocument:
        """An operation for programs: of a dry run with its plans, of one that runs with what it does now."""
        from bondstone.client.documents.service import OperationDocument  # noqa: PLC0415 - most verbs print none

        plans = await self._plans(record) if record.dry_run and record.status.ended else []
        pending = await pending_of(self._connection, record) if live else None
        return OperationDocument.of(record, self._caller.settings, plans, pending)

    async def _plans(self, record: OperationRecord, step: str = "") -> Sequence[PlanDocument]:
        """The plans that are kept of an operation, or of one of its steps, in the order of its steps."""
        from bondstone.client.documents.step import PlanDocument  # noqa: PLC0415 - as above

        planned = [(each, each.plan) for each in record.steps if each.plan is not None and each.plan.key]
        if not planned:
            return []
        kept = (await self._connection.store()).plans
        return [
            PlanDocument.of(record, each, plan, await kept.changes(plan))
            for each, plan in planned
            if not step or each.id == step
        ]
