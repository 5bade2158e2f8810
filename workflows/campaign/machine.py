"""What drives a campaign: each event goes through the decider, each command is carried out, answers are events."""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import datetime, timedelta
from typing import Any, Final

from temporalio import workflow
from temporalio.exceptions import ActivityError

from bondstone.base import names
from bondstone.base.errors import BondError, ErrorInfo, Refused, from_info
from bondstone.campaign import messages, view
from bondstone.campaign.decider import decide, effect, new_campaign, refusal
from bondstone.model.campaign.events import (
    AnyVerb,
    Approve,
    AskCalendar,
    Command,
    Event,
    RecordOutcome,
    Reject,
    Retry,
    RollbackTargets,
    Tick,
)
from bondstone.model.campaign.run import (
    MAX_FLIGHTS_SHOWN,
    CampaignDescription,
    CampaignInput,
    Carried,
    FreezeCall,
    Frozen,
)
from bondstone.model.campaign.state import EDITION, CampaignState
from bondstone.temporal.failures import bounded, info_of, to_failure
from bondstone.workflows import activity_calls, attested, builds, details, search_attributes
from bondstone.workflows.campaign.commands import CommandRunner
from bondstone.workflows.campaign.ledger_writer import LedgerWriter

FREEZE_WITHIN: Final = timedelta(minutes=10)


