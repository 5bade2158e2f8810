"""The operations of a service: each is run as a child workflow, written into the ledger, and committed."""

from __future__ import annotations

from temporalio import workflow
from temporalio.exceptions import (
    ChildWorkflowError,
    FailureError,
    WorkflowAlreadyStartedError,
    is_cancelled_exception,
)

from bondstone.base import names
from bondstone.base.errors import BondError, ErrorInfo, Refused, from_info
from bondstone.base.printable import asked_by
from bondstone.model.service import (
    OperationInput,
    OperationRecord,
    OperationResult,
    OperationStatus,
    PartChanged,
    PendingOperation,
    Resolved,
    ServiceState,
)
from bondstone.temporal.failures import info_of
from bondstone.workflows import admission, ledger_records, outcome, search_attributes
from bondstone.workflows.commit import commit, next_due
from bondstone.workflows.dependants import to_tell
from bondstone.workflows.submissions import Submissions


class ServiceOperations:
    """Runs the operations of one service.

    Args:
        submissions: What campaigns have asked for, and the service's entity.
    """

    def __init__(self, submissions: Submissions) -> None:
        self._submissions = submissions
        self._entity = submissions.entity

    @property
    def _state(self) -> ServiceState:
        return self._entity.state

    async def run(self, pending: PendingOperation) -> None:
        """Run the first operation of the queue, write the ledger, commit."""
        record = pending.record.changed(
            status=OperationStatus.RUNNING,
            started_at=workflow.now(),
        )
        try:
            pending = await self._resolved_again(pending)
        except BondError as error:
            result = OperationResult(status=OperationStatus.FAILED, stands="before", error=error.info())
        else:
            before = self._before(record)
            record = record.changed(
                revision=pending.resolved.revision,
                before=before.revision if before else None,
            )
            running = pending.changed(record=record)
            self._entity.state = self._state.changed(queue=(running, *self._state.queue[1:]))
            self._entity.show()
            result = await self._run_child(record, pending)
        ended = record.changed(
            status=result.status,
            steps=result.steps,
            approvals=result.approvals,
            drift=result.drift,
            retained=result.retained,
            error=self._error(record, result),
            finished_at=workflow.now(),
        )
        await self._entity.record(ledger_records.of_operation(self._state, ended, pending, workflow.now()))
        earlier = self._state
        self._entity.state = commit(self._state, pending, ended, result)
        self._entity.state = self._state.changed(next_due=next_due(self._state, workflow.now()))
        self._entity.show()
        await self._tell_parents(earlier, pending, ended)
        await self._submissions.ended(record.number)

    async def _resolved_again(self, pending: PendingOperation) -> PendingOperation:
        """Resolve again what was resolved on the assumption that an operation ahead succeeds, when it did not."""
        ahead = admission.find_record(self._state, pending.after) if pending.after else None
        if ahead is None or ahead.status is OperationStatus.SUCCEEDED or pending.request is None:
            return pending
        request = pending.request.changed(request_id=f"{pending.request.request_id[:100]}.again")
        admission.check_request(self._state.changed(queue=()), request)
        try:
            # Attested is what was asked, its id included.
            attested_request = pending.request if request.attestation else request
            resolution = await self._entity.resolve(attested_request, None)
        except FailureError as error:
            if is_cancelled_exception(error):
                raise
            raise from_info(info_of(error)) from None
        return pending.changed(resolved=resolution.resolved)

    async def _run_child(self, record: OperationRecord, pending: PendingOperation) -> OperationResult:
        try:
            self._entity.child = await self._start_child(record, pending)
        except WorkflowAlreadyStartedError:
            error = Refused(
                "a workflow of that operation is still running",
                where=record.workflow_id,
                hint="the service was ended by force while it ran; terminate that workflow too, then retry",
            )
            return OperationResult(status=OperationStatus.FAILED, stands="before", error=error.info())
        if record.number in self._entity.cancels:
            self._entity.child.cancel()
        try:
            return await self._entity.child
        except ChildWorkflowError as error:
            return outcome.result_of(error)
        finally:
            self._entity.child = None

    async def _start_child(
        self, record: OperationRecord, pending: PendingOperation
    ) -> workflow.ChildWorkflowHandle[OperationInput, OperationResult]:
        retried = admission.find_record(self._state, record.retry_of) if record.retry_of else None
        return await workflow.start_child_workflow(
            names.OPERATION_WORKFLOWS[record.kind],
            OperationInput(
                record=record,
                resolved=pending.resolved,
                labels=self._state.labels,
                kept=admission.kept_steps(self._state, retried) if retried else (),
                before=self._before(record),
                outputs=self._state.step_outputs,
                parents=self._state.dependants,
                **pending.options(),
                attestation=pending.attestation,
                attested=pending.attested,
            ),
            id=record.workflow_id,
            result_type=OperationResult,
            task_queue=names.CONTROL_QUEUE,
            parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
            search_attributes=search_attributes.of_operation(record),
            memo={names.MEMO_DRY_RUN: True} if record.dry_run else None,
            static_summary=f"{record.kind} {record.service} with {record.revision}",
            static_details=asked_by(record.requested_by, record.reason),
        )

    def _before(self, record: OperationRecord) -> Resolved | None:
        """What the service stood on: for a retry, before the operation that is retried."""
        if record.retry_of and self._state.healthy:
            return self._state.healthy[-1]
        return self._state.resolved

    def _error(self, record: OperationRecord, result: OperationResult) -> ErrorInfo | None:
        """The operation's error, with who cancelled it and why."""
        call = self._entity.cancels.get(record.number)
        if call is None or result.error is None or result.status is not OperationStatus.CANCELLED:
            return result.error
        why = f": {call.reason}" if call.reason else ""
        return result.error.changed(message=f"cancelled by {call.requested_by}{why}")

    async def _tell_parents(self, before: ServiceState, pending: PendingOperation, ended: OperationRecord) -> None:
        asker = pending.request.parent if pending.request is not None else None
        call = PartChanged(part=self._state.service, operation=ended.id)
        for parent in to_tell(before, self._state, ended, asker):
            target = names.service_workflow_id(parent.service.team, parent.service.name)
            try:
                await workflow.get_external_workflow_handle(target).signal(names.SIGNAL_PART_CHANGED, call)
            except FailureError as error:
                if is_cancelled_exception(error):
                    raise
                workflow.logger.warning("the parent is gone", extra={"parent": str(parent.service)})
