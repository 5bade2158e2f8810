"""The state of a service, and what changes it: requests join, operations are cancelled, the ledger grows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from temporalio import workflow
from temporalio.exceptions import ActivityError

from bondstone.base import names
from bondstone.base.errors import AttestationInvalid, BondError, ErrorInfo
from bondstone.model.ledger import LedgerEntry, LedgerRecord
from bondstone.model.permit_calls import AcceptCall
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
from bondstone.temporal.failures import info_of, to_failure
from bondstone.workflows import activity_calls, admission, details, ledger_records, search_attributes
from bondstone.workflows.commit import drop_pending, phase_of, rollback_target
from bondstone.workflows.queueing import joined

_STANDS_STILL = frozenset({OperationKind.RECONCILE, OperationKind.DECOMMISSION})
"""Operations on what the service stands on: nothing has to be resolved for them."""


class Entity:
    """One service. Its whole state is one frozen model, replaced at each change.

    Args:
        state: As the last run of the workflow left it, or of a service that does not exist yet.
        ended: Told the number of each operation that has ended.
    """

    def __init__(self, state: ServiceState, ended: Callable[[int], Awaitable[None]]) -> None:
        self.state = state
        self.admission = asyncio.Lock()
        """Held while a request is checked and joins the queue: one at a time."""
        self.refused: ErrorInfo | None = None
        """Why the last request was refused."""
        self.abandoned = False
        self.cancels: dict[int, CancelCall] = {}
        """Requests to cancel by number of the operation."""
        self.child: workflow.ChildWorkflowHandle[OperationInput, OperationResult] | None = None
        """The operation that runs."""
        self._ended = ended
        self._ledger = asyncio.Lock()
        self._shown = search_attributes.of_service(state) if admission.exists(state) else None

    # Accepting -------------------------------------------------------------------------------------------

    def repeated(self, request: Request) -> Accepted | None:
        """The answer to a request that was accepted before; None when it is new."""
        number = self.state.seen_requests.get(request.request_id)
        record = admission.find_record(self.state, number) if number else None
        if record is None:
            return None
        return Accepted(
            service=record.service, number=record.number, kind=record.kind, revision=record.revision, repeated=True
        )

    async def accept(self, request: Request, *, updating: bool = True) -> Accepted:
        """Resolve a request that was checked, and let it join the queue.

        Args:
            request: The request.
            updating: Whether the handler of an update asks, see `resolve`.
        """
        retried = self.state.retryable if request.retry else None
        ahead = self.state.queue[-1] if self.state.queue else None
        if retried is not None:
            resolution = await self._accept_retry(request, retried)
        else:
            resolution = await self.resolve(request, ahead, updating=updating)
        admission.check_adopted_steps(request, resolution.resolved)
        # The state may have moved while the request was resolved: labels, an operation that ended.
        self.state, record = joined(
            self.state, request, resolution, ahead=ahead, retried=retried, now=workflow.now()
        )
        return Accepted(
            service=record.service,
            number=record.number,
            kind=record.kind,
            revision=record.revision,
            warnings=resolution.resolved.warnings,
        )

    async def resolve(
        self, request: Request, ahead: PendingOperation | None, *, updating: bool = True
    ) -> Resolution:
        """What the request comes to, if the operation ahead of it succeeds.

        A local activity resolves it (see `activity_calls.control`), which saves a round trip to the server. In the
        handler of an update an attested request goes to a normal activity: it is accepted once, and a local one
        may run again with other arguments.
        """
        state = self.state
        current = ahead.resolved if ahead else state.resolved
        standing = None
        if request.kind in _STANDS_STILL and current is not None:
            standing = current
        elif request.kind is OperationKind.ROLLBACK and (target := rollback_target(state)) is not None:
            standing = target
        if standing is not None and request.attestation is None:
            return Resolution(resolved=standing)
        call = ResolveCall(
            service=state.service,
            request=request,
            current=current.revision if current else None,
            current_inputs=current.inputs if current else {},
            first=current is None and state.next_number == 1,
            dependants=state.dependants,
        )
        ask = activity_calls.apart if updating else activity_calls.control
        resolve = ask if state.run_version == 0 else activity_calls.control
        if request.attestation is not None:
            accept = AcceptCall(call=call, standing=standing, labels=state.labels)
            return await ask(
                names.REQUEST_ACCEPT,
                accept,
                Resolution,
                summary=f"accept {request.kind}",
                retries=activity_calls.ADMISSION_RETRIES,
            )
        summary = f"resolve {request.kind}"
        return await resolve(
            names.PROMISE_RESOLVE, call, Resolution, summary=summary, retries=activity_calls.ADMISSION_RETRIES
        )

    async def _accept_retry(self, request: Request, retried: PendingOperation) -> Resolution:
        """What a retry runs: what the operation that failed ran."""
        if request.attestation is None:
            return Resolution(resolved=retried.resolved)
        call = ResolveCall(service=self.state.service, request=request)
        return await activity_calls.apart(
            names.REQUEST_ACCEPT,
            AcceptCall(call=call, standing=retried.resolved, labels=self.state.labels, retried=retried.request),
            Resolution,
            summary="accept retry",
            retries=activity_calls.ADMISSION_RETRIES,
        )

    # Cancelling --------------------------------------------------------------------------------------

    async def cancel(self, call: CancelCall) -> OperationRecord | None:
        """Drop an operation that waits, or stop the one that runs; None when it has ended."""
        record = admission.find_pending(self.state, call.number)
        if record is None or call.number in self.cancels:
            return record
        self.cancels[call.number] = call
        if self.state.queue[0].record.number == call.number:
            if self.child is not None:
                self.child.cancel()
        else:
            self.state = drop_pending(self.state, call, workflow.now())
            await self._ended(call.number)
        await self.record(ledger_records.of_cancellation(record, call, workflow.now()))
        self.show()
        return record

    def forget_cancels(self) -> None:
        """Forget the requests to cancel what is no longer in the queue."""
        waiting = {pending.record.number for pending in self.state.queue}
        self.cancels = {number: call for number, call in self.cancels.items() if number in waiting}

    # The ledger and what people see ------------------------------------------------------------------------

    async def record(self, record: LedgerRecord) -> None:
        """Append to the ledger, one at a time, each with the digest of the one before."""
        async with self._ledger:
            try:
                entry = await activity_calls.apart(
                    names.LEDGER_RECORD,
                    record.changed(previous=self.state.ledger_digest),
                    LedgerEntry,
                    summary=f"ledger {record.sequence}",
                )
            except ActivityError as error:
                if info_of(error).code != AttestationInvalid.code:
                    raise
                # Anybody who reaches Temporal can signal a record: what nobody is attested to have done is none.
                workflow.logger.error("a record was refused", extra={"reason": info_of(error).message})
                return
            self.state = self.state.changed(ledger_digest=entry.digest)

    def show(self) -> None:
        """Search attributes for lists, details for the Temporal UI."""
        self.state = self.state.changed(phase=phase_of(self.state))
        wanted = search_attributes.of_service(self.state)
        if wanted != self._shown:
            workflow.upsert_search_attributes([*wanted, search_attributes.changed_at(workflow.now())])
            self._shown = wanted
        workflow.set_current_details(details.service(self.state, workflow.info().namespace))


def in_words(check: Callable[[], None]) -> None:
    """Run a check; its refusal becomes the update's failure."""
    try:
        check()
    except BondError as error:
        raise to_failure(error) from None