class CampaignMachine:
    """The state of one campaign, the events that change it, and the commands that follow.

    Args:
        start: What the campaign was started with, or what its last run carried over.
    """

    def __init__(self, start: CampaignInput) -> None:
        carried = start.carried
        self._start = start.changed(carried=None)
        self._name = names.campaign_of(workflow.info().workflow_id)
        self._events: deque[Event] = deque(carried.events if carried else ())
        self._commands: list[Command] = []
        self._ledger = LedgerWriter(
            self._name, carried.batches if carried else 0, carried.ledger_digest if carried else ""
        )
        self._state: CampaignState | None = carried.state if carried else None
        self._runner: CommandRunner | None = self._runner_for(carried.frozen) if carried else None
        """With the state: both are there once the targets are frozen."""
        self._refused: ErrorInfo | None = None
        """Why they could not be."""
        self._now = carried.at if carried else workflow.now()
        self._timer: asyncio.Task[None] | None = None
        self._timer_at = self._now
        self._settled = 0
        self._closed = False
        """The ledger says how it ended."""
        self._shown: list[Any] | None = None

    def add(self, event: Event) -> None:
        """Take an event; it is decided on in its turn."""
        self._events.append(event)

    def ask_calendar(self) -> None:
        """Ask at once what windows and freezes say."""
        self._commands.append(AskCalendar())

    @property
    def state(self) -> CampaignState | None:
        """The decider's state; None before the targets are fixed."""
        return self._state

    def validate(self, verb: AnyVerb) -> None:
        """Refuse a verb that nobody is attested to ask for, or that has no place now. Only for validators."""
        attested.check(
            verb,
            verb=f"campaign.{verb.kind}",
            target=names.campaign_workflow_id(self._name),
            by=verb.by,
            roles=verb.roles if isinstance(verb, Approve | Reject) else (),
        )
        self.check(verb)

    def check(self, verb: AnyVerb) -> None:
        """Refuse a verb that has no place now."""
        if self._state is None:
            return  # asked again when it is
        problem: BondError | None
        if self._state.result is not None and isinstance(verb, Retry | RollbackTargets):
            problem = Refused(
                f"the campaign has ended: {self._state.result}",
                where=self._name,
                hint="start a campaign that is linked to it",
            )
        else:
            problem = refusal(self._state, verb)
        if problem is not None:
            raise to_failure(problem)

    async def perform(self, verb: AnyVerb) -> CampaignDescription:
        """Carry out a verb, once for each request id; the campaign as it stands then."""
        await workflow.wait_condition(lambda: self._state is not None or self._refused is not None)
        if self._refused is not None:
            raise to_failure(from_info(self._refused))
        self.check(verb)
        touched = effect(self._decided, verb)
        self._take(verb)
        return self.description(whole=False).changed(effect=touched)

    async def live(self) -> CampaignDescription:
        """Choose the targets, then drive the campaign to its end, or to the end of this run."""
        if self._state is None:
            await self._freeze()
        else:
            self._commands += messages.open_questions(self._state)
            for number in sorted({target // self._state.rules.page_size for target in self._state.flights}):
                self._running.go(self._running.pages.page(number))
        self._take(Tick())
        while True:
            ending = self._ending_run()
            while self._events and not ending:
                self._take(self._events.popleft())
                ending = self._ending_run()
            self._carry_out(ending=ending)
            self._show()
            if ending and not self._busy():
                break
            await self._wait_for_work(ending=ending)
        state = self._decided
        if state.result is not None:
            return self.description(whole=False)
        carried = Carried(
            frozen=self._running.frozen,
            state=state,
            batches=self._ledger.batches,
            ledger_digest=self._ledger.digest,
            events=tuple(self._events),
            at=self._now,
        )
        kept = {"document": {}, "source": ""}  # by the store
        return builds.next_run(self._start.changed(**kept, carried=carried))

    async def _freeze(self) -> None:
        """Choose the targets, and fail in words when there is something wrong with that."""
        call = FreezeCall(
            name=self._name,
            run_id=workflow.info().first_execution_run_id,
            start=self._start,
            at=workflow.now(),
        )
        self._show()
        try:
            frozen = await activity_calls.apart(
                names.CAMPAIGN_FREEZE,
                call,
                Frozen,
                within=FREEZE_WITHIN,
                heartbeat=activity_calls.HEARTBEAT_TIMEOUT,
                summary="choose the targets",
            )
        except ActivityError as error:
            self._refused = bounded(info_of(error))
            await workflow.wait_condition(workflow.all_handlers_finished)
            raise to_failure(from_info(self._refused)) from None
        self._runner = self._runner_for(frozen)
        # What began before editions were told apart continues as it began.
        self._state = new_campaign(frozen.rules, EDITION if workflow.patched("campaign-editions") else 0)

    def _runner_for(self, frozen: Frozen) -> CommandRunner:
        return CommandRunner(
            self._name,
            self._start.requested_by,
            frozen,
            self._ledger,
            self._events.append,
            attestation=self._start.attestation,
        )

    def _take(self, event: Event) -> None:
        """One event: the only place that changes the state."""
        self._now = max(self._now, workflow.now())
        self._state, commands = decide(self._decided, event, self._now)
        self._commands += commands

    def _ending_run(self) -> bool:
        """Whether this run takes no new events: the campaign has ended, or continues in a new run."""
        grown = (
            self._settled >= self._running.frozen.continue_after or workflow.info().is_continue_as_new_suggested()
        )
        return self._decided.result is not None or grown or builds.outdated()

    def _busy(self) -> bool:
        working = self._commands or self._running.busy or self._unwritten()
        return bool(working) or not workflow.all_handlers_finished()

    def _unwritten(self) -> bool:
        """Whether the ledger is not complete yet."""
        return self._ledger.pending or (self._decided.result is not None and not self._closed)

    async def _wait_for_work(self, *, ending: bool) -> None:
        """Wait until there is work; time itself is an event."""
        before, runner = self._decided, self._running
        if not ending:
            self._wake(before.wake_at)

        def has_work() -> bool:
            if self._commands or runner.problem is not None:
                return True
            if ending:
                return not runner.busy and (self._unwritten() or workflow.all_handlers_finished())
            return bool(self._events or self._ledger.due) or self._state is not before or self._ending_run()

        await workflow.wait_condition(has_work)
        if runner.problem is not None:
            raise runner.problem

    def _wake(self, at: datetime | None) -> None:
        """Have a tick come by then; a timer that rings before is left alone, because a new one costs events."""
        if at is None or (self._timer is not None and self._timer_at <= at):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = asyncio.create_task(self._tick(max(at - workflow.now(), timedelta(0))))

    async def _tick(self, after: timedelta) -> None:
        await asyncio.sleep(after.total_seconds())
        self._timer = None
        self._events.append(Tick())

    def _carry_out(self, *, ending: bool) -> None:
        """Begin every command, and write to the ledger what is due."""
        commands, self._commands = self._commands, []
        for command in commands:
            self._settled += isinstance(command, RecordOutcome)
            self._running.begin(command)
        if ending and not self._running.busy and self._unwritten():
            self._running.go(self._write())
        elif self._ledger.due:
            self._running.go(self._ledger.write())

    async def _write(self) -> None:
        """Write the rest; with the end of the campaign, how it ended."""
        ended = self._decided.result is not None
        final = self.description(whole=False) if ended else None
        await self._ledger.write(final, self._state if ended else None)
        self._closed = ended

    @property
    def _decided(self) -> CampaignState:
        """The state; nothing happens to a campaign before it is frozen."""
        if self._state is None:
            raise AssertionError
        return self._state

    @property
    def _running(self) -> CommandRunner:
        if self._runner is None:
            raise AssertionError  # as above
        return self._runner

    # What people see ---------------------------------------------------------------------------------------

    def description(self, *, whole: bool) -> CampaignDescription:
        """The campaign as it stands; not whole is without what changes every second."""
        if self._runner is None:
            return view.describe(self._name, self._start)
        return view.describe(
            self._name,
            self._start,
            self._runner.frozen,
            self._state,
            service_of=self._runner.pages.service_of,
            batches=self._ledger.batches,
            recent=self._ledger.recent if whole else (),
            most_flights=MAX_FLIGHTS_SHOWN if whole else details.MAX_TARGETS,
        )

    def _show(self) -> None:
        """Search attributes for lists, details for the Temporal UI."""
        shown = self.description(whole=False)
        wanted = search_attributes.of_campaign(shown)
        if wanted != self._shown:
            workflow.upsert_search_attributes([*wanted, search_attributes.changed_at(workflow.now())])
            self._shown = wanted
        workflow.set_current_details(details.campaign(shown, self._ledger.last, workflow.info().namespace))
