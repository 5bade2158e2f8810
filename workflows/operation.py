"""What every operation workflow has in common: its records, its gate, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Final

from temporalio import workflow
from temporalio.exceptions import FailureError, is_cancelled_exception

from bondstone.base import names
from bondstone.base.errors import ApprovalRejected, BondError, ErrorInfo
from bondstone.model.approval import voted
from bondstone.model.attestation import Permit
from bondstone.model.ledger import LedgerRecord
from bondstone.model.permit_calls import OperationPermitCall
from bondstone.model.plan import Decision, PlanRef
from bondstone.model.service import (
    Approval,
    OperationInput,
    OperationRecord,
    OperationResult,
    OperationStatus,
    StepSpec,
    Vote,
    VoteCall,
)
from bondstone.temporal.failures import info_of, to_failure
from bondstone.workflows import activity_calls, attested, details, gate, outcome, search_attributes
from bondstone.workflows.steps import Part, Steps

LISTED_BY_TEMPORAL: Final = frozenset({OperationStatus.SUCCEEDED, OperationStatus.FAILED})
"""What the status of the workflow says by itself; the other ends are failures to Temporal."""

Body = Callable[[], Awaitable[ErrorInfo | None]]


class OperationWorkflow:
    """Base of the operation workflows; each says in its own `run` what it does, in words of this class."""

    @workflow.init
    def __init__(self, operation: OperationInput) -> None:
        self.operation = operation
        self.result = OperationResult(status=OperationStatus.RUNNING, stands="before")
        self.parts: list[Steps] = []
        self._approvals: dict[str, Approval] = {}
        self._past_approvals: list[Approval] = []
        self.permit: Permit | None = None
        """Of the control workers, where permits are demanded."""

    def steps(self, part: Part = "", **how: Any) -> Steps:
        """Some steps of this operation; their records show from now on."""
        operation: OperationInput = how.pop("operation", self.operation)
        steps = Steps(operation, self, part=part, **how)
        self.parts.append(steps)
        return steps

    def hooks(self, wanted: tuple[str, ...], part: Part, *, outputs: Steps | None = None) -> Steps | None:
        """The hook steps of these ids, or None when there are none."""
        known = {spec.id: spec for spec in self.operation.resolved.day_two.hooks}
        specs: list[StepSpec] = [known[step] for step in wanted if step in known]
        if not specs:
            return None
        operation = self.operation
        if outputs is not None:
            operation = operation.changed(outputs=outputs.outputs)
        return self.steps(part, specs=specs, operation=operation)

    async def perform(self, body: Body) -> OperationResult:
        """Run the body; a cancel and every error end the workflow with what was done in its failure.

        Args:
            body: Does the work; gives the error the operation ends with, or None when it succeeded.
        """
        error: ErrorInfo | None
        try:
            await self._ask_permit()
            error = await body()
            await workflow.wait_condition(workflow.all_handlers_finished)
        except (FailureError, asyncio.CancelledError) as caught:
            if is_cancelled_exception(caught):
                raise outcome.cancelled(self._ended(OperationStatus.CANCELLED, None)) from None
            error = info_of(caught)
        except BondError as caught:
            error = caught.info()
        if error is None:
            return self._ended(OperationStatus.SUCCEEDED, None)
        if self.result.status is OperationStatus.ROLLED_BACK:
            raise outcome.failure(self._ended(OperationStatus.ROLLED_BACK, error))
        rejected = error.code == ApprovalRejected.code
        raise outcome.failure(self._ended(OperationStatus.REJECTED if rejected else OperationStatus.FAILED, error))

    async def _ask_permit(self) -> None:
        """Have control workers permit the operation, where the service lives under attestation."""
        if self.operation.attested:
            call = OperationPermitCall(operation=self.operation)
            self.permit = await activity_calls.control(names.PERMIT_OPERATION, call, Permit, summary="permit")

    # The gate ------------------------------------------------------------------------------------------------

    async def pass_gate(self, step: str, plan: PlanRef, decision: Decision) -> bool:
        """Wait for the approvals that this plan needs, for as long as it takes; whether it needed any.

        Raises:
            ApprovalRejected: somebody said no, or nobody said yes in time.
        """
        required = gate.needs(self.operation, plan, decision)
        if not required:
            return False
        self._put(gate.opened(step, plan, required, decision, workflow.now()))
        await self._say_waiting()
        approval = await self._decided(step, plan.digest)
        await self._say_waiting()
        if approval.status == "approved":
            return True
        raise ApprovalRejected(
            _why(approval), where=f"step {step}", hint="change what was asked for, then ask again"
        )

    def approval_of(self, step: str) -> Approval | None:
        """The newest gate of a step."""
        return self._approvals.get(step)

    def would_ask(self, step: str, plan: PlanRef, decision: Decision) -> None:
        """Show whom this plan of a dry run would wait for, and wait for nobody."""
        required = gate.needs(self.operation, plan, decision)
        if required:
            opened = gate.opened(step, plan, required, decision, workflow.now())
            self._put(opened.changed(status="would-ask", expires_at=None))

    @workflow.update(name=names.UPDATE_APPROVE)
    async def approve(self, call: VoteCall) -> Approval:
        """Take a person's word for a plan."""
        return await self._vote(call, approve=True)

    @approve.validator
    def _validate_approve(self, call: VoteCall) -> None:
        self._insist_attested(call, "approval.approve")
        self._check(call, approve=True)

    @workflow.update(name=names.UPDATE_REJECT)
    async def reject(self, call: VoteCall) -> Approval:
        """Take a person's word against a plan: the operation ends."""
        return await self._vote(call, approve=False)

    @reject.validator
    def _validate_reject(self, call: VoteCall) -> None:
        self._insist_attested(call, "approval.reject")
        self._check(call, approve=False)

    def _insist_attested(self, call: VoteCall, verb: str) -> None:
        attested.check(call, verb=verb, target=self.operation.record.id, by=call.by, roles=call.roles)

    def _check(self, call: VoteCall, *, approve: bool) -> None:
        try:
            gate.check_vote(
                self._approvals.get(call.step),
                call,
                requested_by=self.operation.record.requested_by,
                approve=approve,
            )
        except BondError as error:
            raise to_failure(error) from None

    async def _vote(self, call: VoteCall, *, approve: bool) -> Approval:
        self._check(call, approve=approve)
        vote = Vote(
            by=call.by,
            roles=call.roles,
            approve=approve,
            comment=call.comment,
            at=workflow.now(),
            attestation=call.attestation,
        )
        requester = self.operation.record.requested_by
        approval = voted(self._approvals[call.step], vote, requested_by=requester)
        self._put(approval)
        await self._signal(names.SIGNAL_RECORD, self._vote_record(approval, vote))
        return approval

    async def _decided(self, step: str, digest: str) -> Approval:
        """The gate once it is no longer waiting; expired when its time is over first."""
        approval = self._approvals[step]
        left = approval.expires_at - workflow.now() if approval.expires_at else None
        within = max(left, timedelta(0)) if left is not None else None

        def decided() -> bool:
            return self._approvals[step].status != "waiting"

        try:
            await workflow.wait_condition(decided, timeout=within)
        except TimeoutError:
            self._put(self._approvals[step].changed(status="expired"))
        approved = self._approvals[step]
        if approved.digest != digest:
            raise ApprovalRejected("a newer plan replaced this one at the gate", where=f"step {step}")
        return approved

    def _put(self, approval: Approval) -> None:
        earlier = self._approvals.get(approval.step)
        if earlier is not None and earlier.digest != approval.digest:
            self._past_approvals.append(earlier)
        self._approvals[approval.step] = approval
        self.changed()

    def _waiting(self) -> bool:
        return any(approval.status == "waiting" for approval in self._approvals.values())

    async def _say_waiting(self) -> None:
        """Tell lists, and the service, whether the operation waits for people."""
        status = OperationStatus.AWAITING_APPROVAL if self._waiting() else OperationStatus.RUNNING
        self._list_as(status)
        record = self.operation.record.changed(status=status)
        await self._signal(names.SIGNAL_WAITING, record)

    def _list_as(self, status: OperationStatus) -> None:
        workflow.upsert_search_attributes(search_attributes.status_of_operation(status, workflow.now()))

    async def _signal(self, name: str, argument: Any) -> None:
        """Tell the service; before the operation ends, so that what it says is in the ledger first."""
        service = self.operation.record.service
        handle = workflow.get_external_workflow_handle(names.service_workflow_id(service.team, service.name))
        await handle.signal(name, argument)

    def _vote_record(self, approval: Approval, vote: Vote) -> LedgerRecord:
        record = self.operation.record
        kind = "approval" if vote.approve else "rejection"
        return LedgerRecord(
            kind=kind,
            service=record.service,
            sequence=f"op-{record.number}-{approval.step}-{approval.digest[:12]}-{kind}-{len(approval.votes)}",
            at=vote.at,
            by=vote.by,
            reason=vote.comment,
            operation=record.number,
            operation_kind=record.kind,
            approvals=(approval,),
        )

    # What people see -----------------------------------------------------------------------------------------

    def record(self) -> OperationRecord:
        """The operation as it stands now."""
        status = OperationStatus.AWAITING_APPROVAL if self._waiting() else OperationStatus.RUNNING
        records = [record for part in self.parts for record in part.records.values()]
        return self.operation.record.changed(
            status=status,
            steps=tuple(records),
            approvals=(*self._past_approvals, *self._approvals.values()),
            retained=self.result.retained,
            drift=sum(part.drift_count() for part in self.parts),
        )

    @workflow.query(name=names.QUERY_DESCRIBE)
    def describe(self) -> OperationRecord:
        """The operation as it stands now."""
        return self.record()

    def changed(self) -> None:
        """Show the operation as it stands in the Temporal UI."""
        workflow.set_current_details(details.operation(self.record()))

    def _ended(self, status: OperationStatus, error: ErrorInfo | None) -> OperationResult:
        record = self.record()
        workflow.set_current_details(details.operation(record.changed(status=status, error=error)))
        if status not in LISTED_BY_TEMPORAL and workflow.patched("list-how-it-ended"):
            self._list_as(status)
        return self.result.changed(
            status=status,
            steps=record.steps,
            approvals=record.approvals,
            drift=record.drift,
            error=error,
        )


def _why(approval: Approval) -> str:
    for vote in approval.votes:
        if not vote.approve:
            return f"{vote.by} rejected the plan of step {approval.step}: {vote.comment}"
    return f"nobody approved the plan of step {approval.step} in time"
