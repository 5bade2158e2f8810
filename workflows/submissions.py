"""How a service deals with campaigns: they submit by signal, and it replies by signal.

A campaign that is gone costs the service a line in its log, and nothing else.
"""

from __future__ import annotations

from temporalio import workflow
from temporalio.exceptions import FailureError, is_cancelled_exception

from bondstone.base import names
from bondstone.base.errors import BondError, Refused, StoreUnavailable, Unreachable
from bondstone.model.campaign.events import AttemptAccepted, AttemptDeclined
from bondstone.model.campaign.run import Reply, SubmitCall, WithdrawCall
from bondstone.model.service import CancelCall, OperationRecord, OperationStatus, Request, ServiceState
from bondstone.temporal.failures import bounded, info_of
from bondstone.workflows import admission, submitted
from bondstone.workflows.entity import Entity

_PASSING = frozenset({StoreUnavailable.code, Unreachable.code})
"""Errors that say nothing of the request."""


class Submissions:
    """The part of a service that campaigns speak to.

    Args:
        state: Of the service, see `Entity`.
    """

    def __init__(self, state: ServiceState) -> None:
        self.entity = Entity(state, self.ended)

    async def submit(self, call: SubmitCall) -> None:
        """Accept an operation that a campaign asks for, as any request, or decline it; the campaign is told."""
        await self._reply(call.reply_to, await self._submitted(call))

    async def withdraw(self, call: WithdrawCall) -> None:
        """Cancel what a campaign submitted, or refuse it if it arrives later."""
        entity = self.entity
        async with entity.admission:
            known = submitted.find(entity.state, call.request_id)
            if known is None:
                entity.state = submitted.withdrawn(entity.state, call)
                known = submitted.find(entity.state, call.request_id)
        if known is not None and known.status is None:
            cancel = CancelCall(
                number=known.number, requested_by=call.by, reason=call.reason, attestation=call.attestation
            )
            await entity.cancel(cancel)
        elif known is not None:
            await self._reply(call.reply_to, submitted.last_answer(known))

    async def _submitted(self, call: SubmitCall) -> submitted.Said:
        """Accept a submission unless it must be refused; a repeated one gets the same answer."""
        entity = self.entity
        async with entity.admission:
            answer = submitted.answer(entity.state, call)
            if not isinstance(answer, Request):
                return answer
            declined = AttemptDeclined(target=call.target, attempt=call.attempt)
            try:
                if entity.abandoned:
                    raise Refused("the service is being abandoned", where=str(entity.state.service))
                admission.check_request(entity.state, answer)
                accepted = await entity.accept(answer, updating=False)
            except BondError as error:
                return declined.changed(error=bounded(error.info()))
            except FailureError as error:  # of a local activity that fails, what it raised comes by itself
                if is_cancelled_exception(error):
                    raise
                info = bounded(info_of(error))
                why = "unreachable" if info.code in _PASSING else "refused"
                return declined.changed(error=info, why=why)
            entity.state = submitted.taken(entity.state, call, accepted.number)
            return AttemptAccepted(target=call.target, attempt=call.attempt, operation=accepted.number)

    async def waiting(self, record: OperationRecord) -> None:
        """Tell the campaign that asked for an operation whether it waits for an approval."""
        known = next((each for each in self.entity.state.submissions if each.number == record.number), None)
        if known is None or known.status is not None or not workflow.patched("tell-campaign-of-approvals"):
            return
        awaiting = record.status is OperationStatus.AWAITING_APPROVAL
        await self._reply(known.reply_to, submitted.last_answer(known).changed(awaiting=awaiting))

    async def ended(self, number: int) -> None:
        """Tell the campaign that asked for the operation."""
        entity = self.entity
        record = admission.find_record(entity.state, number)
        if record is None:
            return
        entity.state, known = submitted.closed(entity.state, record)
        if known is not None:
            await self._reply(known.reply_to, submitted.last_answer(known))

    async def _reply(self, campaign: str, answer: submitted.Said) -> None:
        try:
            await workflow.get_external_workflow_handle(campaign).signal(names.SIGNAL_REPLY, Reply(said=answer))
        except FailureError as error:
            if is_cancelled_exception(error):
                raise
            workflow.logger.warning("the campaign is gone", extra={"campaign": campaign})
