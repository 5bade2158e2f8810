"""Rollback: the last revision and inputs that were healthy."""

from __future__ import annotations

from temporalio import workflow

from bondstone.base import names
from bondstone.model.service import OperationInput, OperationResult
from bondstone.workflows.change import Change


@workflow.defn(name=names.ROLLBACK_WORKFLOW)
class Rollback(Change):
    """The same plan, policy and gate as forwards; only the target lies behind."""

    @workflow.run
    async def run(self, operation: OperationInput) -> OperationResult:
        """Run it; returns only when everything succeeded."""
        del operation
        return await self.perform(lambda: self.change(on_failure="hold"))
