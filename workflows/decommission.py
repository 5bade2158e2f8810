"""Decommission: take a service down, in reverse order, and put away what outlives it."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow

from bondstone.base import names
from bondstone.base.errors import ErrorInfo
from bondstone.model.service import OperationInput, OperationResult
from bondstone.model.step import PutAway, PutAwayCall
from bondstone.workflows import activity_calls
from bondstone.workflows.operation import OperationWorkflow


@workflow.defn(name=names.DECOMMISSION_WORKFLOW)
class Decommission(OperationWorkflow):
    """Retention, final hooks, then every step before those it needs; then state and secrets are put away."""

    @workflow.run
    async def run(self, operation: OperationInput) -> OperationResult:
        """Run it; returns only when nothing is left."""
        return await self.perform(lambda: self._take_down(operation))

    async def _take_down(self, operation: OperationInput) -> ErrorInfo | None:
        if operation.record.dry_run:
            planned = self.steps()
            await planned.plan_destroy_all()
            return planned.first_error()
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
            self.result = self.result.changed(stands=stands, step_outputs=dict(steps.outputs))
        if error := steps.first_error():
            return error
        put_away = await activity_calls.apart(
            names.SERVICE_PUT_AWAY,
            PutAwayCall(
                service=operation.record.service,
                operation=operation.record.number,
                sequence=f"op-{operation.record.number}",
                state=day_two.state_after,
                secrets=day_two.secrets_after,
            ),
            PutAway,
            summary="put away state and secrets",
            within=activity_calls.STATE_TIMEOUT,
        )
        self.result = self.result.changed(stands="after", retained=put_away.retained)
        self.changed()
        return None
