"""What a service is before anybody asks anything of it: its state, how requests join it, its ledger, its face."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from temporalio import workflow

from bondstone.base import names
from bondstone.base.errors import BondError, ErrorInfo
from bondstone.model.ledger import LedgerEntry, LedgerRecord
from bondstone.model.service import (
    Accepted,
    CancelCall,
    OperationInput,
    OperationKind,
    OperationRecord,
    OperationResult,
    PendingOperation,
    Request,
    Resolution,
    ResolveCall,
    ServiceState,
)
from bondstone.temporal.failures import to_failure
from bondstone.workflows import activity_calls, admission, details, ledger_records, search_attributes
from bondstone.workflows.commit import drop_pending, phase_of, rollback_target
from bondstone.workflows.queueing import joined

_STANDS_STILL = frozenset({OperationKind.RECONCILE, OperationKind.DECOMMISSION})
"""Operations on what the service stands on: nothing has to be resolved for them."""


class Entity:
    """Base of `Service`. Its whole state is one frozen model, replaced at each change."""

    @workflow.init
    def __init__(self, state: ServiceState) -> None:
        self._state = state
        self._admission = asyncio.Lock()
        self._ledger = asyncio.Lock()
        self._refused: ErrorInfo | None = None
        self._abandoned = False
        self._cancels: dict[int, CancelCall] = {}
        self._child: workflow.ChildWorkflowHandle[OperationInput, OperationResult] | None = None
        self._shown = search_attributes.of_service(state) if admission.exists(state) else None

    # Accepting -------------------------------------------------------------------------------------------

    def _repeated(self, request: Request) -> Accepted | None:
        number = self._state.seen_requests.get(request.request_id)
        record = admission.find_record(self._state, number) if number else None
        if record is None:
            return None
        return Accepted(
            service=record.service, number=record.number, kind=record.kind, revision=record.revision, repeated=True
        )

    async def _accept(self, request: Request, *, updating: bool = True) -> Accepted:
        retried = self._state.retryable if request.retry else None
        ahead = self._state.queue[-1] if self._state.queue else None
        if retried is not None:
            resolution = Resolution(resolved=retried.resolved)
        else:
            resolution = await self._resolve(request, ahead, updating=updating)
        admission.check_adopted_steps(request, resolution.resolved)
        # The state may have moved while the request was resolved: labels, an operation that ended.
        self._state, record = joined(
            self._state, request, resolution, ahead=ahead, retried=retried, now=workflow.now()
        )
        return Accepted(
            service=record.service,
            number=record.number,
            kind=record.kind,
            revision=record.revision,
            warnings=resolution.resolved.warnings,
        )

    async def _resolve(
        self, request: Request, ahead: PendingOperation | None, *, updating: bool = True
    ) -> Resolution:
        """What the request comes to, if the operation ahead of it succeeds.

        Outside the handler of an update a local activity does (see `calls.control`): one round of the server less.
        """
        state = self._state
        current = ahead.resolved if ahead else state.resolved
        if request.kind in _STANDS_STILL and current is not None:
            return Resolution(resolved=current)
        if request.kind is OperationKind.ROLLBACK and (target := rollback_target(state)) is not None:
            return Resolution(resolved=target)
        call = ResolveCall(
            service=state.service,
            request=request,
            current=current.revision if current else None,
            current_inputs=current.inputs if current else {},
            first=current is None and state.next_number == 1,
        )
        ask = activity_calls.apart if updating else activity_calls.control
        summary = f"resolve {request.kind}"
        return await ask(
            names.PROMISE_RESOLVE, call, Resolution, summary=summary, retries=activity_calls.ADMISSION_RETRIES
        )

    # Cancelling --------------------------------------------------------------------------------------

    async def _cancel(self, call: CancelCall) -> OperationRecord | None:
        """Drop an operation that waits, or stop the one that runs; None when it has ended."""
        record = admission.find_pending(self._state, call.number)
        if record is None or call.number in self._cancels:
            return record
        self._cancels[call.number] = call
        if self._state.queue[0].record.number == call.number:
            if self._child is not None:
                self._child.cancel()
        else:
            self._state = drop_pending(self._state, call, workflow.now())
            await self._ended(call.number)
        await self._record(ledger_records.of_cancellation(record, call, workflow.now()))
        self._show()
        return record

    async def _ended(self, number: int) -> None:
        """An operation has ended: whoever waits for that hears of it."""

    # The ledger and what people see ------------------------------------------------------------------------

    async def _record(self, record: LedgerRecord) -> None:
        """Append to the ledger, one at a time, each with the digest of the one before."""
        async with self._ledger:
            entry = await activity_calls.apart(
                names.LEDGER_RECORD,
                record.changed(previous=self._state.ledger_digest),
                LedgerEntry,
                summary=f"ledger {record.sequence}",
            )
            self._state = self._state.changed(ledger_digest=entry.digest)

    def _show(self) -> None:
        """Search attributes for lists, details for the Temporal UI."""
        self._state = self._state.changed(phase=phase_of(self._state))
        wanted = search_attributes.of_service(self._state)
        if wanted != self._shown:
            workflow.upsert_search_attributes([*wanted, search_attributes.changed_at(workflow.now())])
            self._shown = wanted
        workflow.set_current_details(details.service(self._state))


def in_words(check: Callable[[], None]) -> None:
    """Run a check; its refusal becomes the update's failure."""
    try:
        check()
    except BondError as error:
        raise to_failure(error) from None
