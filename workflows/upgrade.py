"""Upgrade: a newer minor or major version, with inputs as the new revision wants them."""

from __future__ import annotations

from temporalio import workflow

from bondstone.base import names
from bondstone.model.service import OperationInput, OperationResult
from bondstone.workflows.change import Change


@workflow.defn(name=names.UPGRADE_WORKFLOW)
class Upgrade(Change):
    """As a patch; the inputs were transformed and checked when the operation was accepted. A major asks people."""

    @workflow.run
    async def run(self, operation: OperationInput) -> OperationResult:
        """Run it; returns only when everything succeeded; else back where it was, unless the promise says hold."""
        day_two = operation.resolved.day_two
        return await self.perform(
            lambda: self.change(
                before=day_two.upgrade_before,
                after=day_two.upgrade_after,
                on_failure=day_two.upgrade_on_failure,
                probes="upgrade",
            )
        )
