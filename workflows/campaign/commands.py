"""What a campaign has others do: each command of the decider, carried out; each answer is an event."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, Final

from temporalio import workflow
from temporalio.exceptions import FailureError, is_cancelled_exception

from bondstone.base import names
from bondstone.campaign import messages
from bondstone.model.attestation import Attestation
from bondstone.model.campaign.events import (
    AskCalendar,
    AttemptDeclined,
    Cancel,
    Command,
    Describe,
    Described,
    Event,
    LoadPage,
    Note,
    PageLoaded,
    Probed,
    ProbeTargets,
    RecordOutcome,
    Submit,
    TargetKey,
)
from bondstone.model.campaign.run import (
    CalendarCall,
    Frozen,
    Sightings,
    SightingsCall,
    UnhealthyTargets,
)
from bondstone.model.campaign.state import Calendar
from bondstone.workflows import activity_calls
from bondstone.workflows.campaign.ledger_writer import LedgerWriter
from bondstone.workflows.campaign.target_pages import Pages

DESCRIBE_WITHIN: Final = timedelta(minutes=2)
PROBE_WITHIN: Final = timedelta(minutes=30)
CALENDAR_TRIES: Final = 3


class CommandRunner:
    """Commands that are under way; none waits for any other.

    Args:
        campaign: Name of the campaign.
        by: Who started it.
        frozen: What it was frozen to.
        ledger: Where records and notes go.
        answered: Takes each answer.
        attestation: Of who started it.
    """

    def __init__(
        self,
        campaign: str,
        by: str,
        frozen: Frozen,
        ledger: LedgerWriter,
        answered: Callable[[Event], None],
        *,
        attestation: Attestation | None = None,
    ) -> None:
        self._campaign = campaign
        self._by = by
        self.frozen = frozen
        self.pages = Pages(campaign, frozen.rules.page_size)
        self._ledger = ledger
        self._answered = answered
        self._attestation = attestation
        self._tasks: set[asyncio.Task[None]] = set()
        """What has to be over before the workflow continues as new: signals, reads and writes of the store."""
        self._asking: set[asyncio.Task[None]] = set()
        """Questions that may take long; a run that ends leaves them, and the next one asks again."""
        self.problem: BaseException | None = None
        """What one of them died of."""

    @property
    def busy(self) -> bool:
        """Whether anything has to be over before the workflow may continue as new."""
        return bool(self._tasks)

    def begin(self, command: Command) -> None:
        """Begin what was commanded."""
        match command:
            case Note():
                self._ledger.note(command)
            case Describe():
                self.go(self._look(command), asking=True)
            case ProbeTargets():
                self.go(self._probe(command), asking=True)
            case Submit():
                self.go(self._submit(command))
            case Cancel():
                self.go(self._cancel(command))
            case LoadPage():
                self.go(self._load(command))
            case AskCalendar():
                self.go(self._ask_calendar())
            case RecordOutcome():
                self.go(self._record(command))
            case _:
                pass  # a linked campaign is started by whoever asks for it

    def go(self, work: Coroutine[Any, Any, Any], *, asking: bool = False) -> None:
        """Run work beside all other work."""
        task = asyncio.create_task(work)
        tasks = self._asking if asking else self._tasks
        tasks.add(task)

        def over(done: asyncio.Task[Any]) -> None:
            tasks.discard(done)
            if not done.cancelled() and done.exception() is not None:
                self.problem = done.exception()

        task.add_done_callback(over)

    # Services ----------------------------------------------------------------------------------------------

    async def _submit(self, command: Submit) -> None:
        entry = await self.pages.entry(command.target)
        call = messages.submission(
            self._campaign, self._by, self.frozen.job, command, entry, attestation=self._attestation
        )
        if not await self._signal(entry.service, names.SIGNAL_SUBMIT, call):
            self.go(self._missed(command), asking=True)

    async def _cancel(self, command: Cancel) -> None:
        entry = await self.pages.entry(command.target)
        call = messages.withdrawal(self._campaign, self._by, command, attestation=self._attestation)
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
        question = Describe.model_validate({"targets": [{"target": command.target, "attempt": command.attempt}]})
        sightings = await self._sightings(question)
        declined = AttemptDeclined(target=command.target, attempt=command.attempt, why="unreachable")
        if command.target in sightings.left:
            self._answered(declined.changed(why="skipped", reason="decommissioned meanwhile", gone=True))
        else:
            self._answered(declined.changed(reason="there is no such service", gone=True))

    async def _look(self, command: Describe) -> None:
        sightings = await self._sightings(command)
        attempts = {overdue.target: overdue.attempt for overdue in command.targets}
        for target in sightings.left:
            declined = AttemptDeclined(target=target, attempt=attempts[target], why="skipped", gone=True)
            self._answered(declined.changed(reason="decommissioned meanwhile"))
        self._answered(Described(found=sightings.found))

    async def _sightings(self, command: Describe) -> Sightings:
        entries = [(overdue, await self.pages.entry(overdue.target)) for overdue in command.targets]
        call = SightingsCall(
            campaign=self._campaign,
            targets=tuple(messages.question_about(overdue, entry) for overdue, entry in entries),
        )
        return await activity_calls.apart(
            names.CAMPAIGN_DESCRIBE, call, Sightings, within=DESCRIBE_WITHIN, summary=f"see {len(entries)} targets"
        )

    async def _probe(self, command: ProbeTargets) -> None:
        targets = []
        for target in command.targets:
            plain_target = messages.plain(target)
            targets.append(messages.question_about(plain_target, await self.pages.entry(target)))
        call = SightingsCall(campaign=self._campaign, targets=tuple(targets))
        answer = await activity_calls.apart(
            names.CAMPAIGN_PROBE,
            call,
            UnhealthyTargets,
            within=PROBE_WITHIN,
            heartbeat=activity_calls.HEARTBEAT_TIMEOUT,
            summary=f"probe {len(targets)} targets",
        )
        self._answered(Probed(batch=command.batch, unhealthy=answer.unhealthy))

    # The store and the calendar ------------------------------------------------------------------------------

    async def _load(self, command: LoadPage) -> None:
        entries = await self.pages.page(command.page)
        keys = tuple(TargetKey(group=entry.group, team=entry.team) for entry in entries)
        self._answered(PageLoaded(page=command.page, targets=keys))

    async def _ask_calendar(self) -> None:
        call = CalendarCall(campaign=self._campaign, change=self.frozen.job.change)
        for _ in range(CALENDAR_TRIES):  # what is over when it arrives says nothing of now
            answer = await activity_calls.control(
                names.CAMPAIGN_CALENDAR, call, Calendar, summary="windows and freezes"
            )
            if answer.until is None or answer.until > workflow.now():
                break
        self._answered(answer)

    async def _record(self, record: RecordOutcome) -> None:
        entry = await self.pages.entry(record.target)
        self._ledger.record(messages.target_record(record, self.frozen.rules, entry))
