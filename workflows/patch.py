"""Patch: a newer revision of the same major and minor version."""

from __future__ import annotations

from temporalio import workflow

from bondstone.base import names
from bondstone.model.service import OperationInput, OperationResult
from bondstone.workflows.change import Change


@workflow.defn(name=names.PATCH_WORKFLOW)
class Patch(Change):
    """Hooks, steps, health of the new revision, hooks. What deletes or replaces something asks people first."""

    @workflow.run
    async def run(self, operation: OperationInput) -> OperationResult:
        """Run it; returns only when everything succeeded; else back where it was, unless the promise says hold."""
        day_two = operation.resolved.day_two
        return await self.perform(
            lambda: self.change(
                before=day_two.patch_before,
                after=day_two.patch_after,
                on_failure=day_two.patch_on_failure,
                probes="patch",
            )
        )
