"""Service: one workflow for one service, from the first request to the end of its decommission.

It accepts requests, runs their operations one at a time as child workflows, commits what each changed, writes the
ledger, and continues as new after every few, so that its history stays short however long it lives.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from temporalio import workflow
from temporalio.exceptions import (
    ApplicationError,
    FailureError,
    is_cancelled_exception,
)

from bondstone.base import names
from bondstone.base.errors import BondError, ErrorInfo, Refused, from_info
from bondstone.model.attestation import Attestable
from bondstone.model.campaign.run import SubmitCall, WithdrawCall
from bondstone.model.ledger import LedgerRecord
from bondstone.model.permit_calls import LabelsAcceptCall
from bondstone.model.service import (
    RUN_VERSION,
    AbandonCall,
    Accepted,
    BindCall,
    CancelCall,
    LabelsCall,
    OperationRecord,
    PartChanged,
    PauseCall,
    Phase,
    Request,
    ServiceState,
)
from bondstone.model.step import PutAway, PutAwayCall
from bondstone.temporal.failures import bounded, info_of, to_failure
from bondstone.workflows import (
    activity_calls,
    admission,
    attested,
    builds,
    details,
    ledger_records,
)
from bondstone.workflows.commit import next_due
from bondstone.workflows.dependants import (
    check_bind,
    with_dependant,
    with_own_update,
    without_dependant,
)
from bondstone.workflows.entity import in_words
from bondstone.workflows.queueing import with_own_reconcile
from bondstone.workflows.service_operations import ServiceOperations
from bondstone.workflows.submissions import Submissions

FIRST_REQUEST_WITHIN: Final = timedelta(hours=1)
"""How long a service that was started without a request waits for one."""

MAX_RUN_EVENTS: Final = 100
"""From this length of its history on a service continues as new: after about five operations. A new run costs as
much CPU as the replay of these, which a worker pays that has not served the service lately. Histories of run
version 1 replay with this number only: another one needs another run version."""


@workflow.defn(name=names.SERVICE_WORKFLOW)
class Service:
    """One service: what people, programs and campaigns ask of it, and the work that follows."""

    @workflow.init
    def __init__(self, state: ServiceState) -> None:
        self._submissions = Submissions(state)
        self._entity = self._submissions.entity
        self._operations = ServiceOperations(self._submissions)
        self._parts_changed: list[PartChanged] = []

    @property
    def _state(self) -> ServiceState:
        return self._entity.state

    @workflow.run
    async def run(self, state: ServiceState) -> ServiceState:
        """Live until decommissioned; the last state is the result.

        A service does not end because somebody cancels its workflow: what it stands on would be forgotten.
        """
        del state  # taken by __init__, which updates that arrive with the start need
        life = asyncio.create_task(self._live())
        while True:
            try:
                return await asyncio.shield(life)
            except asyncio.CancelledError:
                if life.done() or life.cancelling():
                    raise  # the worker drops the workflow from its cache, which cancels every task of it
                workflow.logger.warning("a service is not cancelled: cancel its operation, or decommission it")

    async def _live(self) -> ServiceState:
        workflow.set_current_details(details.service(self._state, workflow.info().namespace))
        while True:
            await self._wait_for_work()
            if self._state.queue and not await self._leaves_to_next_build():
                await self._operations.run(self._state.queue[0])
                self._entity.forget_cancels()
            if not self._lives_on_here():
                break
        await workflow.wait_condition(workflow.all_handlers_finished)
        if self._state.phase is Phase.DECOMMISSIONED or self._entity.abandoned:
            return self._state
        if not admission.exists(self._state):
            return self._end_unused()
        return builds.next_run(self._state.changed(run_version=RUN_VERSION))

    def _lives_on_here(self) -> bool:
        """Whether the service lives, and its next operation is for this run of the workflow."""
        if not self._state.run_version or self._entity.abandoned:
            return False
        return (
            admission.exists(self._state)
            and self._state.phase is not Phase.DECOMMISSIONED
            and not self._should_renew()
        )

    def _should_renew(self) -> bool:
        """Whether another run, perhaps of another build, is to continue."""
        info = workflow.info()
        long = self._state.run_version and info.get_current_history_length() >= MAX_RUN_EVENTS
        return bool(long) or info.is_continue_as_new_suggested() or builds.outdated()

    # What people and programs ask ------------------------------------------------------------------------

    @workflow.update(name=names.UPDATE_REQUEST_OPERATION)
    async def request_operation(self, request: Request) -> Accepted:
        """Accept an operation, or refuse it in words; the same request id gives the same answer."""
        async with self._entity.admission:
            repeated = self._entity.repeated(request)
            if repeated is not None:
                return repeated
            try:
                if self._entity.abandoned:
                    raise Refused("the service is being abandoned", where=str(self._state.service))
                admission.check_request(self._state, request)  # again: others may have come before
                return await self._entity.accept(request)
            except BondError as error:
                self._entity.refused = error.info()
                raise to_failure(error) from None
            except FailureError as error:  # of a local activity that fails, what it raised comes by itself
                if is_cancelled_exception(error):
                    raise
                self._entity.refused = bounded(info_of(error))
                raise to_failure(from_info(self._entity.refused)) from None

    @request_operation.validator
    def _validate_request(self, request: Request) -> None:
        self._insist_attested(request, request.verb, request.requested_by)
        in_words(lambda: admission.check_request(self._state, request))

    @workflow.update(name=names.UPDATE_CANCEL_OPERATION)
    async def cancel_operation(self, call: CancelCall) -> OperationRecord:
        """Drop an operation that waits, or stop the one that runs; returns its record as it was."""
        in_words(lambda: admission.check_cancel(self._state, call))
        record = await self._entity.cancel(call)
        if record is None:
            raise to_failure(Refused("the operation ended meanwhile", where=str(self._state.service)))
        return record

    @cancel_operation.validator
    def _validate_cancel(self, call: CancelCall) -> None:
        target = f"{self._state.service}/op/{call.number}"
        attested.check(call, verb="service.cancel", target=target, by=call.requested_by)
        in_words(lambda: admission.check_cancel(self._state, call))

    @workflow.update(name=names.UPDATE_SET_LABELS)
    async def set_labels(self, call: LabelsCall) -> dict[str, str]:
        """Set and remove labels; returns all that the service has now."""
        if call.attestation is not None:
            return await self._set_attested_labels(call)
        left = {key: value for key, value in self._state.labels.items() if key not in call.remove}
        self._entity.state = self._state.changed(
            labels=left | call.set, applied=call.applied or self._state.applied
        )
        self._entity.show()
        return self._state.labels

    @set_labels.validator
    def _validate_labels(self, call: LabelsCall) -> None:
        self._insist_attested(call, "service.label", call.requested_by)
        in_words(lambda: admission.check_labels(self._state, call))

    @workflow.update(name=names.UPDATE_PAUSE)
    async def pause(self, call: PauseCall) -> None:
        """Start nothing by itself any more; what people ask for still runs."""
        now = workflow.now()
        paused = {"paused_by": call.requested_by, "paused_at": now, "pause_reason": call.reason, "next_due": None}
        self._entity.state = self._state.changed(**paused)
        self._entity.show()
        await self._entity.record(ledger_records.of_pause(self._state, call, now, "pause"))

    @pause.validator
    def _validate_pause(self, call: PauseCall) -> None:
        self._insist_attested(call, "service.pause", call.requested_by)
        in_words(lambda: admission.check_pause(self._state, call, pause=True))

    @workflow.update(name=names.UPDATE_RESUME)
    async def resume(self, call: PauseCall) -> None:
        """Work by itself again."""
        now = workflow.now()
        working = {"paused_by": "", "paused_at": None, "pause_reason": ""}
        self._entity.state = self._state.changed(**working)
        self._entity.state = self._state.changed(next_due=next_due(self._state, now))
        self._entity.show()
        await self._entity.record(ledger_records.of_pause(self._state, call, now, "resume"))

    @resume.validator
    def _validate_resume(self, call: PauseCall) -> None:
        self._insist_attested(call, "service.resume", call.requested_by)
        in_words(lambda: admission.check_pause(self._state, call, pause=False))

    @workflow.update(name=names.UPDATE_ABANDON)
    async def abandon(self, call: AbandonCall) -> None:
        """Forget the service and destroy nothing: what stands is somebody else's from now on."""
        async with self._entity.admission:
            in_words(lambda: admission.check_abandon(self._state, call))
            self._entity.abandoned = True
        try:
            put_away = await activity_calls.apart(
                names.SERVICE_PUT_AWAY,
                PutAwayCall(
                    service=self._state.service,
                    sequence=f"abandon-{self._state.next_number}",
                    secrets="archive",
                    abandon=call if call.attestation else None,
                ),
                PutAway,
                summary="archive state and secrets",
                within=activity_calls.STATE_TIMEOUT,
            )
        except FailureError as error:
            if not is_cancelled_exception(error):  # refused, or something cannot be read: nothing is archived
                self._entity.abandoned = False
                for changed in self._parts_changed:
                    self._entity.state = with_own_update(self._state, changed, workflow.now())
            raise
        await self._entity.record(ledger_records.of_abandon(self._state, call, workflow.now(), put_away.retained))
        self._entity.state = self._state.changed(resting=Phase.ABANDONED, next_due=None)
        self._entity.show()

    @abandon.validator
    def _validate_abandon(self, call: AbandonCall) -> None:
        self._insist_attested(call, "service.abandon", call.requested_by)
        in_words(lambda: admission.check_abandon(self._state, call))

    # What the services say that it is a part of, or that are parts of it -------------------------------------

    @workflow.update(name=names.UPDATE_BIND)
    async def bind(self, call: BindCall) -> None:
        """A parent uses this service from now on: it is not taken down, nor moved past the parent's versions."""
        self._entity.state = self._state.changed(dependants=with_dependant(self._state.dependants, call.parent))
        self._entity.show()

    @bind.validator
    def _validate_bind(self, call: BindCall) -> None:
        self._insist_attested(call, "service.bind", call.requested_by)
        in_words(lambda: check_bind(self._state, call))

    @workflow.update(name=names.UPDATE_RELEASE)
    async def release(self, call: BindCall) -> None:
        """A parent no longer uses this service."""
        self._entity.state = self._state.changed(dependants=without_dependant(self._state.dependants, call.parent))
        self._entity.show()

    @release.validator
    def _validate_release(self, call: BindCall) -> None:
        self._insist_attested(call, "service.release", call.requested_by)

    @workflow.signal(name=names.SIGNAL_PART_CHANGED)
    def part_changed(self, call: PartChanged) -> None:
        """A part gives something else: plan every step again with it, through policies and gate."""
        if self._entity.abandoned:
            self._parts_changed.append(call)  # for when it cannot be abandoned
        else:
            self._entity.state = with_own_update(self._state, call, workflow.now())

    @workflow.query(name=names.QUERY_DESCRIBE)
    def describe(self) -> ServiceState:
        """The whole state. Lists use search attributes instead: a query wakes a worker."""
        return self._state

    async def _set_attested_labels(self, call: LabelsCall) -> dict[str, str]:
        """As `set_labels`, with a control worker vouching for what the labels are then."""
        async with self._entity.admission:
            in_words(lambda: admission.check_labels(self._state, call))  # again: others may have come before
            accepted = await activity_calls.apart(
                names.LABELS_ACCEPT,
                LabelsAcceptCall(service=self._state.service, labels=self._state.labels, change=call),
                dict[str, str],
                summary="labels",
                retries=activity_calls.ADMISSION_RETRIES,
            )
            self._entity.state = self._state.changed(labels=accepted, applied=call.applied or self._state.applied)
            self._entity.show()
        await self._entity.record(ledger_records.of_labels(self._state, call, workflow.now()))
        return accepted

    def _insist_attested(self, call: Attestable, verb: str, by: str) -> None:
        attested.check(call, verb=verb, target=str(self._state.service), by=by)

    # What campaigns ask --------------------------------------------------------------------------------------

    @workflow.signal(name=names.SIGNAL_SUBMIT)
    async def submit(self, call: SubmitCall) -> None:
        """A campaign asks for an operation; it is accepted as any request, or declined."""
        await self._submissions.submit(call)

    @workflow.signal(name=names.SIGNAL_WITHDRAW)
    async def withdraw(self, call: WithdrawCall) -> None:
        """A campaign cancels what it submitted."""
        await self._submissions.withdraw(call)

    # What its own operations tell it -----------------------------------------------------------------------

    @workflow.signal(name=names.SIGNAL_WAITING)
    async def operation_waiting(self, record: OperationRecord) -> None:
        """The running operation waits for people, or no longer does; its campaign hears of it."""
        head = self._state.queue[0] if self._state.queue else None
        if head is not None and head.record.number == record.number:
            head = head.changed(record=head.record.changed(status=record.status))
            self._entity.state = self._state.changed(queue=(head, *self._state.queue[1:]))
            self._entity.show()
            await self._submissions.waiting(record)

    @workflow.signal(name=names.SIGNAL_RECORD)
    async def record(self, record: LedgerRecord) -> None:
        """Something that must be in the ledger."""
        await self._entity.record(record)

    @workflow.signal(name=names.SIGNAL_MOVE)
    def move(self) -> None:
        """Another build has taken over: the workflow task that this makes says so, and an idle service moves."""

    # Working ---------------------------------------------------------------------------------------------

    async def _wait_for_work(self) -> None:
        """Return when there is an operation to run, drift to look for, or nothing to wait for."""

        def has_work() -> bool:
            over = self._entity.abandoned or (
                self._entity.refused is not None and not admission.exists(self._state)
            )
            renew = admission.exists(self._state) and self._should_renew()
            return bool(self._state.queue) or (workflow.all_handlers_finished() and (over or renew))

        while not has_work():
            try:
                await workflow.wait_condition(
                    self._has_work_or_other_due_time(has_work), timeout=self._wait_timeout()
                )
            except TimeoutError:
                if self._entity.abandoned or not admission.exists(self._state):
                    return
                self._entity.state = with_own_reconcile(self._state, workflow.now())

    async def _leaves_to_next_build(self) -> bool:
        """Whether the next operation is for the build that takes over; not one that was cancelled meanwhile."""
        if not builds.outdated():
            return False
        await workflow.wait_condition(workflow.all_handlers_finished)
        return not self._entity.cancels

    def _has_work_or_other_due_time(self, has_work: Callable[[], bool]) -> Callable[[], bool]:
        """Wakes for something to do, and when the time of the next look for drift has changed."""
        due = self._state.next_due
        return lambda: has_work() or self._state.next_due != due

    def _wait_timeout(self) -> timedelta | None:
        """How long to wait for work; None without limit."""
        if self._state.next_due is not None:
            return max(self._state.next_due - workflow.now(), timedelta(0))
        requested = admission.exists(self._state) or not workflow.all_handlers_finished()
        return None if requested else FIRST_REQUEST_WITHIN

    def _end_unused(self) -> ServiceState:
        """End a service that no operation has made: its name is free again."""
        if self._state.operations:  # a dry run
            return self._state
        info = self._entity.refused or ErrorInfo(
            code="REFUSED", message="no request came", hint="request it with `bond service request`"
        )
        raise ApplicationError(f"{self._state.service} was never requested: {info.message}", info, type=info.code)
