"""The seven operations on a service. What each does is said here; how, in `change.py` and `operation.py`."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow

from bondstone.base import names
from bondstone.base.errors import ErrorInfo
from bondstone.model.service import OperationInput, OperationResult
from bondstone.model.step import AdoptCall, PutAway, PutAwayCall
from bondstone.workflows import activity_calls
from bondstone.workflows.change import ChangeOperation
from bondstone.workflows.operation import OperationWorkflow


@workflow.defn(name=names.PROVISION_WORKFLOW)
class Provision(ChangeOperation):
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
            call = AdoptCall(
                service=record.service, operation=record.number, states=operation.adopt, permit=self.permit
            )
            await activity_calls.apart(
                names.STATE_ADOPT, call, int, summary="adopt states", within=activity_calls.STATE_TIMEOUT
            )
        return await self.change(on_failure=operation.on_failure)


@workflow.defn(name=names.UPDATE_WORKFLOW)
class Update(ChangeOperation):
    """Every step is planned with the new inputs; only those whose plan changes something are applied."""

    @workflow.run
    async def run(self, operation: OperationInput) -> OperationResult:
        """Run it; returns only when everything succeeded."""
        del operation
        return await self.perform(lambda: self.change(on_failure="hold"))


@workflow.defn(name=names.PATCH_WORKFLOW)
class Patch(ChangeOperation):
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


@workflow.defn(name=names.UPGRADE_WORKFLOW)
class Upgrade(ChangeOperation):
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


@workflow.defn(name=names.ROLLBACK_WORKFLOW)
class Rollback(ChangeOperation):
    """The same plan, policy and gate as forwards; only the target lies behind."""

    @workflow.run
    async def run(self, operation: OperationInput) -> OperationResult:
        """Run it; returns only when everything succeeded."""
        del operation
        return await self.perform(lambda: self.change(on_failure="hold"))


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


@workflow.defn(name=names.DECOMMISSION_WORKFLOW)
class Decommission(OperationWorkflow):
    """Retention, final hooks, then every step before those it needs; then state and secrets are archived."""

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
                permit=self.permit,
            ),
            PutAway,
            summary="archive state and secrets",
            within=activity_calls.STATE_TIMEOUT,
        )
        self.result = self.result.changed(stands="after", retained=put_away.retained)
        self.changed()
        return None
