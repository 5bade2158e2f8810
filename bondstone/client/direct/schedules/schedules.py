"""Schedules as Temporal keeps them. `Bondstone.schedules`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.schedule.v1 import SchedulePatch
from temporalio.api.workflowservice.v1 import ListScheduleMatchingTimesRequest
from temporalio.client import (
    Client,
    Schedule,
    ScheduleAlreadyRunningError,
    ScheduleDescription,
    ScheduleHandle,
    SchedulePolicy,
    ScheduleState,
)
from temporalio.service import RPCError, RPCStatusCode
from typing_extensions import override

from bondstone.base import names
from bondstone.base.canonical import canonical, digest
from bondstone.base.errors import AlreadyExists, BondError, InvalidInput, NotFound
from bondstone.campaign.document import Flaw, read_strategy
from bondstone.client.direct.campaigns.secret_inputs import secret_inputs
from bondstone.client.direct.schedules.changing import backfill_of, change, patch, require_version, trigger_now
from bondstone.client.direct.schedules.describing import SHOWN, document
from bondstone.client.direct.schedules.files import Timing, read_timing, scheduled_run
from bondstone.client.direct.schedules.specs import POLICIES, action_of, run_of, spec_of
from bondstone.client.documents.schedule import ScheduleDocument, ScheduleRow
from bondstone.client.schedules import DEFAULT_CATCH_UP, TIMES_SHOWN, Schedules
from bondstone.model.campaign.schedule import Overlap, ScheduledRun, ScheduleEntry
from bondstone.model.manifest import KeptPlatformManifest
from bondstone.store.schedules import ScheduleStore as Ledger
from bondstone.temporal.calls import as_ours

if TYPE_CHECKING:
    from bondstone.client.direct.connection import Caller
    from bondstone.model.campaign.run import CampaignDescription

MAX_NEXT: Final = 1000
MAX_BACKFILL: Final = 1000
"""Most runs of one backfill."""

_LOOK_AHEAD: Final = (timedelta(days=8), timedelta(days=62), timedelta(days=366), timedelta(days=366 * 9))
"""Spans in which the next times are looked for, each when the one before holds too few."""
_TRIGGER_SECONDS: Final = 5.0
_REQUEST_CHARS: Final = 32


class DirectSchedules(Schedules):
    """Schedules over Temporal; their history is in the object store.

    Args:
        caller: Who asks, and by which connection.
        describe: A campaign by its name, see `DirectCampaigns.describe`.
    """

    def __init__(self, caller: Caller, describe: Callable[[str], Awaitable[CampaignDescription]]) -> None:
        self._caller = caller
        self._describe_campaign = describe

    # Making ------------------------------------------------------------------------------------------------

    @override
    async def create(
        self,
        name: str,
        data: bytes,
        file: str = "strategy",
        *,
        cron: str,
        time_zone: str = "UTC",
        overlap: Overlap = "skip",
        jitter: timedelta = timedelta(0),
        catch_up: timedelta = DEFAULT_CATCH_UP,
        reason: str = "",
        paused: bool = False,
        applied: KeptPlatformManifest | None = None,
    ) -> ScheduleDocument:
        now = datetime.now(UTC)
        timing = read_timing(cron, time_zone)
        run = (await self._run(name, data, file, timing, reason=reason, now=now)).changed(applied=applied)
        await self._require_promise(run)
        state = ScheduleState(note=f"created by {self._caller.by}", paused=paused)
        policy = SchedulePolicy(overlap=POLICIES[overlap], catchup_window=catch_up)
        schedule = Schedule(action_of(run), spec_of(timing, jitter, now), policy=policy, state=state)
        try:
            await (await self._temporal()).create_schedule(names.schedule_id(name), schedule)
        except ScheduleAlreadyRunningError as error:
            raise AlreadyExists(
                f"there is a schedule {name} already", hint="change it with `bond schedule update`"
            ) from error
        except RPCError as error:
            raise _ours(error, name) from error
        await self._record(name, "created", reason)
        if paused:
            await self._record(name, "paused", "created so")
        return await self.get(name)

    @override
    async def update(
        self,
        name: str,
        data: bytes | None = None,
        file: str = "strategy",
        *,
        cron: str = "",
        time_zone: str = "",
        overlap: Overlap | None = None,
        jitter: timedelta | None = None,
        catch_up: timedelta | None = None,
        reason: str = "",
        applied: KeptPlatformManifest | None = None,
        expected: str = "",
    ) -> ScheduleDocument:
        described = await self._describe(name)
        require_version(described, expected)
        now = datetime.now(UTC)
        old = await run_of(described)
        timing = read_timing(cron or old.cron, time_zone or old.time_zone)
        if data is not None:
            run = await self._run(name, data, file, timing, reason=reason, now=now)
            run = run.changed(created_by=old.created_by)
            await self._require_promise(run)
        else:
            why = reason or old.campaign.reason
            campaign = old.campaign.changed(requested_by=self._caller.by, reason=why)
            changed = {"cron": timing.cron, "time_zone": timing.time_zone, "campaign": campaign}
            run = old.changed(**changed)
        run = run.changed(applied=applied or old.applied)

        schedule = described.schedule
        kept = schedule.spec.jitter or timedelta(0)
        schedule.action = action_of(run)
        schedule.spec = spec_of(timing, kept if jitter is None else jitter, now)
        schedule.policy.overlap = POLICIES[overlap] if overlap else schedule.policy.overlap
        schedule.policy.catchup_window = catch_up or schedule.policy.catchup_window
        try:
            await change(await self._temporal(), described, schedule, run)
        except RPCError as error:
            raise _ours(error, name) from error
        await self._record(name, "updated", reason)
        return await self.get(name)

    @override
    async def delete(self, name: str, *, reason: str = "") -> None:
        await self._describe(name)
        await self._record(name, "deleted", reason)
        try:
            await (await self._handle(name)).delete()
        except RPCError as error:
            raise _ours(error, name) from error

    # Looking -----------------------------------------------------------------------------------------------

    @override
    async def list(self) -> list[ScheduleRow]:
        known = []
        try:
            async for entry in await (await self._temporal()).list_schedules():
                if name := names.schedule_of(entry.id):
                    known.append(name)  # noqa: PERF401 - an async comprehension cannot name it
        except RPCError as error:
            raise _ours(error, "") from error
        rows = await asyncio.gather(*map(self._row, sorted(known)))
        return [row for row in rows if row is not None]

    @override
    async def get(self, name: str, *, count: int = TIMES_SHOWN, time_zone: str = "") -> ScheduleDocument:
        described, entries = await asyncio.gather(self._describe(name), self._entries(name))
        run = await run_of(described)
        runs = [entry for entry in entries if entry.kind == "run"][::-1][:SHOWN]
        times, statuses = await asyncio.gather(self._next(name, count), self._statuses(runs))
        zones = list(dict.fromkeys(filter(None, (run.time_zone, time_zone))))
        return document(described, run, entries, times=times, statuses=statuses, zones=zones)

    @override
    async def history(self, name: str) -> Sequence[ScheduleEntry]:
        return await self._entries(name)

    # Telling -----------------------------------------------------------------------------------------------

    @override
    async def pause(self, name: str, *, reason: str) -> ScheduleDocument:
        if not reason.strip():
            raise InvalidInput("pausing a schedule needs a reason", where=name, hint="say why with --reason")
        return await self._tell(name, "paused", reason)

    @override
    async def resume(self, name: str, *, reason: str = "") -> ScheduleDocument:
        return await self._tell(name, "resumed", reason)

    @override
    async def trigger(
        self, name: str, *, overlap: Overlap | None = None, reason: str = "", request_id: str = ""
    ) -> str:
        request = self._request(request_id)
        names.check_name("schedule", name)
        earlier = await self._earlier(name, request)
        entries = await self._entries(name, last=0 if earlier else SHOWN)
        before = {entry.campaign for entry in entries if earlier is None or entry.at < earlier.at}
        for entry in entries:
            if entry.kind == "run" and entry.campaign not in before:
                return entry.campaign  # Temporal forgets the request when the schedule's workflow continues as new
        await self._describe(name)
        if earlier is None:
            await self._record(name, "triggered", reason, request)
        await self._patch(name, trigger_now(POLICIES[overlap] if overlap else None), request)
        begin = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() - begin < _TRIGGER_SECONDS:
            for entry in await self._entries(name, last=SHOWN):
                if entry.kind == "run" and entry.campaign not in before:
                    return entry.campaign
            await asyncio.sleep(0.1)
        return ""

    @override
    async def backfill(
        self,
        name: str,
        begin: datetime,
        end: datetime,
        *,
        overlap: Overlap = "buffer-all",
        reason: str = "",
        request_id: str = "",
    ) -> tuple[datetime, ...]:
        described = await self._describe(name)
        run = await run_of(described)
        if begin > end or end > datetime.now(UTC):
            raise InvalidInput(
                "a backfill needs two past times, the earlier one first",
                where=name,
                hint="--from 2026-11-20 --to 2026-11-24T12:00",
            )
        # Temporal lists times with their jitter, and looks for them by those without.
        jitter = described.schedule.spec.jitter or timedelta(0)
        times = await self._matching(name, begin - timedelta(seconds=1), end + jitter)
        request = self._request(request_id)
        earlier = await self._earlier(name, request)
        done = [
            entry.planned_at for entry in await self._entries(name)
            if entry.planned_at and (earlier is None or entry.at < earlier.at)
        ]  # fmt: skip
        times = [at for at in times if not any(planned <= at <= planned + jitter for planned in done)]
        if not times:
            raise InvalidInput(f"{run.cron} is not due in that time, or has run", where=name)
        if len(times) > MAX_BACKFILL:
            raise InvalidInput(f"those are {len(times)} campaigns, more than {MAX_BACKFILL}", where=name)
        if earlier is None:
            await self._record(name, "backfilled", reason or f"{begin.isoformat()} to {end.isoformat()}", request)
        second = timedelta(seconds=1)
        spans = [(at - jitter - second, at) for at in times]
        await self._patch(name, backfill_of(spans, POLICIES[overlap]), request)
        return tuple(times)

    # How ---------------------------------------------------------------------------------------------------

    async def _temporal(self) -> Client:
        return await self._caller.connection.temporal()

    async def _handle(self, name: str) -> ScheduleHandle:
        names.check_name("schedule", name)
        return (await self._temporal()).get_schedule_handle(names.schedule_id(name))

    def _request(self, request_id: str) -> str:
        """What tells a request from others, of other callers too; empty without an id."""
        return digest(canonical([self._caller.by, request_id]))[:_REQUEST_CHARS] if request_id else ""

    async def _earlier(self, name: str, request: str) -> ScheduleEntry | None:
        """What the same request has left before."""
        if not request:
            return None
        return await Ledger((await self._caller.connection.store()).objects).of_request(name, request)

    async def _patch(self, name: str, content: SchedulePatch, request: str) -> None:
        try:
            await patch(await self._temporal(), name, content, request)
        except RPCError as error:
            raise _ours(error, name) from error

    async def _entries(self, name: str, *, last: int | None = None) -> Sequence[ScheduleEntry]:
        ledger = Ledger((await self._caller.connection.store()).objects)
        return await (ledger.entries(name) if last is None else ledger.entries(name, last=last))

    async def _describe(self, name: str) -> ScheduleDescription:
        try:
            return await (await self._handle(name)).describe()
        except RPCError as error:
            raise _ours(error, name) from error

    async def _tell(self, name: str, what: str, note: str) -> ScheduleDocument:
        handle = await self._handle(name)
        words = f"{what} by {self._caller.by}{f': {note}' if note else ''}"
        try:
            await (handle.pause(note=words) if what == "paused" else handle.unpause(note=words))
        except RPCError as error:
            raise _ours(error, name) from error
        await self._record(name, what, note)
        return await self.get(name)

    async def _record(self, name: str, what: str, note: str, request: str = "") -> None:
        entry = {
            "schedule": name, "kind": what, "at": datetime.now(UTC), "by": self._caller.by, "note": note,
            "request": request,
        }  # fmt: skip
        await Ledger((await self._caller.connection.store()).objects).record(ScheduleEntry.model_validate(entry))

    async def _row(self, name: str) -> ScheduleRow | None:
        try:
            described, entries = await asyncio.gather(self._describe(name), self._entries(name))
        except NotFound:
            return None  # lists lag behind
        run = await run_of(described)
        job = run.campaign.document.get("spec", {})
        paused = described.schedule.state.paused
        return ScheduleRow(
            name=name,
            cron=run.cron,
            time_zone=run.time_zone,
            operation=job.get("operation", ""),
            promise=job.get("promise") or "",
            paused=paused,
            note=described.schedule.state.note or "",
            next=next(iter(described.info.next_action_times), None) if not paused else None,
            last=next((entry.campaign for entry in reversed(entries) if entry.kind == "run"), None),
        )

    async def _statuses(self, runs: Iterable[ScheduleEntry]) -> dict[str, str]:
        async def one(campaign: str) -> tuple[str, str]:
            try:
                return campaign, (await self._describe_campaign(campaign)).status
            except NotFound:
                return campaign, "failed"  # it could not choose its targets
            except BondError:
                return campaign, "unknown"

        return dict(await asyncio.gather(*(one(entry.campaign) for entry in runs)))

    async def _next(self, name: str, count: int) -> Sequence[datetime]:
        count = max(0, min(count, MAX_NEXT))
        now = datetime.now(UTC)
        times: Sequence[datetime] = ()
        for span in _LOOK_AHEAD:
            times = await self._matching(name, now, now + span)
            if len(times) >= count:
                break
        return times[:count]

    async def _matching(self, name: str, begin: datetime, end: datetime) -> Sequence[datetime]:
        """When Temporal will start it, or would have: its rules, not ours. At most 1,000 (the server's limit)."""
        temporal = await self._temporal()
        first, last = Timestamp(), Timestamp()
        first.FromDatetime(begin)
        last.FromDatetime(end)
        request = ListScheduleMatchingTimesRequest(
            namespace=temporal.namespace,
            schedule_id=names.schedule_id(name),
            start_time=first,
            end_time=last,
        )
        try:
            answer = await temporal.workflow_service.list_schedule_matching_times(request)
        except RPCError as error:
            raise _ours(error, name) from error
        return [at.ToDatetime(tzinfo=UTC) for at in answer.start_time]

    async def _run(
        self, name: str, data: bytes, file: str, timing: Timing, *, reason: str, now: datetime
    ) -> ScheduledRun:
        flaws: list[Flaw] = []
        read = read_strategy(data, file, now=now).manifest
        if read is not None and read.spec.promise is not None:
            flaws = await secret_inputs(await self._caller.connection.store(), read.spec.promise, read.spec.inputs)
        return scheduled_run(name, data, file, timing, by=self._caller.by, reason=reason, now=now, further=flaws)

    async def _require_promise(self, run: ScheduledRun) -> None:
        promise = run.campaign.document["spec"].get("promise")
        if promise and not await (await self._caller.connection.revisions()).list(promise):
            raise NotFound(f"there is no promise {promise}", hint="`bond promise list` shows the existing ones")


def _ours(error: RPCError, name: str) -> BondError:
    if error.status is RPCStatusCode.NOT_FOUND:
        return NotFound(f"there is no schedule {name}", hint="`bond schedule list` shows the existing ones")
    if error.status is RPCStatusCode.INVALID_ARGUMENT:
        return InvalidInput(f"Temporal does not take that schedule: {error.message}", where=f"schedule {name}")
    return as_ours(error, names.schedule_id(name))
