"""Provision: from an accepted request to a ready service."""

from __future__ import annotations

from temporalio import workflow

from bondstone.base import names
from bondstone.base.errors import ErrorInfo
from bondstone.model.service import OperationInput, OperationResult
from bondstone.model.step import AdoptCall
from bondstone.workflows import activity_calls
from bondstone.workflows.change import Change


@workflow.defn(name=names.PROVISION_WORKFLOW)
class Provision(Change):
    """Steps in dependency order, then outputs, then health.

    What was made stays when it fails, for a retry; it is taken down again when the request asked for that.
    """

    @workflow.run
    async def run(self, operation: OperationInput) -> OperationResult:
        """Run it; returns only when everything succeeded."""
        return await self.perform(lambda: self._provision(operation))

    async def _provision(self, operation: OperationInput) -> ErrorInfo | None:
        if operation.adopt:
            record = operation.record
            call = AdoptCall(service=record.service, operation=record.number, states=operation.adopt)
            await activity_calls.apart(
                names.STATE_ADOPT, call, int, summary="adopt states", within=activity_calls.STATE_TIMEOUT
            )
        return await self.change(on_failure=operation.on_failure)
