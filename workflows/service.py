"""Service: one workflow for one service, from the first request to the end of its decommission.

It accepts requests, runs their operations one at a time as child workflows, commits what each changed, writes the
ledger, and continues as new after each, so that its history stays short however long it lives.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, ChildWorkflowError

from bondstone import names
from bondstone.errors import BondError, ErrorInfo, from_info
from bondstone.model.failure import bounded, info_of, to_failure
from bondstone.model.ledger import LedgerEntry, LedgerRecord
from bondstone.model.service import (
    Accepted,
    CancelCall,
    LabelsCall,
    OperationInput,
    OperationKind,
    OperationRecord,
    OperationResult,
    OperationStatus,
    PendingOperation,
    Phase,
    Request,
    Resolution,
    ResolveCall,
    ServiceState,
)
from workflows import admission, attributes, calls, details, ending
from workflows.commit import commit, drop_pending, phase_of, remember_request

FIRST_REQUEST_WITHIN: Final = timedelta(hours=1)
"""How long a service that was started without a request waits for one."""

_OPERATION_WORKFLOWS = {
    OperationKind.PROVISION: names.PROVISION_WORKFLOW,
    OperationKind.DECOMMISSION: names.DECOMMISSION_WORKFLOW,
}


@workflow.defn(name=names.SERVICE_WORKFLOW)
class Service:
    """The entity. Its whole state is one frozen model, replaced at each change."""

    @workflow.init
    def __init__(self, state: ServiceState) -> None:
        self._state = state
        self._admission = asyncio.Lock()
        self._ledger = asyncio.Lock()
        self._refused: ErrorInfo | None = None
        self._cancels: dict[int, CancelCall] = {}
        self._child: workflow.ChildWorkflowHandle[OperationInput, OperationResult] | None = None
        self._shown = attributes.of_service(state) if admission.exists(state) else None

    @workflow.run
    async def run(self, state: ServiceState) -> ServiceState:
        """Live until decommissioned; the last state is the result."""
        del state  # taken by __init__, which updates that arrive with the start need
        workflow.set_current_details(details.service(self._state))
        if not await self._work():
            return await self._never_was()
        pending = self._state.queue[0] if self._state.queue else None
        if pending is not None:
            await self._operate(pending)
        await workflow.wait_condition(workflow.all_handlers_finished)
        if self._state.phase is not Phase.DECOMMISSIONED:
            workflow.continue_as_new(self._state)
        return self._state

    # What people and programs ask ------------------------------------------------------------------------

    @workflow.update(name=names.UPDATE_REQUEST_OPERATION)
    async def request_operation(self, request: Request) -> Accepted:
        """Accept an operation, or refuse it in words; the same request id gives the same answer."""
        async with self._admission:
            repeated = self._repeated(request)
            if repeated is not None:
                return repeated
            try:
                admission.check_request(self._state, request)  # again: others may have come before
                return await self._accept(request)
            except BondError as error:
                self._refused = error.info()
                raise to_failure(error) from None
            except ActivityError as error:
                self._refused = bounded(info_of(error))
                raise to_failure(from_info(self._refused)) from None

    @request_operation.validator
    def _validate_request(self, request: Request) -> None:
        _in_words(lambda: admission.check_request(self._state, request))

    @workflow.update(name=names.UPDATE_CANCEL_OPERATION)
    async def cancel_operation(self, call: CancelCall) -> OperationRecord:
        """Drop an operation that waits, or stop the one that runs; returns its record as it was."""
        record = admission.find_pending(self._state, call.number)
        if record is None:  # it ended while this update was on its way
            raise to_failure(_refusal(self._state, call))
        if call.number in self._cancels:
            return record
        self._cancels[call.number] = call
        if self._state.queue[0].record.number == call.number:
            if self._child is not None:
                self._child.cancel()
        else:
            self._state = drop_pending(self._state, call, workflow.now())
        await self._record(self._cancellation(record, call))
        self._show()
        return record

    @cancel_operation.validator
    def _validate_cancel(self, call: CancelCall) -> None:
        _in_words(lambda: admission.check_cancel(self._state, call))

    @workflow.update(name=names.UPDATE_SET_LABELS)
    async def set_labels(self, call: LabelsCall) -> dict[str, str]:
        """Set and remove labels; returns all that the service has now."""
        removed = {key: value for key, value in self._state.labels.items() if key not in call.remove}
        self._state = self._state.model_copy(update={"labels": removed | call.set})
        self._show()
        return self._state.labels

    @set_labels.validator
    def _validate_labels(self, call: LabelsCall) -> None:
        _in_words(lambda: admission.check_labels(self._state, call))

    @workflow.query(name=names.QUERY_DESCRIBE)
    def describe(self) -> ServiceState:
        """The whole state. Lists use search attributes instead: a query wakes a worker."""
        return self._state

    # Accepting -------------------------------------------------------------------------------------------

    def _repeated(self, request: Request) -> Accepted | None:
        number = self._state.seen_requests.get(request.request_id)
        record = admission.find_record(self._state, number) if number else None
        if record is None:
            return None
        return Accepted(
            service=record.service, number=record.number, kind=record.kind, revision=record.revision, repeated=True
        )

    async def _accept(self, request: Request) -> Accepted:
        state = self._state
        retried = state.operations[-1] if request.retry else None
        first = not admission.exists(state) and state.next_number == 1
        kind = retried.kind if retried else request.kind
        if state.resolved is not None and (retried is not None or kind is OperationKind.DECOMMISSION):
            resolution = Resolution(resolved=state.resolved)
        else:
            call = ResolveCall(
                service=state.service,
                request=request,
                current=state.resolved.revision if state.resolved else None,
                current_inputs=state.resolved.inputs if state.resolved else {},
                first=first,
            )
            resolution = await calls.control(
                names.PROMISE_RESOLVE, call, Resolution, summary=f"resolve {kind}", retries=calls.ADMISSION_RETRIES
            )
        return self._enqueue(request, kind, resolution, retried)

    def _enqueue(
        self, request: Request, kind: OperationKind, resolution: Resolution, retried: OperationRecord | None
    ) -> Accepted:
        state = self._state
        number = max(state.next_number, resolution.last_number + 1)
        record = OperationRecord(
            service=state.service,
            number=number,
            kind=kind,
            revision=resolution.resolved.revision,
            request_id=request.request_id,
            requested_by=request.requested_by,
            requested_at=workflow.now(),
            reason=request.reason,
            dry_run=request.dry_run,
            retry_of=retried.number if retried else None,
        )
        pending = PendingOperation(
            record=record, resolved=resolution.resolved, retry=request.retry, on_failure=request.on_failure
        )
        self._state = state.model_copy(
            update={
                "queue": (*state.queue, pending),
                "resolved": resolution.resolved,
                "labels": state.labels | request.labels,
                "seen_requests": remember_request(state.seen_requests, request.request_id, number),
                "next_number": number + 1,
                "ledger_digest": state.ledger_digest or resolution.ledger_digest,
                "created_at": state.created_at or workflow.now(),
                "created_by": state.created_by or request.requested_by,
            }
        )
        return Accepted(
            service=record.service,
            number=number,
            kind=kind,
            revision=record.revision,
            warnings=resolution.resolved.warnings,
        )

    # Working ---------------------------------------------------------------------------------------------

    async def _work(self) -> bool:
        """Wait for something to do; False when there never was, and never will be, anything."""

        def something() -> bool:
            handled = workflow.all_handlers_finished()
            refused = self._refused is not None and not admission.exists(self._state)
            grown = workflow.info().is_continue_as_new_suggested()
            return bool(self._state.queue) or (handled and (refused or grown))

        asked = admission.exists(self._state) or not workflow.all_handlers_finished()
        within = None if asked else FIRST_REQUEST_WITHIN
        try:
            await workflow.wait_condition(something, timeout=within)
        except TimeoutError:
            return False
        return bool(self._state.queue) or admission.exists(self._state)

    async def _never_was(self) -> ServiceState:
        """End a service whose only request was refused: its name is free again."""
        await workflow.wait_condition(workflow.all_handlers_finished)
        info = self._refused or ErrorInfo(
            code="REFUSED", message="no request came", hint="request it with `bond service request`"
        )
        raise ApplicationError(f"{self._state.service} never was: {info.message}", info, type=info.code)

    async def _operate(self, pending: PendingOperation) -> None:
        """Run the first operation of the queue, write the ledger, commit."""
        record = pending.record.model_copy(
            update={"status": OperationStatus.RUNNING, "started_at": workflow.now()}
        )
        self._state = self._state.model_copy(
            update={"queue": (pending.model_copy(update={"record": record}), *self._state.queue[1:])}
        )
        self._show()
        result = await self._run_child(record, pending)
        ended = record.model_copy(
            update={
                "status": result.status,
                "steps": result.steps,
                "error": self._said(record, result),
                "finished_at": workflow.now(),
            }
        )
        await self._record(self._operation_record(ended, pending))
        self._state = commit(self._state, ended, result)
        self._show()

    async def _run_child(self, record: OperationRecord, pending: PendingOperation) -> OperationResult:
        retried = admission.find_record(self._state, record.retry_of) if record.retry_of else None
        self._child = await workflow.start_child_workflow(
            _OPERATION_WORKFLOWS[record.kind],
            OperationInput(
                record=record,
                resolved=pending.resolved,
                labels=self._state.labels,
                kept=admission.kept_steps(self._state, retried) if retried else (),
                outputs=self._state.step_outputs,
                on_failure=pending.on_failure,
            ),
            id=record.workflow_id,
            result_type=OperationResult,
            task_queue=names.CONTROL_QUEUE,
            parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
            search_attributes=attributes.of_operation(record),
            static_summary=f"{record.kind} {record.service} with {record.revision}",
            static_details=f"asked by {details.escape(record.requested_by)}: {details.escape(record.reason)}",
        )
        if record.number in self._cancels:
            self._child.cancel()
        try:
            return await self._child
        except ChildWorkflowError as error:
            return ending.result_of(error)
        finally:
            self._child = None

    def _said(self, record: OperationRecord, result: OperationResult) -> ErrorInfo | None:
        """The operation's error, with who cancelled it and why."""
        call = self._cancels.get(record.number)
        if call is None or result.error is None or result.status is not OperationStatus.CANCELLED:
            return result.error
        why = f": {call.reason}" if call.reason else ""
        return result.error.model_copy(update={"message": f"cancelled by {call.requested_by}{why}"})

    # The ledger and what people see ------------------------------------------------------------------------

    async def _record(self, record: LedgerRecord) -> None:
        """Append to the ledger, one at a time, each with the digest of the one before."""
        async with self._ledger:
            entry = await calls.control(
                names.LEDGER_RECORD,
                record.model_copy(update={"previous": self._state.ledger_digest}),
                LedgerEntry,
                summary=f"ledger {record.sequence}",
            )
            self._state = self._state.model_copy(update={"ledger_digest": entry.digest})

    def _operation_record(self, ended: OperationRecord, pending: PendingOperation) -> LedgerRecord:
        return LedgerRecord(
            kind="operation",
            service=ended.service,
            sequence=f"op-{ended.number}",
            at=workflow.now(),
            by=ended.requested_by,
            reason=ended.reason,
            operation=ended.number,
            operation_kind=ended.kind,
            status=ended.status,
            revision_after=ended.revision,
            inputs_after=pending.resolved.inputs,
            steps=ended.steps,
            error=ended.error,
            requested_at=ended.requested_at,
            started_at=ended.started_at,
        )

    def _cancellation(self, record: OperationRecord, call: CancelCall) -> LedgerRecord:
        return LedgerRecord(
            kind="cancellation",
            service=record.service,
            sequence=f"op-{record.number}-cancel",
            at=workflow.now(),
            by=call.requested_by,
            reason=call.reason,
            operation=record.number,
            operation_kind=record.kind,
        )

    def _show(self) -> None:
        """Search attributes for lists, details for the Temporal UI."""
        self._state = self._state.model_copy(update={"phase": phase_of(self._state)})
        wanted = attributes.of_service(self._state)
        if wanted != self._shown:
            workflow.upsert_search_attributes(wanted)
            self._shown = wanted
        workflow.set_current_details(details.service(self._state))


def _refusal(state: ServiceState, call: CancelCall) -> BondError:
    try:
        admission.check_cancel(state, call)
    except BondError as error:
        return error
    return BondError("the operation ended meanwhile")


def _in_words(check: Callable[[], None]) -> None:
    """Run a check; its refusal becomes the update's failure."""
    try:
        check()
    except BondError as error:
        raise to_failure(error) from None
