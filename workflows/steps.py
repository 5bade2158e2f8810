"""Run the step graph of one operation: plan, policy, apply, in dependency order, independent steps at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, FailureError, is_cancelled_exception

from bondstone import names
from bondstone.errors import ApprovalRequired, BondError, ErrorInfo, PlanStale, PolicyDenied, Problem
from bondstone.model.failure import info_of
from bondstone.model.plan import Decision, PlanRef
from bondstone.model.service import (
    OperationInput,
    OperationRecord,
    OperationStatus,
    StepOutputs,
    StepRecord,
    StepSpec,
    StepStatus,
)
from bondstone.model.step import Applied, ApplyCall, PolicyCall, StepCall
from workflows import calls, details

MAX_STALE_PLANS = 30
"""How often one step plans again because reality moved (a killed worker counts as one) before it gives up."""

DONE = frozenset({StepStatus.SUCCEEDED, StepStatus.UNCHANGED, StepStatus.KEPT, StepStatus.SKIPPED})


class Steps:
    """The steps of one operation: their records as they change, and the two ways to run them.

    Args:
        operation: What the operation workflow was started with.
    """

    def __init__(self, operation: OperationInput) -> None:
        self._operation = operation
        self.specs = {spec.id: spec for spec in operation.resolved.steps}
        self.records = {
            spec.id: StepRecord(id=spec.id, executor=spec.executor, pool=spec.pool) for spec in self.specs.values()
        }
        self.outputs: dict[str, StepOutputs] = dict(operation.outputs)
        self.note = ""

    def describe(self, status: OperationStatus = OperationStatus.RUNNING) -> OperationRecord:
        """The operation as it stands now."""
        return self._operation.record.model_copy(update={"status": status, "steps": tuple(self.records.values())})

    def first_error(self) -> ErrorInfo | None:
        """Why the operation cannot succeed: the first failed step's error, with the step as its place."""
        for record in self.records.values():
            if record.status is StepStatus.FAILED and record.error:
                return record.error.model_copy(update={"where": record.error.where or f"step {record.id}"})
        return None

    async def apply_all(self) -> None:
        """Plan, check and apply every step after those it needs; what is kept or skipped is left alone."""
        kept = {record.id: record for record in self._operation.kept}
        await self._run_graph(
            {spec.id: spec.needs for spec in self.specs.values()}, lambda spec: self._apply(spec, kept)
        )

    async def destroy_all(self) -> None:
        """Plan, check and destroy every step before those it needs."""
        needed_by: dict[str, tuple[str, ...]] = {
            spec.id: tuple(other.id for other in self.specs.values() if spec.id in other.needs)
            for spec in self.specs.values()
        }
        await self._run_graph(needed_by, self._destroy)

    async def _run_graph(
        self, after: dict[str, tuple[str, ...]], run: Callable[[StepSpec], Awaitable[None]]
    ) -> None:
        """Run every step once those in `after` are done; block those behind a failure; pass a cancel on."""
        tasks: dict[str, asyncio.Task[None]] = {}

        async def one(spec: StepSpec) -> None:
            await asyncio.gather(*(asyncio.shield(tasks[step]) for step in after[spec.id]))
            if all(self.records[step].status in DONE for step in after[spec.id]):
                await self._guarded(spec, run)
            else:
                self._set(spec, StepStatus.BLOCKED)

        for spec in self._ordered(after):
            tasks[spec.id] = asyncio.create_task(one(spec))
        try:
            await asyncio.gather(*(asyncio.shield(task) for task in tasks.values()))
        except asyncio.CancelledError:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)
            for spec in self.specs.values():
                if self.records[spec.id].status is StepStatus.PENDING:
                    self._set(spec, StepStatus.CANCELLED)
            raise

    def _ordered(self, after: dict[str, tuple[str, ...]]) -> list[StepSpec]:
        """The specs, each behind those it waits for; resolve orders by `needs`, so one direction is enough."""
        specs = list(self.specs.values())
        forward = all(
            step in {earlier.id for earlier in specs[:index]}
            for index, spec in enumerate(specs)
            for step in after[spec.id]
        )
        return specs if forward else specs[::-1]

    async def _guarded(self, spec: StepSpec, run: Callable[[StepSpec], Awaitable[None]]) -> None:
        """Run one step; what goes wrong is in its record, and only a cancel comes out."""
        self._set(spec, StepStatus.PLANNING, started_at=workflow.now())
        try:
            await run(spec)
        except BondError as error:
            self._set(spec, StepStatus.FAILED, error=error.info())
        except (FailureError, asyncio.CancelledError) as error:
            if is_cancelled_exception(error):
                self._set(spec, StepStatus.CANCELLED)
                raise
            self._set(spec, StepStatus.FAILED, error=info_of(error))

    async def _apply(self, spec: StepSpec, kept: dict[str, StepRecord]) -> None:
        if spec.skip:
            self._set(spec, StepStatus.SKIPPED)
            return
        if spec.id in kept:
            earlier = kept[spec.id]
            if earlier.outputs:
                self.outputs[spec.id] = earlier.outputs
            self._set(spec, StepStatus.KEPT, outputs=earlier.outputs, plan=earlier.plan, changes=earlier.changes)
            return
        plan = await self._plan(spec, names.VERB_PLAN)
        known = self.outputs.get(spec.id)
        if plan.empty and known:
            self._set(spec, StepStatus.UNCHANGED, outputs=known)
            return
        applied = await self._apply_plan(spec, plan, names.VERB_PLAN)
        self.outputs[spec.id] = applied.outputs
        status = StepStatus.UNCHANGED if applied.counts.total == 0 and plan.empty else StepStatus.SUCCEEDED
        self._set(spec, status, outputs=applied.outputs, changes=applied.counts, log=applied.log)

    async def _destroy(self, spec: StepSpec) -> None:
        if spec.skip:
            self._set(spec, StepStatus.SKIPPED)
            return
        plan = await self._plan(spec, names.VERB_PLAN_DESTROY)
        if plan.empty:
            self._set(spec, StepStatus.UNCHANGED)
            return
        applied = await self._apply_plan(spec, plan, names.VERB_PLAN_DESTROY)
        self.outputs.pop(spec.id, None)
        self._set(spec, StepStatus.SUCCEEDED, changes=applied.counts, log=applied.log)

    async def _plan(self, spec: StepSpec, verb: str) -> PlanRef:
        """Make a plan and ask the policies; raises when they say no."""
        self._set(spec, StepStatus.PLANNING)
        call = self._call(spec)
        plan = await calls.tool(spec, verb, call, PlanRef, summary=f"{verb.replace('_', ' ')} {spec.id}")
        self._set(spec, StepStatus.CHECKING, plan=plan, changes=plan.counts, log=plan.log)
        before = self._operation.before
        decision = await calls.control(
            names.POLICY_CHECK,
            PolicyCall(
                **_fields(call),
                plan=plan,
                before=before.revision if before else None,
                before_inputs=before.inputs if before else {},
            ),
            Decision,
            summary=f"policies on {spec.id}: {plan.counts}",
        )
        self._set(spec, StepStatus.CHECKING, decision=decision)
        _insist(decision, spec)
        return plan

    async def _apply_plan(self, spec: StepSpec, plan: PlanRef, verb: str) -> Applied:
        """Apply exactly this plan; when reality moved, plan and ask the policies again."""
        for _ in range(MAX_STALE_PLANS):
            self._set(spec, StepStatus.APPLYING)
            try:
                return await calls.tool(
                    spec,
                    names.VERB_APPLY,
                    ApplyCall(**_fields(self._call(spec)), plan=plan),
                    Applied,
                    summary=f"apply {spec.id}: {plan.counts}",
                )
            except ActivityError as error:
                if info_of(error).code != PlanStale.code:
                    raise
                workflow.logger.info("the plan of step %s is stale, planning again", spec.id)
                plan = await self._plan(spec, verb)
        raise PlanStale(
            f"the state moved under {MAX_STALE_PLANS} plans in a row",
            where=f"step {spec.id}",
            hint="something else keeps changing it; find out what with `bond state log`",
        )

    def _call(self, spec: StepSpec) -> StepCall:
        record = self._operation.record
        return StepCall(
            service=record.service,
            labels=self._operation.labels,
            operation=record.number,
            kind=record.kind,
            requested_by=record.requested_by,
            revision=record.revision,
            step=spec.id,
            inputs=self._operation.resolved.inputs,
            outputs=self.outputs,
        )

    def _set(self, spec: StepSpec, status: StepStatus, **fields: Any) -> None:
        """Change a step's record, and what people see of it in the Temporal UI."""
        if status in DONE or status in {StepStatus.FAILED, StepStatus.CANCELLED}:
            fields["finished_at"] = workflow.now()
        self.records[spec.id] = self.records[spec.id].model_copy(update={"status": status, **fields})
        workflow.set_current_details(details.operation(self.describe()))


def _fields(call: StepCall) -> dict[str, Any]:
    """The fields of a call, to build a wider one from."""
    return {name: getattr(call, name) for name in StepCall.model_fields}


def _insist(decision: Decision, spec: StepSpec) -> None:
    """Go on only when the policies allow it."""
    if decision.outcome == "allow":
        return
    findings = [finding for finding in decision.findings if finding.level == decision.outcome]
    problems = [Problem(message=finding.message, hint=finding.policy) for finding in findings]
    if decision.outcome == "deny":
        raise PolicyDenied(
            f"policy denies the plan of step {spec.id}: {'; '.join(finding.message for finding in findings)}",
            where=f"step {spec.id}",
            hint="change the inputs, or ask whoever owns the policy",
            problems=problems,
        )
    raise ApprovalRequired(
        f"the plan of step {spec.id} needs an approval: {'; '.join(finding.message for finding in findings)}",
        where=f"step {spec.id}",
        hint="this release has no approval gate yet, so what needs approval is refused",
        problems=problems,
    )
