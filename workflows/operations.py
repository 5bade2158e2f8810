"""The seven operations on a service. What they share with each other is in `operation.py`."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from temporalio import workflow

from bondstone.base import names
from bondstone.base.errors import ErrorInfo, OperationFailed, Unhealthy
from bondstone.model.service import (
    Health,
    OperationInput,
    OperationResult,
    OperationStatus,
    Resolved,
    StepOutputs,
    StepSpec,
    StepStatus,
)
from bondstone.model.step import (
    AdoptCall,
    HealthCall,
    HealthReport,
    OutputsCall,
    Probes,
    PutAway,
    PutAwayCall,
    ServiceOutputs,
)
from bondstone.workflows import activity_calls
from bondstone.workflows.operation import OperationWorkflow
from bondstone.workflows.steps import Part, Steps

HEALTH_SLACK = timedelta(minutes=5)
"""What the probes of one operation may take beyond the sum of their `within`: starting, and the last looks."""

OnFailure = Literal["keep", "destroy", "hold", "rollback"]
"""Leave what was made (keep, hold), take it down (destroy), or go back to what was there before (rollback)."""


class ChangeOperation(OperationWorkflow):
    """Base of the operations that change what a service is."""

    async def change(
        self,
        *,
        before: tuple[str, ...] = (),
        after: tuple[str, ...] = (),
        on_failure: OnFailure,
        probes: Probes = "",
    ) -> ErrorInfo | None:
        """Hooks, steps, steps that are no longer there, outputs, health, hooks; the error it ends with, if any.

        Args:
            before: Hook steps to run first.
            after: Hook steps to run last.
            on_failure: What to do when something does not succeed.
            probes: Which probes of the new revision tell whether it works, where it has such.
        """
        if self.operation.record.dry_run:
            return await self._dry_run()
        hooks = self.hooks(before, "before")
        if hooks is not None:
            await hooks.apply_all()
            if error := hooks.first_error():
                return error
        steps = self.steps()
        try:
            error = await self._make_true(steps, after, probes)
        finally:
            self._note(steps)
        if error is None:
            return None
        if on_failure == "destroy":
            return await self._take_down(steps, error)
        if on_failure == "rollback" and steps.touched and self.operation.before is not None:
            return await self._roll_back(steps, self.operation.before, error)
        return error

    async def _dry_run(self) -> ErrorInfo | None:
        """Plan the steps, and that what the new revision no longer has is taken down."""
        steps = self.steps()
        await steps.plan_all()
        old = self.operation.before
        gone = _standing(old, steps) if old is not None else []
        if old is None or not gone or steps.first_error():
            return steps.first_error()
        operation = self.operation.changed(resolved=old, kept=())
        removed = self.steps("removed", operation=operation, specs=gone)
        await removed.plan_destroy_all()
        return removed.first_error()

    async def _make_true(self, steps: Steps, after: tuple[str, ...], probes: Probes) -> ErrorInfo | None:
        await steps.apply_all()
        error = steps.first_error() or await self._remove_what_is_gone(steps)
        if error is not None:
            return error
        error = await self._outputs_and_health(self.operation, steps, probes)
        hooks = self.hooks(after, "after", outputs=steps) if error is None else None
        if hooks is not None:
            await hooks.apply_all()
            error = hooks.first_error()
        return error

    async def _remove_what_is_gone(self, steps: Steps) -> ErrorInfo | None:
        """Destroy the steps that stood before and are not in the new revision, as the old one knows them."""
        old = self.operation.before
        if old is None:
            return None
        error, outputs = await self._destroy_only(old, _standing(old, steps), steps, "removed")
        steps.outputs = outputs
        return error

    async def _destroy_only(
        self, resolved: Resolved, specs: list[StepSpec], steps: Steps, part: Part
    ) -> tuple[ErrorInfo | None, dict[str, StepOutputs]]:
        if not specs:
            return None, dict(steps.outputs)
        operation = self.operation.changed(resolved=resolved, outputs=steps.outputs, kept=())
        gone = self.steps(part, operation=operation, specs=specs)
        await gone.destroy_all()
        return gone.first_error(), dict(gone.outputs)

    async def _outputs_and_health(
        self, operation: OperationInput, steps: Steps, probes: Probes = ""
    ) -> ErrorInfo | None:
        record = operation.record
        call = OutputsCall(
            service=record.service,
            labels=operation.labels,
            operation=record.number,
            kind=record.kind,
            revision=operation.resolved.revision,
            inputs=operation.resolved.inputs,
            outputs=steps.outputs,
            permit=self.permit,
        )
        service_outputs = await activity_calls.control(
            names.PROMISE_OUTPUTS, call, ServiceOutputs, summary="outputs"
        )
        self.result = self.result.changed(outputs=service_outputs.outputs)
        probes, within = _own_or_common(operation.resolved, probes)
        if not within:
            return None
        report = await activity_calls.apart(
            names.HEALTH_PROBE,
            HealthCall(**dict(call), service_outputs=service_outputs.outputs, probes=probes),
            HealthReport,
            summary="health",
            within=timedelta(seconds=within) + HEALTH_SLACK,
            heartbeat=activity_calls.HEARTBEAT_TIMEOUT,
        )
        self.result = self.result.changed(health=report.health)
        if report.health is Health.HEALTHY:
            return None
        unhealthy = Unhealthy(
            report.message or "the service is not healthy",
            hint="every step was applied; look at the service, then `bond service retry`",
        )
        return unhealthy.info()

    async def _take_down(self, steps: Steps, error: ErrorInfo) -> ErrorInfo:
        """Take down what was made; the error says how that went."""
        operation = self.operation.changed(outputs=steps.outputs, kept=())
        undo = self.steps("rollback", operation=operation)
        await undo.destroy_all()
        steps.outputs = undo.outputs
        self._note(steps)
        left = undo.first_error()
        if left is None:
            return error.changed(message=f"{error.message} (what it had created was destroyed again)")
        failed = OperationFailed(
            f"{error.message}; destroying what it had created failed, too: {left.message}",
            where=error.where,
            hint="`bond service decommission` tries again",
        )
        return failed.info()

    async def _roll_back(self, steps: Steps, old: Resolved, error: ErrorInfo) -> ErrorInfo:
        """Go back to the revision and inputs from before; the error says both what failed and how that went."""
        workflow.logger.info("rolling back to %s", old.revision)
        operation = self.operation.changed(
            resolved=old,
            before=self.operation.resolved,
            outputs=steps.outputs,
            kept=(),
        )
        back = self.steps("rollback", operation=operation)
        await back.apply_all()
        left = back.first_error()
        if left is None:
            left, outputs = await self._destroy_only(
                self.operation.resolved, _standing(self.operation.resolved, back), back, "rollback"
            )
            back.outputs = outputs
        if left is None:
            left = await self._outputs_and_health(operation, back)
        self._note(back)
        if left is None:
            self.result = self.result.changed(
                status=OperationStatus.ROLLED_BACK,
                stands="before",
            )
            return error.changed(message=f"{error.message} (rolled back to {old.revision})")
        failed = OperationFailed(
            f"{error.message}; and rolling back to {old.revision} failed: {left.message}",
            where=error.where,
            hint="`bond service rollback` tries again, `bond service retry` continues the change",
        )
        return failed.info()

    def _note(self, steps: Steps) -> None:
        """Keep what stands now in the result, however the operation continues or ends."""
        succeeded = all(
            record.finished_at is not None and record.status not in _FELL_SHORT
            for record in steps.records.values()
        )
        stands = "after" if succeeded else "between" if steps.touched else "before"
        self.result = self.result.changed(stands=stands, step_outputs=dict(steps.outputs))


_FELL_SHORT = frozenset({StepStatus.FAILED, StepStatus.CANCELLED, StepStatus.BLOCKED})


def _own_or_common(resolved: Resolved, probes: Probes) -> tuple[Probes, int]:
    """Which probes of a revision to look at, and for how many seconds at most."""
    day_two = resolved.day_two
    seconds = {"patch": day_two.patch_health_seconds, "upgrade": day_two.upgrade_health_seconds}.get(probes, 0)
    return (probes, seconds) if seconds else ("", resolved.health_seconds)


def _standing(resolved: Resolved, steps: Steps) -> list[StepSpec]:
    """The steps of `resolved` that are not among `steps`, or are skipped there: they must not stand any more."""
    wanted = {spec.id for spec in steps.specs.values() if not spec.skip}
    return [spec for spec in resolved.steps if spec.id not in wanted and not spec.skip]


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
