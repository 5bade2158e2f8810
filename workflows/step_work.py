"""One step of an operation: plan it, ask the policies, pass the gate, apply exactly that plan."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from temporalio import workflow
from temporalio.exceptions import ActivityError, FailureError

from bondstone.base import names
from bondstone.base.errors import BondError, PlanStale, PolicyDenied, Problem
from bondstone.model.attestation import Permit
from bondstone.model.permit_calls import ApplyPermitCall
from bondstone.model.plan import ChangeCounts, Decision, Finding, Pins, PlanRef
from bondstone.model.service import Approval, OperationInput, StepOutputs, StepRecord, StepSpec, StepStatus
from bondstone.model.step import Applied, ApplyCall, Cover, CoverCall, PolicyCall, StepCall
from bondstone.temporal.failures import info_of
from bondstone.workflows import activity_calls

MAX_STALE_PLANS: Final = 30
"""How often one step plans again because reality moved (a killed worker counts as one) before it gives up."""

MAX_ATTEMPTS: Final = 10
"""How many of the earlier attempts of a step its record tells of."""

DONE: Final = frozenset({StepStatus.SUCCEEDED, StepStatus.UNCHANGED, StepStatus.KEPT, StepStatus.SKIPPED})
SHOWN_REASONS: Final = 3
"""How many of the reasons why a plan goes beyond a preview are told to those who are asked."""

_COUNT_PARTIAL: Final = "count-partial-applies"


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


class StepWork:
    """The work on the steps of one operation, each by itself; their records change as it proceeds.

    Args:
        operation: What they run for.
        keeper: The gate, and who shows progress.
        records: Of the steps, by id.
        pins: Plans beyond these wait for another person's approval; None where there are none.
    """

    def __init__(
        self, operation: OperationInput, keeper: Gatekeeper, records: dict[str, StepRecord], pins: Pins | None
    ) -> None:
        self._operation = operation
        self._keeper = keeper
        self._pins = pins
        self.records = records
        self.outputs: dict[str, StepOutputs] = dict(operation.outputs)
        self.touched = False
        """Whether anything was, or may have been, changed in reality."""

    async def plan(self, spec: StepSpec, verb: str) -> PlanRef:
        """A plan that may be applied: policies allow it, and the approvals that it needs are there."""
        plan, decision = await self.decide(spec, verb)
        insist(decision, spec)
        await self._keeper.pass_gate(spec.id, plan, decision)
        return plan

    def note_attempts(self, spec: StepSpec, ended: Sequence[str]) -> None:
        """Keep in a step's record why earlier attempts ended."""
        known = self.records[spec.id].earlier_attempts
        if ended:
            self.set(spec, self.records[spec.id].status, earlier_attempts=tuple([*known, *ended][-MAX_ATTEMPTS:]))

    async def _plan_again(self, spec: StepSpec, verb: str, approved: PlanRef) -> tuple[PlanRef, ChangeCounts]:
        """A plan in place of a stale one: past the gate already if it does nothing that was not approved.

        Returns:
            The new plan, and what of the stale one is done already.
        """
        plan, decision = await self.decide(spec, verb)
        insist(decision, spec)
        cover = await activity_calls.control(
            names.PLAN_COVERED, CoverCall(approved=approved, new=plan), Cover, summary=f"is {spec.id} covered?"
        )
        if cover.covered:
            workflow.logger.info("the new plan of step %s is covered by the one it replaces", spec.id)
        else:
            await self._keeper.pass_gate(spec.id, plan, decision)
        return plan, cover.carried_out

    async def decide(self, spec: StepSpec, verb: str) -> tuple[PlanRef, Decision]:
        """A plan of a step, and what the policies say of it."""
        self.set(spec, StepStatus.PLANNING)
        call = self.call(spec)
        plan = await activity_calls.tool(spec, verb, call, PlanRef, summary=f"{verb.replace('_', ' ')} {spec.id}")
        self.set(
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
        self.set(spec, StepStatus.CHECKING, decision=decision)
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

    async def apply(self, spec: StepSpec, plan: PlanRef, verb: str) -> Applied:
        """Apply exactly this plan; when reality moved, plan and ask again."""
        work = _Work(plan)
        try:
            return await self._apply_or_plan_again(spec, work, verb)
        except (BondError, FailureError, asyncio.CancelledError):
            if work.begun and workflow.patched(_COUNT_PARTIAL):
                left = work.carried_out + await self._carried_out(spec, verb, work.plan)
                self.set(spec, self.records[spec.id].status, changes=left)
            raise

    async def _apply_or_plan_again(self, spec: StepSpec, work: _Work, verb: str) -> Applied:
        approved = work.plan
        for _ in range(MAX_STALE_PLANS):
            call = await self._permitted(ApplyCall(**_fields(self.call(spec)), plan=work.plan), approved)
            self.touched = work.begun = True
            self.set(spec, StepStatus.APPLYING)
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
                self.note_attempts(spec, info.earlier_attempts or (info.message,))
                plan, done = await self._plan_again(spec, verb, work.plan)
                gate = self._keeper.approval_of(spec.id)
                approved = plan if gate is None or gate.digest == plan.digest else approved
                work.plan = plan
                if info.earlier_attempts:
                    work.carried_out += done
            else:
                self.note_attempts(spec, applied.earlier_attempts)
                return applied.changed(counts=work.carried_out + applied.counts)
        raise PlanStale(
            f"the state changed under {MAX_STALE_PLANS} plans in a row",
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
            new = await activity_calls.glance(spec, verb, self.call(spec), PlanRef, summary=summary)
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

    def call(self, spec: StepSpec) -> StepCall:
        """What every activity of a step is called with."""
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

    def set(self, spec: StepSpec, status: StepStatus, **fields: Any) -> None:
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


def insist(decision: Decision, spec: StepSpec) -> None:
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
