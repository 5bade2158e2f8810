"""Update: other inputs, the same revision."""

from __future__ import annotations

from temporalio import workflow

from bondstone.base import names
from bondstone.model.service import OperationInput, OperationResult
from bondstone.workflows.change import Change


@workflow.defn(name=names.UPDATE_WORKFLOW)
class Update(Change):
    """Every step is planned with the new inputs; only those whose plan changes something are applied."""

    @workflow.run
    async def run(self, operation: OperationInput) -> OperationResult:
        """Run it; returns only when everything succeeded."""
        del operation
        return await self.perform(lambda: self.change(on_failure="hold"))
