"""Campaign: one workflow for one operation over a fleet; it drives the decider, and decides nothing itself.

`bondstone.campaign.decider` says how it is driven: whatever happens is an event, every event goes through `decide`
one after the other, and the commands that this leads to are carried out here. Every answer comes back as an event.
After some hundred targets the workflow continues as new with the machine's state: neither history nor memory grow
with the fleet.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from datetime import datetime, timedelta
from typing import Any, Final

from temporalio import workflow
from temporalio.exceptions import ActivityError, FailureError, is_cancelled_exception

from bondstone import names
from bondstone.campaign import messages, view
from bondstone.campaign.decider import decide, new_campaign, refusal
from bondstone.errors import BondError, ErrorInfo, Refused, from_info
from bondstone.model.campaign import Calendar, CampaignState
from bondstone.model.campaign_moves import (
    Abort,
    AnyVerb,
    AskCalendar,
    Cancel,
    Command,
    Declined,
    Describe,
    Described,
    Event,
    LoadPage,
    Note,
    PageLoaded,
    Probe,
    Probed,
    Record,
    Retry,
    Rollback,
    Submit,
    TargetKey,
    Tick,
)
from bondstone.model.campaign_run import (
    MAX_FLIGHTS_SHOWN,
    CalendarCall,
    CampaignDescription,
    CampaignInput,
    Carried,
    FreezeCall,
    Frozen,
    Reply,
    Sightings,
    SightingsCall,
    Unhealthy,
)
from bondstone.model.failure import bounded, info_of, to_failure
from workflows import attributes, calls, details
from workflows.campaign_books import Books, Pages
from workflows.campaign_verbs import Verbs

FREEZE_WITHIN: Final = timedelta(minutes=10)
DESCRIBE_WITHIN: Final = timedelta(minutes=2)
PROBE_WITHIN: Final = timedelta(minutes=30)
CALENDAR_TRIES: Final = 3


@workflow.defn(name=names.CAMPAIGN_WORKFLOW)
class Campaign(Verbs):
    """One operation over a selected fleet, in waves, under a failure budget, inside windows."""

    @workflow.init
    def __init__(self, start: CampaignInput) -> None:
        carried = start.carried
        self._start = start.model_copy(update={"carried": None})
        self._name = names.campaign_of(workflow.info().workflow_id)
        self._frozen: Frozen | None = carried.frozen if carried else None
        self._state: CampaignState | None = carried.state if carried else None
        self._now = carried.at if carried else workflow.now()
        self._pages = Pages(self._name, carried.frozen.rules.page_size if carried else 1)
        self._books = Books(
            self._name, carried.batches if carried else 0, carried.ledger_digest if carried else ""
        )
        self._events: deque[Event] = deque(carried.events if carried else ())
        self._commands: list[Command] = []
        self._tasks: set[asyncio.Task[None]] = set()
        """What has to be over before the workflow continues as new: signals, reads and writes of the store."""
        self._asking: set[asyncio.Task[None]] = set()
        """Questions that may take long; a run that ends leaves them, and the next one asks again."""
        self._timer: asyncio.Task[None] | None = None
        self._timer_at = self._now
        self._problem: BaseException | None = None
        self._refused: ErrorInfo | None = None
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
                self._soon(self._preload(number))
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
        state, frozen = self._frozen_state()
        if state.result is not None:
            return self._described(whole=False)
        carried = Carried(
            frozen=frozen,
            state=state,
            batches=self._books.batches,
            ledger_digest=self._books.digest,
            events=tuple(self._events),
            at=self._now,
        )
        kept = {"document": {}, "source": ""}  # by the store
        workflow.continue_as_new(self._start.model_copy(update={**kept, "carried": carried}))
        raise AssertionError  # continue_as_new does not return

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
            frozen = await calls.apart(
                names.CAMPAIGN_FREEZE,
                call,
                Frozen,
                within=FREEZE_WITHIN,
                heartbeat=calls.HEARTBEAT_TIMEOUT,
                summary="choose the targets",
            )
        except ActivityError as error:
            self._refused = bounded(info_of(error))
            await workflow.wait_condition(workflow.all_handlers_finished)
            raise to_failure(from_info(self._refused)) from None
        self._frozen = frozen
        self._pages = Pages(self._name, frozen.rules.page_size)
        self._state = new_campaign(frozen.rules)

    def _take(self, event: Event) -> None:
        """One event: the only place that changes the state."""
        state, _ = self._frozen_state()
        self._now = max(self._now, workflow.now())
        self._state, commands = decide(state, event, self._now)
        self._commands += commands

    def _winding(self) -> bool:
        """Whether this run takes nothing new any more."""
        state, frozen = self._frozen_state()
        grown = self._settled >= frozen.continue_after or workflow.info().is_continue_as_new_suggested()
        return state.result is not None or grown

    def _busy(self) -> bool:
        return bool(self._commands or self._tasks or self._unwritten() or not workflow.all_handlers_finished())

    def _unwritten(self) -> bool:
        """Whether the ledger is not complete yet."""
        state, _ = self._frozen_state()
        return self._books.pending or (state.result is not None and not self._closed)

    async def _something(self, *, winding: bool) -> None:
        """Wait for what there is to do next; time itself is an event."""
        if winding:
            await workflow.wait_condition(
                lambda: bool(self._commands) or self._problem is not None or (not self._tasks and self._calm())
            )
        else:
            state, _ = self._frozen_state()
            self._wake(state.wake_at)

            def something() -> bool:
                moved = self._state is not state or self._winding()
                return bool(self._events or self._commands or moved or self._books.due or self._problem)

            await workflow.wait_condition(something)
        if self._problem is not None:
            raise self._problem

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

    def _calm(self) -> bool:
        return self._unwritten() or workflow.all_handlers_finished()

    def _frozen_state(self) -> tuple[CampaignState, Frozen]:
        if self._state is None or self._frozen is None:
            raise AssertionError  # nothing happens to a campaign before it is frozen
        return self._state, self._frozen

    # What it asks for --------------------------------------------------------------------------------------

    def _carry_out(self, *, winding: bool) -> None:
        """Begin everything that was commanded; nothing waits for anything else."""
        commands, self._commands = self._commands, []
        for command in commands:
            if isinstance(command, Note):
                self._books.note(command)
            elif isinstance(command, Describe | Probe):
                self._soon(self._ask(command), asking=True)
            else:
                self._settled += isinstance(command, Record)
                self._soon(self._act(command))
        if winding and not self._tasks and self._unwritten():
            self._soon(self._write())
        elif self._books.due:
            self._soon(self._books.write())

    async def _act(self, command: Command) -> None:
        match command:
            case Submit():
                await self._submit(command)
            case Cancel():
                await self._cancel(command)
            case LoadPage():
                await self._load(command)
            case AskCalendar():
                await self._ask_calendar()
            case Record():
                await self._record(command)
            case _:
                pass  # a linked campaign is started by whoever asks for it

    async def _ask(self, command: Describe | Probe) -> None:
        if isinstance(command, Describe):
            await self._look(command)
        else:
            await self._probe(command)

    def _soon(self, work: Coroutine[Any, Any, None], *, asking: bool = False) -> None:
        task = asyncio.create_task(work)
        tasks = self._asking if asking else self._tasks
        tasks.add(task)

        def over(done: asyncio.Task[None]) -> None:
            tasks.discard(done)
            if not done.cancelled() and done.exception() is not None:
                self._problem = done.exception()

        task.add_done_callback(over)

    async def _write(self) -> None:
        """Write the rest; with the end of the campaign, how it ended."""
        state, _ = self._frozen_state()
        ended = state.result is not None
        final = self._described(whole=False) if ended else None
        await self._books.write(final, state if ended else None)
        self._closed = ended

    async def _submit(self, command: Submit) -> None:
        _, frozen = self._frozen_state()
        entry = await self._pages.entry(command.target)
        call = messages.submission(self._name, self._start.requested_by, frozen.job, command, entry)
        if not await self._signal(entry.service, names.SIGNAL_SUBMIT, call):
            self._soon(self._missed(command), asking=True)

    async def _cancel(self, command: Cancel) -> None:
        entry = await self._pages.entry(command.target)
        call = messages.withdrawal(self._name, self._start.requested_by, command)
        await self._signal(entry.service, names.SIGNAL_WITHDRAW, call)  # one that is gone is found out of time

    async def _signal(self, service: str, name: str, call: Any) -> bool:
        """Signal a service; False when there is none."""
        handle = workflow.get_external_workflow_handle(names.service_workflow_id(*names.parse_service(service)))
        try:
            await handle.signal(name, call)
        except FailureError as error:
            if is_cancelled_exception(error):
                raise
            return False
        return True

    async def _missed(self, command: Submit) -> None:
        """A service cannot be signalled: was it decommissioned, or what?"""
        asked = Describe.model_validate({"targets": [{"target": command.target, "attempt": command.attempt}]})
        sightings = await self._sightings(asked)
        declined = Declined(target=command.target, attempt=command.attempt, why="unreachable")
        if command.target in sightings.left:
            gone = {"why": "skipped", "reason": "decommissioned meanwhile"}
            self._events.append(declined.model_copy(update=gone))
        else:
            self._events.append(declined.model_copy(update={"reason": "there is no such service"}))

    async def _look(self, command: Describe) -> None:
        sightings = await self._sightings(command)
        attempts = {asked.target: asked.attempt for asked in command.targets}
        for target in sightings.left:
            gone = Declined(
                target=target, attempt=attempts[target], why="skipped", reason="decommissioned meanwhile"
            )
            self._events.append(gone)
        self._events.append(Described(found=sightings.found))

    async def _sightings(self, command: Describe) -> Sightings:
        entries = [(asked, await self._pages.entry(asked.target)) for asked in command.targets]
        call = SightingsCall(
            campaign=self._name, targets=tuple(messages.asked(asked, entry) for asked, entry in entries)
        )
        return await calls.apart(
            names.CAMPAIGN_DESCRIBE, call, Sightings, within=DESCRIBE_WITHIN, summary=f"see {len(entries)} targets"
        )

    async def _probe(self, command: Probe) -> None:
        targets = []
        for target in command.targets:
            asked = messages.plain(target)
            targets.append(messages.asked(asked, await self._pages.entry(target)))
        call = SightingsCall(campaign=self._name, targets=tuple(targets))
        answer = await calls.apart(
            names.CAMPAIGN_PROBE,
            call,
            Unhealthy,
            within=PROBE_WITHIN,
            heartbeat=calls.HEARTBEAT_TIMEOUT,
            summary=f"probe {len(targets)} targets",
        )
        self._events.append(Probed(batch=command.batch, unhealthy=answer.unhealthy))

    async def _load(self, command: LoadPage) -> None:
        entries = await self._pages.page(command.page)
        keys = tuple(TargetKey(group=entry.group, team=entry.team) for entry in entries)
        self._events.append(PageLoaded(page=command.page, targets=keys))

    async def _preload(self, page: int) -> None:
        await self._pages.page(page)

    async def _ask_calendar(self) -> None:
        _, frozen = self._frozen_state()
        call = CalendarCall(campaign=self._name, change=frozen.job.change)
        for _ in range(CALENDAR_TRIES):  # what is over when it arrives says nothing of now
            answer = await calls.control(names.CAMPAIGN_CALENDAR, call, Calendar, summary="windows and freezes")
            if answer.until is None or answer.until > workflow.now():
                break
        self._events.append(answer)

    async def _record(self, record: Record) -> None:
        state, _ = self._frozen_state()
        entry = await self._pages.entry(record.target)
        wave = next(
            rules.name
            for rules, first in zip(reversed(state.rules.waves), reversed(state.starts), strict=True)
            if record.target >= first
        )
        self._books.record(messages.target_record(record, wave, entry))

    # What people see ---------------------------------------------------------------------------------------

    def _described(self, *, whole: bool) -> CampaignDescription:
        """The campaign as it stands; not whole is without what changes every second."""
        return view.describe(
            self._name,
            self._start,
            self._frozen,
            self._state,
            service_of=self._pages.service_of,
            batches=self._books.batches,
            recent=self._books.recent if whole else (),
            most_flights=MAX_FLIGHTS_SHOWN if whole else 0,
        )

    def _show(self) -> None:
        """Search attributes for lists, details for the Temporal UI."""
        shown = self._described(whole=False)
        wanted = attributes.of_campaign(shown)
        if wanted != self._shown:
            workflow.upsert_search_attributes(wanted)
            self._shown = wanted
        workflow.set_current_details(details.campaign(shown))
