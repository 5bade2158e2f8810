"""A Temporal client whose changes carry attestations: the one place that knows which message is which change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from inspect import isawaitable
from typing import Any, Protocol, TypeVar

from temporalio import client as temporal
from temporalio.client import Client

from bondstone.base import names
from bondstone.model.attestation import Attestable
from bondstone.model.campaign.events import Approve, CampaignVerb, Reject
from bondstone.model.campaign.run import CampaignInput
from bondstone.model.campaign.schedule import ScheduledRun
from bondstone.model.ledger import LedgerRecord
from bondstone.model.service import AbandonCall, BindCall, CancelCall, LabelsCall, PauseCall, Request, VoteCall

ForEver = timedelta(days=3660)
"""For schedules, whose campaigns start for as long as they are there."""

Change = TypeVar("Change", bound=Attestable)


class Attests(Protocol):
    """Signs changes: `bondstone.identity.attestor.Attestor`."""

    def attest(
        self,
        change: Change,
        *,
        verb: str,
        target: str,
        by: str,
        roles: tuple[str, ...] = (),
        lifetime: timedelta = ...,
    ) -> Change:
        """The change with an attestation."""
        ...


def attesting_client(client: Client, attestor: Attests) -> Client:
    """The same connection; whatever it changes is attested."""
    config = client.config()
    config["interceptors"] = [*config["interceptors"], _Interceptor(attestor)]
    return Client(**config)


def attested(attestor: Attests, workflow_id: str, change: Attestable, *, update: str = "") -> Attestable:
    """A change as it is sent to a workflow, with its attestation.

    Args:
        attestor: Signs.
        workflow_id: Whom it is sent to.
        change: The argument of the update, of the start or of the signal.
        update: Name of the update, where it tells `approve` from `reject`, or `pause` from `resume`.
    """
    subject = _subject(workflow_id, change, update)
    if subject is None:
        return change
    verb, target, by, roles = subject
    return attestor.attest(change, verb=verb, target=target, by=by, roles=roles)


def _subject(workflow_id: str, change: Attestable, update: str) -> tuple[str, str, str, tuple[str, ...]] | None:
    """Verb, target, who says to ask, and in which roles; None for what nobody attests."""
    target = workflow_id.removeprefix("service/")
    roles: tuple[str, ...] = ()
    match change:
        case Request():
            verb, by = change.verb, change.requested_by
        case CancelCall():
            verb, by, target = "service.cancel", change.requested_by, f"{target}/op/{change.number}"
        case LabelsCall():
            verb, by = "service.label", change.requested_by
        case PauseCall() | AbandonCall() | BindCall():
            verb, by = f"service.{update}", change.requested_by
        case VoteCall():
            verb, by, roles = f"approval.{update}", change.by, change.roles
        case CampaignVerb():
            verb, by = f"campaign.{getattr(change, 'kind', update)}", change.by
            roles = change.roles if isinstance(change, Approve | Reject) else ()
        case CampaignInput():
            verb, by = "campaign.run", change.requested_by
        case LedgerRecord():
            verb, by = "state.push", change.by
        case _:
            return None
    return verb, target, by, roles


def attested_run(attestor: Attests, run: ScheduledRun) -> ScheduledRun:
    """What a schedule starts, with the attestation of whoever wrote the schedule last."""
    campaign = run.campaign
    signed = attestor.attest(
        campaign,
        verb="schedule.create",
        target=names.schedule_id(run.schedule),
        by=campaign.requested_by,
        lifetime=ForEver,
    )
    return run.changed(campaign=signed)


class _Interceptor(temporal.Interceptor):
    def __init__(self, attestor: Attests) -> None:
        self._attestor = attestor

    def intercept_client(self, next: temporal.OutboundInterceptor) -> temporal.OutboundInterceptor:  # noqa: A002 - the SDK's name
        return _Outbound(next, self._attestor)


class _Outbound(temporal.OutboundInterceptor):
    def __init__(self, following: temporal.OutboundInterceptor, attestor: Attests) -> None:
        super().__init__(following)
        self._attestor = attestor

    async def start_workflow(self, input: temporal.StartWorkflowInput) -> Any:  # noqa: A002 - the SDK's name
        return await super().start_workflow(replace(input, args=self._args(input.id, input.args)))

    async def start_workflow_update(self, input: temporal.StartWorkflowUpdateInput) -> Any:  # noqa: A002
        args = self._args(input.id, input.args, input.update)
        return await super().start_workflow_update(replace(input, args=args))

    async def start_update_with_start_workflow(self, input: temporal.StartWorkflowUpdateWithStartInput) -> Any:  # noqa: A002
        start, update = input.start_workflow_input, input.update_workflow_input
        update = replace(update, args=self._args(start.id, update.args, update.update))
        start = replace(start, args=self._args(start.id, start.args))
        return await super().start_update_with_start_workflow(
            replace(input, start_workflow_input=start, update_workflow_input=update)
        )

    async def signal_workflow(self, input: temporal.SignalWorkflowInput) -> None:  # noqa: A002
        await super().signal_workflow(replace(input, args=self._args(input.id, input.args)))

    async def create_schedule(self, input: temporal.CreateScheduleInput) -> Any:  # noqa: A002
        return await super().create_schedule(replace(input, schedule=self._schedule(input.schedule)))

    async def update_schedule(self, input: temporal.UpdateScheduleInput) -> None:  # noqa: A002
        await super().update_schedule(replace(input, updater=self._updater(input.updater)))

    def _args(self, workflow_id: str, args: Sequence[Any], update: str = "") -> list[Any]:
        return [
            attested(self._attestor, workflow_id, arg, update=update)
            if isinstance(arg, Attestable) and arg.attestation is None
            else arg
            for arg in args
        ]

    def _schedule(self, schedule: temporal.Schedule) -> temporal.Schedule:
        action = schedule.action
        if not isinstance(action, temporal.ScheduleActionStartWorkflow):
            return schedule
        args = [attested_run(self._attestor, arg) if isinstance(arg, ScheduledRun) else arg for arg in action.args]
        return replace(schedule, action=replace(action, args=args))

    def _updater(self, updater: Callable[[temporal.ScheduleUpdateInput], Any]) -> Callable[..., Any]:
        async def attesting(schedule_input: temporal.ScheduleUpdateInput) -> temporal.ScheduleUpdate | None:
            answer = updater(schedule_input)
            update: temporal.ScheduleUpdate | None = await answer if isawaitable(answer) else answer
            if update is None:
                return None
            return replace(update, schedule=self._schedule(update.schedule))

        return attesting
