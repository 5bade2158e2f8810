"""Run the step graph of an operation: plan, policy, gate, apply; in dependency order, independent ones at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from temporalio import workflow
from temporalio.exceptions import ActivityError, FailureError, is_cancelled_exception

from bondstone.base import names
from bondstone.base.errors import BondError, ErrorInfo, PlanStale, PolicyDenied, Problem
from bondstone.model.attestation import Permit
from bondstone.model.permit_calls import ApplyPermitCall
from bondstone.model.plan import ChangeCounts, Decision, Finding, PlanRef
from bondstone.model.service import Approval, OperationInput, StepOutputs, StepRecord, StepSpec, StepStatus
from bondstone.model.step import Applied, ApplyCall, Cover, CoverCall, Drift, PolicyCall, StepCall
from bondstone.temporal.failures import info_of
from bondstone.workflows import activity_calls

MAX_STALE_PLANS = 30
"""How often one step plans again because reality moved (a killed worker counts as one) before it gives up."""

MAX_ATTEMPTS = 10
"""How many of the earlier attempts of a step its record tells of."""

_COUNT_PARTIAL = "count-partial-applies"

DONE = frozenset({StepStatus.SUCCEEDED, StepStatus.UNCHANGED, StepStatus.KEPT, StepStatus.SKIPPED})
SHOWN_REASONS = 3
"""How many of the reasons why a plan goes beyond a preview are told to those who are asked."""

PINNED = ("", "removed")
"""Parts whose plans a preview knows: hooks have none in a dry run, and going back is not what was previewed."""

Part = Literal["", "before", "after", "removed", "rollback", "final"]
Run = Callable[[StepSpec], Awaitable[None]]


class Gatekeeper(Protocol):
    """Who lets plans through: the operation workflow, which takes the votes."""

    permit: Permit | None

    async def pass_gate(self, step: str, plan: PlanRef, decision: Decision) -> bool:
        """Wait for the approvals that a plan needs; whether it needed any. Raises when they are refused."""
        ...

    def would_ask(self, step: str, plan: PlanRef, decision: Decision) -> None:
        """Show whom the plan of a dry run would wait for."""
        ...

    def approval_of(self, step: str) -> Approval | None:
        """The newest gate of a step."""
        ...

    def changed(self) -> None:
        """A step's record has changed: show it."""
        ...


