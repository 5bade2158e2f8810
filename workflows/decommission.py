"""Decommission: take a service down, in reverse order, and forget its secrets."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow

from bondstone import names
from bondstone.errors import ErrorInfo
from bondstone.model.service import OperationInput, OperationResult
from bondstone.model.step import EraseCall
from workflows import calls
from workflows.operation import OperationWorkflow


@workflow.defn(name=names.DECOMMISSION_WORKFLOW)
class Decommission(OperationWorkflow):
    """Retention, final hooks, then every step before those it needs; the state log stays, the secrets go."""

    @workflow.run
    async def run(self, operation: OperationInput) -> OperationResult:
        """Run it; returns only when nothing is left."""
        return await self.perform(lambda: self._take_down(operation))

    async def _take_down(self, operation: OperationInput) -> ErrorInfo | None:
        day_two = operation.resolved.day_two
        if day_two.retain_seconds:
            # Until then nothing has changed, and a cancel leaves the service as it was.
            await workflow.sleep(timedelta(seconds=day_two.retain_seconds), summary="retention")
        final = self.hooks(day_two.final, "final")
        if final is not None:
            await final.apply_all()
            if error := final.first_error():
                return error
        steps = self.steps()
        try:
            await steps.destroy_all()
        finally:
            stands = "between" if steps.touched else "before"
            self.result = self.result.model_copy(update={"stands": stands, "step_outputs": dict(steps.outputs)})
        if error := steps.first_error():
            return error
        call = EraseCall(service=operation.record.service)
        await calls.control(names.SECRETS_ERASE, call, int, summary="erase secrets")
        self.result = self.result.model_copy(update={"stands": "after"})
        return None
