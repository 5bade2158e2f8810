"""Reconcile: does reality still look as it was made, and if asked, make it so again."""

from __future__ import annotations

from temporalio import workflow

from bondstone.base import names
from bondstone.base.errors import ErrorInfo
from bondstone.model.service import OperationInput, OperationResult
from bondstone.workflows.operation import OperationWorkflow


@workflow.defn(name=names.RECONCILE_WORKFLOW)
class Reconcile(OperationWorkflow):
    """Looks for drift in every step and reports it; with `repair`, plans and applies the difference."""

    @workflow.run
    async def run(self, operation: OperationInput) -> OperationResult:
        """Run it; drift that is only reported is no failure."""

        async def body() -> ErrorInfo | None:
            steps = self.steps()
            await steps.repair_all(repair=operation.repair)
            self.result = self.result.changed(step_outputs=dict(steps.outputs))
            return steps.first_error()

        return await self.perform(body)