class Steps:
    """Some steps of one operation: their records as they change, and the ways to run them.

    Args:
        operation: What they run for; its `resolved` is what they make true.
        keeper: The gate, and who shows progress.
        specs: Which steps; default: all of `resolved`.
        part: Which part of the operation they are.
    """

    def __init__(
        self,
        operation: OperationInput,
        keeper: Gatekeeper,
        *,
        specs: Sequence[StepSpec] | None = None,
        part: Part = "",
    ) -> None:
        self._operation = operation
        self._keeper = keeper
        self._pins = operation.pins if part in PINNED else None
        chosen = operation.resolved.steps if specs is None else specs
        self.specs = {spec.id: spec for spec in chosen}
        self.records = {
            spec.id: StepRecord(id=spec.id, executor=spec.executor, pool=spec.pool, part=part) for spec in chosen
        }
        self.outputs: dict[str, StepOutputs] = dict(operation.outputs)
        self.touched = False
        """Whether anything was, or may have been, changed in reality."""

    def first_error(self) -> ErrorInfo | None:
        """Why they cannot succeed: the first failed step's error, with the step as its place."""
        for record in self.records.values():
            if record.status is StepStatus.FAILED and record.error:
                return record.error.changed(where=record.error.where or f"step {record.id}")
        return None

    async def apply_all(self) -> None:
        """Plan, check and apply every step after those it needs; what is kept or skipped is left alone."""
        kept = {record.id: record for record in self._operation.kept}
        await self._run_graph(self._needs(), lambda spec: self._apply(spec, kept))

    async def plan_all(self) -> None:
        """A dry run: plan and check what can be planned with values that are known, defer the rest."""
        await self._run_graph(self._needs(), self._dry_run, done=DONE | {StepStatus.DEFERRED})

    async def plan_destroy_all(self) -> None:
        """A dry run of taking everything down: plan and check it."""
        await self._run_graph(self._needed_by(), self._dry_destroy)

    async def repair_all(self, *, repair: bool) -> None:
        """Look for drift in every step; with `repair`, plan, check and apply what undoes it."""
        await self._run_graph(self._needs(), lambda spec: self._reconcile(spec, repair=repair))

    async def destroy_all(self) -> None:
        """Plan, check and destroy every step before those it needs."""
        await self._run_graph(self._needed_by(), self._destroy)

    def drift_count(self) -> int:
        """How many objects differ, over all steps."""
        return sum(record.changes.total for record in self.records.values() if record.drift)

    def _needs(self) -> dict[str, tuple[str, ...]]:
        return {spec.id: tuple(step for step in spec.needs if step in self.specs) for spec in self.specs.values()}

    def _needed_by(self) -> dict[str, tuple[str, ...]]:
        return {
            spec.id: tuple(other.id for other in self.specs.values() if spec.id in other.needs)
            for spec in self.specs.values()
        }

    async def _run_graph(
        self, after: Mapping[str, Sequence[str]], run: Run, *, done: frozenset[StepStatus] = DONE
    ) -> None:
        """Run every step once those in `after` are done; block those behind a failure; pass a cancel on."""
        tasks: dict[str, asyncio.Task[None]] = {}

        async def one(spec: StepSpec) -> None:
            await asyncio.gather(*(asyncio.shield(tasks[step]) for step in after[spec.id]))
            if all(self.records[step].status in done for step in after[spec.id]):
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

    def _ordered(self, after: Mapping[str, Sequence[str]]) -> list[StepSpec]:
        """The specs, each behind those it waits for; resolve orders by `needs`, so one direction is enough."""
        specs = list(self.specs.values())
        forward = all(
            step in {earlier.id for earlier in specs[:index]}
            for index, spec in enumerate(specs)
            for step in after[spec.id]
        )
        return specs if forward else specs[::-1]

    async def _guarded(self, spec: StepSpec, run: Run) -> None:
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
            info = info_of(error)
            self._note_attempts(spec, info.earlier_attempts)
            self._set(spec, StepStatus.FAILED, error=info)

    # One step ------------------------------------------------------------------------------------------------

    async def _apply(self, spec: StepSpec, kept: Mapping[str, StepRecord]) -> None:
        if spec.skip:
            self._set(spec, StepStatus.SKIPPED)
            return
        if spec.id in kept:
            earlier = kept[spec.id]
            if earlier.outputs:
                self.outputs[spec.id] = earlier.outputs
            self._set(
                spec, StepStatus.KEPT, outputs=earlier.outputs, plan=earlier.plan, changes=earlier.changes,
                failed_checks=earlier.failed_checks,
            )  # fmt: skip
            return
        plan = await self._plan(spec, names.VERB_PLAN)
        known = self.outputs.get(spec.id)
        if plan.empty and known:
            self._set(spec, StepStatus.UNCHANGED, outputs=known)
            return
        applied = await self._apply_plan(spec, plan, names.VERB_PLAN)
        self.outputs[spec.id] = applied.outputs
        status = StepStatus.UNCHANGED if applied.counts.total == 0 and plan.empty else StepStatus.SUCCEEDED
        self._set(
            spec, status, outputs=applied.outputs, changes=applied.counts, log=applied.log,
            failed_checks=applied.failed_checks,
        )  # fmt: skip

    async def _dry_run(self, spec: StepSpec) -> None:
        if spec.skip:
            self._set(spec, StepStatus.SKIPPED)
            return
        unknown = [
            step
            for step in spec.uses
            if step not in self.outputs
            or (step in self.records and self.records[step].status is not StepStatus.UNCHANGED)
        ]
        if unknown:
            self._set(spec, StepStatus.DEFERRED)
            return
        await self._dry_plan(spec, names.VERB_PLAN)

    async def _dry_destroy(self, spec: StepSpec) -> None:
        if spec.skip:
            self._set(spec, StepStatus.SKIPPED)
            return
        await self._dry_plan(spec, names.VERB_PLAN_DESTROY)

    async def _dry_plan(self, spec: StepSpec, verb: str) -> None:
        plan, decision = await self._plan_and_decide(spec, verb)
        _insist(decision, spec)
        self._keeper.would_ask(spec.id, plan, decision)
        self._set(spec, StepStatus.UNCHANGED if plan.empty else StepStatus.SUCCEEDED)

    async def _reconcile(self, spec: StepSpec, *, repair: bool) -> None:
        if spec.skip:
            self._set(spec, StepStatus.SKIPPED)
            return
        drift = await activity_calls.tool(
            spec, names.VERB_DETECT_DRIFT, self._call(spec), Drift, summary=f"look for drift in {spec.id}"
        )
        if self._operation.recheck and (drift.count == 0 or not repair):
            _, decision = await self._plan_and_decide(spec, names.VERB_PLAN)
            _insist(decision, spec)
        if drift.count == 0 or not repair:
            self._set(
                spec, StepStatus.UNCHANGED, drift=drift.addresses, changes=drift.counts, log=drift.log,
                outputs=self.outputs.get(spec.id), failed_checks=drift.failed_checks,
            )  # fmt: skip
            return
        self._set(spec, StepStatus.PLANNING, drift=drift.addresses)
        plan = await self._plan(spec, names.VERB_PLAN)
        applied = await self._apply_plan(spec, plan, names.VERB_PLAN)
        self.outputs[spec.id] = applied.outputs
        self._set(
            spec, StepStatus.SUCCEEDED, outputs=applied.outputs, changes=applied.counts, log=applied.log, drift=(),
            failed_checks=applied.failed_checks,
        )  # fmt: skip

    async def _destroy(self, spec: StepSpec) -> None:
        if spec.skip:
            self._set(spec, StepStatus.SKIPPED)
            return
        plan = await self._plan(spec, names.VERB_PLAN_DESTROY)
        if plan.empty:
            self.outputs.pop(spec.id, None)
            self._set(spec, StepStatus.UNCHANGED)
            return
        applied = await self._apply_plan(spec, plan, names.VERB_PLAN_DESTROY)
        self.outputs.pop(spec.id, None)
        self._set(spec, StepStatus.SUCCEEDED, changes=applied.counts, log=applied.log)

    # Plan, policy, gate, apply -------------------------------------------------------------------------------

    async def _plan(self, spec: StepSpec, verb: str) -> PlanRef:
        """A plan that may be applied: policies allow it, and people have given their word where it is needed."""
        plan, decision = await self._plan_and_decide(spec, verb)
        _insist(decision, spec)
        await self._keeper.pass_gate(spec.id, plan, decision)
        return plan

    def _note_attempts(self, spec: StepSpec, ended: Sequence[str]) -> None:
        known = self.records[spec.id].earlier_attempts
        if ended:
            self._set(spec, self.records[spec.id].status, earlier_attempts=tuple([*known, *ended][-MAX_ATTEMPTS:]))

    async def _plan_again(self, spec: StepSpec, verb: str, approved: PlanRef) -> tuple[PlanRef, ChangeCounts]:
        """A plan in place of a stale one: past the gate already if it does nothing that was not approved.

        Returns:
            The new plan, and what of the stale one is done already.
        """
        plan, decision = await self._plan_and_decide(spec, verb)
        _insist(decision, spec)
        cover = await activity_calls.control(
            names.PLAN_COVERED, CoverCall(approved=approved, new=plan), Cover, summary=f"is {spec.id} covered?"
        )
        if cover.covered:
            workflow.logger.info("the new plan of step %s is covered by the one it replaces", spec.id)
        else:
            await self._keeper.pass_gate(spec.id, plan, decision)
        return plan, cover.carried_out

    async def _plan_and_decide(self, spec: StepSpec, verb: str) -> tuple[PlanRef, Decision]:
        self._set(spec, StepStatus.PLANNING)
        call = self._call(spec)
        plan = await activity_calls.tool(spec, verb, call, PlanRef, summary=f"{verb.replace('_', ' ')} {spec.id}")
        self._set(
            spec,
            StepStatus.CHECKING,
            plan=plan,
            changes=plan.counts,
            log=plan.log,
            failed_checks=plan.failed_checks,
        )
        if plan.empty and plan.destroy:
            return plan, Decision(
                outcome="allow"
            )  # nothing stands, so nothing is taken down: there is no question
        before = self._operation.before
        decision = await activity_calls.control(
            names.POLICY_CHECK,
            PolicyCall(
                **_fields(call),
                plan=plan,
                before=before.revision if before else None,
                before_inputs=before.inputs if before else {},
                parents=self._operation.parents,
                parts={each.id: each.part for each in self._operation.resolved.steps if each.part},
            ),
            Decision,
            summary=f"policies on {spec.id}: {plan.counts}",
        )
        decision = await self._pinned(spec, plan, decision)
        self._set(spec, StepStatus.CHECKING, decision=decision)
        return plan, decision

    async def _pinned(self, spec: StepSpec, plan: PlanRef, decision: Decision) -> Decision:
        """The decision, which asks people when the plan goes beyond what the pinned preview showed."""
        if self._pins is None or plan.empty or decision.outcome == "deny":
            return decision
        approved = self._pins.plans.get(spec.id)
        reasons: tuple[str, ...] = ("the preview has no plan of this step",)
        if approved is not None and approved.destroy == plan.destroy:
            cover = await activity_calls.control(
                names.PLAN_COVERED, CoverCall(approved=approved, new=plan), Cover, summary=f"is {spec.id} pinned?"
            )
            if cover.covered:
                return decision
            reasons = cover.reasons
        message = f"beyond the pinned preview {self._pins.preview[:12]}: {'; '.join(reasons[:SHOWN_REASONS])}"
        finding = Finding(level="approval", message=message, policy="pinned preview")
        return decision.changed(outcome="approval", findings=(*decision.findings, finding))

    async def _apply_plan(self, spec: StepSpec, plan: PlanRef, verb: str) -> Applied:
        """Apply exactly this plan; when reality moved, plan and ask again."""
        work = _Work(plan)
        try:
            return await self._apply_or_plan_again(spec, work, verb)
        except (BondError, FailureError, asyncio.CancelledError):
            if work.begun and workflow.patched(_COUNT_PARTIAL):
                left = work.carried_out + await self._carried_out(spec, verb, work.plan)
                self._set(spec, self.records[spec.id].status, changes=left)
            raise

    async def _apply_or_plan_again(self, spec: StepSpec, work: _Work, verb: str) -> Applied:
        approved = work.plan
        for _ in range(MAX_STALE_PLANS):
            call = await self._permitted(ApplyCall(**_fields(self._call(spec)), plan=work.plan), approved)
            self.touched = work.begun = True
            self._set(spec, StepStatus.APPLYING)
            try:
                applied = await activity_calls.tool(
                    spec,
                    names.VERB_APPLY,
                    call,
                    Applied,
                    summary=f"apply {spec.id}: {work.plan.counts}",
                )
            except ActivityError as error:
                info = info_of(error)
                if info.code != PlanStale.code:
                    raise
                workflow.logger.info("the plan of step %s is stale, planning again", spec.id)
                # Without an attempt before it, the state was moved by somebody else.
                self._note_attempts(spec, info.earlier_attempts or (info.message,))
                plan, done = await self._plan_again(spec, verb, work.plan)
                gate = self._keeper.approval_of(spec.id)
                approved = plan if gate is None or gate.digest == plan.digest else approved
                work.plan = plan
                if info.earlier_attempts:
                    work.carried_out += done
            else:
                self._note_attempts(spec, applied.earlier_attempts)
                return applied.changed(counts=work.carried_out + applied.counts)
        raise PlanStale(
            f"the state moved under {MAX_STALE_PLANS} plans in a row",
            where=f"step {spec.id}",
            hint="something else keeps changing it; find out what with `bond state log`",
        )

    async def _carried_out(self, spec: StepSpec, verb: str, plan: PlanRef) -> ChangeCounts:
        """What of a plan was done before its apply failed or was cancelled: what is not planned any more.

        Where that cannot be planned soon, nothing is claimed.
        """
        if spec.executor == names.SERVICE_EXECUTOR:
            return ChangeCounts()  # the operation of the part counts its own
        try:
            summary = f"what of the plan of {spec.id} was done?"
            new = await activity_calls.glance(spec, verb, self._call(spec), PlanRef, summary=summary)
            call = CoverCall(approved=plan, new=new)
            cover = await activity_calls.control(names.PLAN_COVERED, call, Cover, summary=summary)
        except FailureError:
            return ChangeCounts()
        return cover.carried_out

    async def _permitted(self, call: ApplyCall, approved: PlanRef) -> ApplyCall:
        """The call with the permit to apply its plan, where permits are demanded.

        Args:
            call: What will be applied.
            approved: The plan that people approved; another one when this one does nothing beyond it.
        """
        if self._keeper.permit is None:
            return call
        covers = approved if approved.digest != call.plan.digest else None
        wanted = ApplyPermitCall(call=call, approval=self._keeper.approval_of(call.step), covers=covers)
        permit = await activity_calls.control(
            names.PERMIT_APPLY, wanted, Permit, summary=f"permit to apply {call.step}"
        )
        return call.changed(apply_permit=permit)

    def _call(self, spec: StepSpec) -> StepCall:
        record = self._operation.record
        return StepCall(
            service=record.service,
            labels=self._operation.labels,
            operation=record.number,
            kind=record.kind,
            requested_by=record.requested_by,
            revision=self._operation.resolved.revision,
            step=spec.id,
            inputs=self._operation.resolved.inputs,
            outputs=self.outputs,
            dry_run=record.dry_run,
            permit=self._keeper.permit,
        )

    def _set(self, spec: StepSpec, status: StepStatus, **fields: Any) -> None:
        """Change a step's record, and what people see of it."""
        if status in DONE or status in {StepStatus.FAILED, StepStatus.CANCELLED}:
            fields["finished_at"] = workflow.now()
        self.records[spec.id] = self.records[spec.id].changed(status=status, **fields)
        self._keeper.changed()


@dataclass(slots=True)
class _Work:
    """How far the apply of one step has come."""

    plan: PlanRef
    """The plan that is applied, or was last."""
    begun: bool = False
    """Whether a tool was told to apply it."""
    carried_out: ChangeCounts = field(default_factory=ChangeCounts)
    """What attempts under plans before it have done."""


def _fields(call: StepCall) -> dict[str, Any]:
    """The fields of a call, to build a wider one from."""
    return {name: getattr(call, name) for name in StepCall.model_fields}


def _insist(decision: Decision, spec: StepSpec) -> None:
    """Go on only when no policy denies."""
    if decision.outcome != "deny":
        return
    findings = [finding for finding in decision.findings if finding.level == "deny"]
    raise PolicyDenied(
        f"policy denies the plan of step {spec.id}: {'; '.join(finding.message for finding in findings)}",
        where=f"step {spec.id}",
        hint="change the inputs, or ask the owner of the policy",
        problems=[Problem(message=finding.message, hint=finding.policy) for finding in findings],
    )
