"""A fleet of ready services and a campaign over it: real workflows, a store in memory, fake tools."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from fakes import Caller, FakePlatform
from obstore.store import MemoryStore
from temporalio import activity
from temporalio.client import Client, WorkflowHandle, WorkflowHistory

from bondstone.activities.campaign.activities import CampaignActivities
from bondstone.activities.failures import speaks_failures
from bondstone.activities.health import HealthActivities
from bondstone.base import names
from bondstone.base.errors import BondError, ToolFailed
from bondstone.campaign.decider import decide, new_campaign
from bondstone.campaign.messages import submission
from bondstone.model.campaign.events import CampaignVerb, Event, PageLoaded, Submit, TargetKey, Tick
from bondstone.model.campaign.run import (
    CalendarCall,
    CampaignDescription,
    CampaignInput,
    Carried,
    FreezeCall,
    Frozen,
    Job,
    LedgerBatch,
    Sightings,
    SightingsCall,
    SubmitCall,
    TargetEntry,
    TargetRecord,
    UnhealthyTargets,
)
from bondstone.model.campaign.schedule import RunCall, ScheduleEntry
from bondstone.model.campaign.state import Calendar, Rules, WaveRules
from bondstone.model.ledger import LedgerEntry
from bondstone.model.service import (
    RUN_VERSION,
    DayTwo,
    OperationKind,
    Phase,
    Resolved,
    RevisionRef,
    ServiceState,
    StepSpec,
)
from bondstone.model.step import ApplyCall
from bondstone.store import Store
from bondstone.store.campaigns import latest
from bondstone.store.crypto import KeyRing
from bondstone.store.objects import Objects
from bondstone.temporal import calls
from harness.waiting import until, until_async

OLD = Resolved(
    revision=RevisionRef(promise="postgres", version="1.0.0", digest="a" * 64),
    steps=(StepSpec(id="main", executor="fake"),),
)
TO = "1.0.1"
WITHIN_SECONDS = 240


@dataclass
class CampaignPlatform(FakePlatform):
    """The fake platform, with what campaigns need beside it."""

    client: Client | None = None
    store: Store = field(default_factory=lambda: Store(Objects(MemoryStore()), KeyRing.generate()))
    rules: Rules | None = None
    day_two: DayTwo = field(default_factory=lambda: DayTwo(patch_on_failure="hold"))
    job: Job = field(default_factory=lambda: Job(operation=OperationKind.PATCH, promise="postgres", to=TO))
    targets: Sequence[TargetEntry] = ()
    continue_after: int = 400
    refusal: BondError | None = None
    calendar: Calendar = field(default_factory=Calendar)
    unhealthy: dict[int, str] = field(default_factory=dict)
    looks: list[SightingsCall] = field(default_factory=list)
    batches: list[LedgerBatch] = field(default_factory=list)
    failing: set[str] = field(default_factory=set)
    """Services whose apply of the new revision fails."""
    holding: asyncio.Event | None = None
    """While it is not set, applies of the new revision wait."""
    applying: set[str] = field(default_factory=set)
    most_applying: int = 0

    async def _play(self, what: str, call: Any) -> None:
        await super()._play(what, call)
        if not isinstance(call, ApplyCall) or call.revision.version != TO:
            return
        service = str(call.service)
        self.applying.add(service)
        self.most_applying = max(self.most_applying, len(self.applying))
        try:
            if self.holding is not None:
                while not self.holding.is_set():
                    activity.heartbeat()
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self.holding.wait(), 0.2)
            if service in self.failing:
                raise ToolFailed("it does not apply")
        finally:
            self.applying.discard(service)

    async def until_applying(self, number: int) -> None:
        """Wait until so many applies of the new revision are held."""
        await until(lambda: len(self.applying) == number, f"{number} applies are held", seconds=WITHIN_SECONDS)

    def activities(self) -> list[Callable[..., Any]]:
        assert self.client is not None
        real = CampaignActivities(self.store, self.client, HealthActivities(self.store, probe_local=True))

        @activity.defn(name=names.CAMPAIGN_FREEZE)
        @speaks_failures
        async def freeze(call: FreezeCall) -> Frozen:
            await self._play("freeze", call)
            if self.refusal is not None:
                raise self.refusal
            assert self.rules is not None
            rules = self.rules.changed(campaign=call.name, requested_by=call.start.requested_by)
            digest = await self.store.campaigns.put_targets(call.name, self.targets, (), page_size=rules.page_size)
            rules = rules.changed(targets_digest=digest)
            return Frozen(rules=rules, job=self.job, continue_after=self.continue_after)

        @activity.defn(name=names.CAMPAIGN_CALENDAR)
        async def calendar(call: CalendarCall) -> Calendar:
            await self._play("calendar", call)
            return self.calendar

        @activity.defn(name=names.CAMPAIGN_PROBE)
        async def probe(call: SightingsCall) -> UnhealthyTargets:
            await self._play("probe", call)
            return UnhealthyTargets(unhealthy=self.unhealthy)

        @activity.defn(name=names.CAMPAIGN_DESCRIBE)
        @speaks_failures
        async def describe(call: SightingsCall) -> Sightings:
            self.looks.append(call)
            return await CampaignActivities.describe.__wrapped__(real, call)  # type: ignore[attr-defined]

        @activity.defn(name=names.CAMPAIGN_RECORD)
        @speaks_failures
        async def record(batch: LedgerBatch) -> LedgerEntry:
            self.batches.append(batch)
            return await self.store.campaigns.record(batch)

        @activity.defn(name=names.SCHEDULE_RECORD)
        async def record_run(call: RunCall) -> ScheduleEntry:
            run = call.run
            return ScheduleEntry(
                schedule=run.schedule,
                kind="run",
                at=call.at,
                by=run.campaign.requested_by,
                campaign=call.campaign,
                planned_at=call.planned_at,
            )

        return [*super().activities(), freeze, calendar, probe, describe, record, record_run, real.page]


@dataclass
class Fleet:
    """Services that stand on `OLD`, and the campaign over them."""

    client: Client
    platform: CampaignPlatform
    callers: list[Caller]
    name: str
    handle: WorkflowHandle[Any, CampaignDescription]
    first_run_id: str = ""

    @classmethod
    async def of(cls, client: Client, platform: CampaignPlatform, sizes: Sequence[int], **rules: Any) -> Fleet:
        """A fleet of ready services, one wave for each size; the campaign is not started yet."""
        platform.client = client
        callers = [Caller(client) for _ in range(sum(sizes))]
        waves = tuple(WaveRules(name=f"wave-{number}", size=size) for number, size in enumerate(sizes))
        fields = {"campaign": "x", "requested_by": "ada", "waves": waves, "page_size": 3} | rules
        platform.rules = Rules.model_validate(fields)
        platform.targets = [TargetEntry(service=str(caller.service), version="1.0.0", to=TO) for caller in callers]
        await asyncio.gather(*(cls.ready(client, caller) for caller in callers))
        name = f"c-{uuid.uuid4().hex[:10]}"
        return cls(client, platform, callers, name, client.get_workflow_handle(names.campaign_workflow_id(name)))

    @staticmethod
    async def ready(client: Client, caller: Caller, **fields: Any) -> None:
        """Start a service that is ready already."""
        state = ServiceState(
            service=caller.service,
            phase=Phase.READY,
            resting=Phase.READY,
            resolved=OLD,
            healthy=(OLD,),
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
            created_by="grace",
            run_version=RUN_VERSION,
        ).changed(**fields)
        await client.start_workflow(names.SERVICE_WORKFLOW, state, id=caller.id, task_queue=names.CONTROL_QUEUE)

    async def start(self, **fields: Any) -> None:
        """Start the campaign."""
        start = CampaignInput(**{"requested_by": "ada", "reason": "CVE"} | fields)
        Caller._made.append(_Ends(self.handle))  # type: ignore[arg-type]
        started = await self.client.start_workflow(
            names.CAMPAIGN_WORKFLOW,
            start,
            id=self.handle.id,
            task_queue=names.CONTROL_QUEUE,
            result_type=CampaignDescription,
        )
        self.first_run_id = started.first_execution_run_id or ""
        self.handle = self.client.get_workflow_handle(self.handle.id, result_type=CampaignDescription)

    async def result(self) -> CampaignDescription:
        """How it ended."""
        async with asyncio.timeout(WITHIN_SECONDS):
            return await self.handle.result()

    async def verb(self, kind: type[CampaignVerb], **fields: Any) -> CampaignDescription:
        """Ask something of it, as a client does."""
        verb = kind(**{"request_id": uuid.uuid4().hex, "by": "grace"} | fields)
        name = names.CAMPAIGN_VERBS[verb.kind]  # type: ignore[attr-defined]
        return await calls.update(self.client, self.handle.id, name, verb, CampaignDescription)

    async def description(self) -> CampaignDescription:
        """How it stands."""
        return await calls.query(self.client, self.handle.id, CampaignDescription)

    async def until(self, test: Callable[[CampaignDescription], bool]) -> CampaignDescription:
        """Wait until it stands as wanted."""

        async def fits() -> CampaignDescription | None:
            result = await self.description()
            return result if test(result) else None

        return await until_async(fits, "how it stands", seconds=WITHIN_SECONDS, not_yet=(BondError,))

    @property
    def services(self) -> list[str]:
        """The targets, in order."""
        return [str(caller.service) for caller in self.callers]

    async def versions(self) -> list[str]:
        """What each target stands on."""
        states = [await caller.state() for caller in self.callers]
        return [state.resolved.revision.version if state.resolved else "" for state in states]

    async def records(self) -> dict[int, TargetRecord]:
        """What the ledger says of each target."""
        return latest(await self.platform.store.campaigns.ledger(self.name))

    async def notes(self) -> list[str]:
        """What the ledger says of the campaign."""
        return [
            note.what for batch in await self.platform.store.campaigns.ledger(self.name) for note in batch.notes
        ]

    async def histories(self) -> list[WorkflowHistory]:
        """Of each of its runs, in order."""
        run_id, result = self.first_run_id, []
        while run_id:
            history = await self.client.get_workflow_handle(self.handle.id, run_id=run_id).fetch_history()
            result.append(history)
            last = history.events[-1].workflow_execution_continued_as_new_event_attributes
            run_id = last.new_execution_run_id
        return result

    def submission(self, target: int, **changes: Any) -> SubmitCall:
        """What the campaign sends, to send it by hand."""
        command = Submit(target=target, attempt=1)
        call = submission(self.name, "ada", self.platform.job, command, self.platform.targets[target])
        return call.changed(**changes)

    async def carried(self, events: Sequence[Event]) -> Carried:
        """What a campaign hands to itself: everything is submitted, and then these events came."""
        rules, store = self.platform.rules, self.platform.store
        assert rules is not None
        rules = rules.changed(campaign=self.name)
        await store.campaigns.put_targets(self.name, self.platform.targets, (), page_size=rules.page_size)
        at = datetime.now(UTC)
        keys = tuple(TargetKey(team=entry.team) for entry in self.platform.targets)
        state = new_campaign(rules)
        for event in (Tick(), PageLoaded(page=0, targets=keys), *events):
            state, _ = decide(state, event, at)
        assert len(state.flights) == len(keys)
        return Carried(frozen=Frozen(rules=rules, job=self.platform.job), state=state, at=at)


@dataclass
class _Ends:
    handle: Any
