"""Decommission: take a service down, in reverse order, and forget its secrets."""

from __future__ import annotations

import asyncio

from temporalio import workflow
from temporalio.exceptions import FailureError, is_cancelled_exception

from bondstone import names
from bondstone.errors import ErrorInfo
from bondstone.model.failure import info_of
from bondstone.model.service import OperationInput, OperationRecord, OperationResult, OperationStatus
from bondstone.model.step import EraseCall
from workflows import calls, ending
from workflows.steps import Steps


@workflow.defn(name=names.DECOMMISSION_WORKFLOW)
class Decommission:
    """Every step is destroyed before those it needs; the state log stays, the secrets go."""

    @workflow.init
    def __init__(self, operation: OperationInput) -> None:
        self._operation = operation
        self._steps = Steps(operation)

    @workflow.run
    async def run(self, operation: OperationInput) -> OperationResult:
        """Run it; returns only when nothing is left."""
        error: ErrorInfo | None = None
        try:
            await self._steps.destroy_all()
            error = self._steps.first_error()
            if error is None:
                await calls.control(
                    names.SECRETS_ERASE, EraseCall(service=operation.record.service), int, summary="erase secrets"
                )
        except (FailureError, asyncio.CancelledError) as caught:
            if is_cancelled_exception(caught):
                raise ending.cancelled(self._result(OperationStatus.CANCELLED)) from None
            error = info_of(caught)
        if error is not None:
            raise ending.failure(self._result(OperationStatus.FAILED, error=error))
        return self._result(OperationStatus.SUCCEEDED)

    @workflow.query(name=names.QUERY_DESCRIBE)
    def describe(self) -> OperationRecord:
        """The operation as it stands now."""
        return self._steps.describe()

    def _result(self, status: OperationStatus, **fields: object) -> OperationResult:
        return OperationResult(status=status, steps=tuple(self._steps.records.values())).model_copy(update=fields)
