"""Campaign: one workflow for one operation over a fleet; it drives the decider, and decides nothing itself.

`bondstone.campaign.decider` says how it is driven: whatever happens is an event, every event goes through `decide`
one after the other, and the commands that this leads to are carried out here. Every answer comes back as an event.
After some hundred targets the workflow continues as new with the machine's state: neither history nor memory grow
with the fleet.
"""

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
from bondstone.campaign.decider import decide, new_campaign, refusal
from bondstone.model.campaign.events import (
    Abort,
    AnyVerb,
    AskCalendar,
    Command,
    Event,
    Record,
    Retry,
    Rollback,
    Tick,
)
from bondstone.model.campaign.run import (
    MAX_FLIGHTS_SHOWN,
    CampaignDescription,
    CampaignInput,
    Carried,
    FreezeCall,
    Frozen,
    Reply,
)
from bondstone.model.campaign.state import CampaignState
from bondstone.temporal.failures import bounded, info_of, to_failure
from bondstone.workflows import activity_calls, builds, details, search_attributes
from bondstone.workflows.campaign.commands import Errands
from bondstone.workflows.campaign.target_pages import Books
from bondstone.workflows.campaign.verbs import Verbs

FREEZE_WITHIN: Final = timedelta(minutes=10)


@workflow.defn(name=names.CAMPAIGN_WORKFLOW)
class Campaign(Verbs):
    """One operation over a selected fleet, in waves, under a failure budget, inside windows."""

    @workflow.init
    def __init__(self, start: CampaignInput) -> None:
        carried = start.carried
        self._start = start.changed(carried=None)
        self._name = names.campaign_of(workflow.info().workflow_id)
        self._events: deque[Event] = deque(carried.events if carried else ())
        self._commands: list[Command] = []
        self._books = Books(
            self._name, carried.batches if carried else 0, carried.ledger_digest if carried else ""
        )
        self._state: CampaignState | None = carried.state if carried else None
        self._errands: Errands | None = self._errands_for(carried.frozen) if carried else None
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

    @workflow.run
    async def run(self, start: CampaignInput) -> CampaignDescription:
        """Live until the last target is done; how it stands then is the result.

        Cancelling the workflow aborts the campaign, and lets what runs finish.
        """
        del start  # taken by __init__, which updates that arrive with the start need
        life = asyncio.create_task(self._live())
        while True:
            try:
                return await asyncio.shield(life)
            except asyncio.CancelledError:
                if life.done() or life.cancelling():
                    raise  # the worker drops the workflow from its cache, which cancels every task of it
                self._events.append(
                    Abort(request_id="cancelled", by="temporal", reason="the workflow was cancelled")
                )

    # What it is told ---------------------------------------------------------------------------------------

    @workflow.signal(name=names.SIGNAL_REPLY)
    def reply(self, reply: Reply) -> None:
        """What a service says of a submission."""
        self._events.append(reply.said)

    @workflow.signal(name=names.SIGNAL_CALENDAR)
    def calendar_changed(self) -> None:
        """A freeze was made or ended: look at once."""
        self._commands.append(AskCalendar())

    @workflow.signal(name=names.SIGNAL_MOVE)
    def move(self) -> None:
        """Another build has taken over: the workflow task that this makes says so, and a quiet campaign moves."""

    @workflow.query(name=names.QUERY_DESCRIBE)
    def describe(self) -> CampaignDescription:
        """The campaign as people see it."""
        return self._described(whole=True)

    @workflow.query(name=names.QUERY_STATE)
    def state(self) -> CampaignState | None:
        """All of it, one character for each target; nothing before its targets are frozen."""
        return self._state

    def _check(self, verb: AnyVerb) -> None:
        if self._state is None:
            return  # asked again when it is
        problem: BondError | None
        if self._state.result is not None and isinstance(verb, Retry | Rollback):
            problem = Refused(
                f"the campaign has ended: {self._state.result}",
                where=self._name,
                hint="start a campaign that is linked to it",
            )
        else:
            problem = refusal(self._state, verb)
        if problem is not None:
            raise to_failure(problem)

    async def _do(self, verb: AnyVerb) -> CampaignDescription:
        await workflow.wait_condition(lambda: self._state is not None or self._refused is not None)
        if self._refused is not None:
            raise to_failure(from_info(self._refused))
        self._check(verb)
        self._take(verb)
        return self._described(whole=False)

    # The machine -------------------------------------------------------------------------------------------

    async def _live(self) -> CampaignDescription:
        fresh = self._state is None
        if fresh:
            await self._freeze()
        elif self._state is not None:
            self._commands += messages.open_questions(self._state)
            for number in sorted({target // self._state.rules.page_size for target in self._state.flights}):
                self._at_work.go(self._at_work.pages.page(number))
        self._take(Tick())
        while True:
            winding = self._winding()
            while self._events and not winding:
                self._take(self._events.popleft())
                winding = self._winding()
            self._carry_out(winding=winding)
            self._show()
            if winding and not self._busy():
                break
            await self._something(winding=winding)
        state = self._standing
        if state.result is not None:
            return self._described(whole=False)
        carried = Carried(
            frozen=self._at_work.frozen,
            state=state,
            batches=self._books.batches,
            ledger_digest=self._books.digest,
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
        self._errands = self._errands_for(frozen)
        self._state = new_campaign(frozen.rules)

    def _errands_for(self, frozen: Frozen) -> Errands:
        return Errands(self._name, self._start.requested_by, frozen, self._books, self._events.append)

    def _take(self, event: Event) -> None:
        """One event: the only place that changes the state."""
        self._now = max(self._now, workflow.now())
        self._state, commands = decide(self._standing, event, self._now)
        self._commands += commands

    def _winding(self) -> bool:
        """Whether this run takes nothing new any more."""
        grown = (
            self._settled >= self._at_work.frozen.continue_after or workflow.info().is_continue_as_new_suggested()
        )
        return self._standing.result is not None or grown or builds.outdated()

    def _busy(self) -> bool:
        working = self._commands or self._at_work.busy or self._unwritten()
        return bool(working) or not workflow.all_handlers_finished()

    def _unwritten(self) -> bool:
        """Whether the ledger is not complete yet."""
        return self._books.pending or (self._standing.result is not None and not self._closed)

    async def _something(self, *, winding: bool) -> None:
        """Wait for what there is to do next; time itself is an event."""
        before, errands = self._standing, self._at_work
        if not winding:
            self._wake(before.wake_at)

        def something() -> bool:
            if self._commands or errands.problem is not None:
                return True
            if winding:
                return not errands.busy and (self._unwritten() or workflow.all_handlers_finished())
            return bool(self._events or self._books.due) or self._state is not before or self._winding()

        await workflow.wait_condition(something)
        if errands.problem is not None:
            raise errands.problem

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

    def _carry_out(self, *, winding: bool) -> None:
        """Begin everything that was commanded, and write down what is there."""
        commands, self._commands = self._commands, []
        for command in commands:
            self._settled += isinstance(command, Record)
            self._at_work.begin(command)
        if winding and not self._at_work.busy and self._unwritten():
            self._at_work.go(self._write())
        elif self._books.due:
            self._at_work.go(self._books.write())

    async def _write(self) -> None:
        """Write the rest; with the end of the campaign, how it ended."""
        ended = self._standing.result is not None
        final = self._described(whole=False) if ended else None
        await self._books.write(final, self._state if ended else None)
        self._closed = ended

    @property
    def _standing(self) -> CampaignState:
        """The state; nothing happens to a campaign before it is frozen."""
        if self._state is None:
            raise AssertionError
        return self._state

    @property
    def _at_work(self) -> Errands:
        if self._errands is None:
            raise AssertionError  # as above
        return self._errands

    # What people see ---------------------------------------------------------------------------------------

    def _described(self, *, whole: bool) -> CampaignDescription:
        """The campaign as it stands; not whole is without what changes every second."""
        if self._errands is None:
            return view.describe(self._name, self._start)
        return view.describe(
            self._name,
            self._start,
            self._errands.frozen,
            self._state,
            service_of=self._errands.pages.service_of,
            batches=self._books.batches,
            recent=self._books.recent if whole else (),
            most_flights=MAX_FLIGHTS_SHOWN if whole else 0,
        )

    def _show(self) -> None:
        """Search attributes for lists, details for the Temporal UI."""
        shown = self._described(whole=False)
        wanted = search_attributes.of_campaign(shown)
        if wanted != self._shown:
            workflow.upsert_search_attributes([*wanted, search_attributes.changed_at(workflow.now())])
            self._shown = wanted
        workflow.set_current_details(details.campaign(shown))
