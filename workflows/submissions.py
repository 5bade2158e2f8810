"""How a service deals with campaigns: they submit by signal, and it replies by signal.

A campaign that is gone costs the service a line in its log, and nothing else.
"""

from __future__ import annotations

from temporalio import workflow
from temporalio.exceptions import FailureError, is_cancelled_exception

from bondstone.base import names
from bondstone.base.errors import BondError, Refused, StoreUnavailable, Unreachable
from bondstone.model.campaign.events import Accepted, Declined
from bondstone.model.campaign.run import Reply, SubmitCall, WithdrawCall
from bondstone.model.service import CancelCall, Request
from bondstone.temporal.failures import bounded, info_of
from bondstone.workflows import admission, submitted
from bondstone.workflows.entity import Entity

_PASSING = frozenset({StoreUnavailable.code, Unreachable.code})
"""Errors that say nothing of the request."""


class Submissions(Entity):
    """The part of `Service` that campaigns speak to."""

    @workflow.signal(name=names.SIGNAL_SUBMIT)
    async def submit(self, call: SubmitCall) -> None:
        """A campaign asks for an operation; it is accepted as any request, or declined."""
        await self._reply(call.reply_to, await self._submitted(call))

    @workflow.signal(name=names.SIGNAL_WITHDRAW)
    async def withdraw(self, call: WithdrawCall) -> None:
        """A campaign wants what it submitted stopped, or not begun."""
        async with self._admission:
            known = submitted.find(self._state, call.request_id)
            if known is None:
                self._state = submitted.withdrawn(self._state, call)
                known = submitted.find(self._state, call.request_id)
        if known is not None and known.status is None:
            await self._cancel(CancelCall(number=known.number, requested_by=call.by, reason=call.reason))
        elif known is not None:
            await self._reply(call.reply_to, submitted.said(known))

    async def _submitted(self, call: SubmitCall) -> submitted.Said:
        """Take a submission on, if nothing speaks against it; the same one again is answered again."""
        async with self._admission:
            answer = submitted.answer(self._state, call)
            if not isinstance(answer, Request):
                return answer
            declined = Declined(target=call.target, attempt=call.attempt)
            try:
                if self._abandoned:
                    raise Refused("the service is being abandoned", where=str(self._state.service))
                admission.check_request(self._state, answer)
                accepted = await self._accept(answer, updating=False)
            except BondError as error:
                return declined.changed(error=bounded(error.info()))
            except FailureError as error:  # of a local activity that fails, what it raised comes by itself
                if is_cancelled_exception(error):
                    raise
                info = bounded(info_of(error))
                why = "unreachable" if info.code in _PASSING else "refused"
                return declined.changed(error=info, why=why)
            self._state = submitted.taken(self._state, call, accepted.number)
            return Accepted(target=call.target, attempt=call.attempt, operation=accepted.number)

    async def _ended(self, number: int) -> None:
        """Tell the campaign that asked for it."""
        record = admission.find_record(self._state, number)
        if record is None:
            return
        self._state, known = submitted.closed(self._state, record)
        if known is not None:
            await self._reply(known.reply_to, submitted.said(known))

    async def _reply(self, campaign: str, said: submitted.Said) -> None:
        try:
            await workflow.get_external_workflow_handle(campaign).signal(names.SIGNAL_REPLY, Reply(said=said))
        except FailureError as error:
            if is_cancelled_exception(error):
                raise
            workflow.logger.warning("the campaign is gone", extra={"campaign": campaign})
