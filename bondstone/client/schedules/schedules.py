"""Schedules: campaigns that are started from a strategy, again and again, by Temporal."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.workflowservice.v1 import ListScheduleMatchingTimesRequest
from temporalio.client import (
    Schedule,
    ScheduleAlreadyRunningError,
    ScheduleBackfill,
    ScheduleDescription,
    ScheduleHandle,
    SchedulePolicy,
    ScheduleState,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError, RPCStatusCode

from bondstone.base import names
from bondstone.base.errors import AlreadyExists, BondError, InvalidInput, NotFound
from bondstone.client.documents.schedule import ScheduleDocument, ScheduleRow
from bondstone.client.schedules.describing import SHOWN, document
from bondstone.client.schedules.files import read_timing, scheduled_run
from bondstone.client.schedules.specs import POLICIES, action_of, run_of, spec_of
from bondstone.model.campaign.schedule import Overlap, ScheduledRun, ScheduleEntry
from bondstone.store.schedules import Schedules as Ledger
from bondstone.temporal.calls import as_ours

if TYPE_CHECKING:
    from bondstone.client.bondstone import Bondstone

DEFAULT_CATCH_UP: Final = timedelta(hours=1)
MAX_NEXT: Final = 1000
MAX_BACKFILL: Final = 1000
"""Most runs of one backfill."""

_LOOK_AHEAD: Final = (timedelta(days=8), timedelta(days=62), timedelta(days=366), timedelta(days=366 * 9))
"""Spans in which the next times are looked for, each when the one before holds too few."""
_TRIGGER_SECONDS: Final = 5.0


class Schedules:
    """What can be done with schedules.

    Args:
        bond: The client they belong to.
    """

    def __init__(self, bond: Bondstone) -> None:
        self._bond = bond
        self._ledger = Ledger(bond.store.objects)

    # Making ------------------------------------------------------------------------------------------------

    async def create(
        self,
        name: str,
        data: bytes,
        file: str,
        *,
        cron: str,
        time_zone: str = "UTC",
        overlap: Overlap = "skip",
        jitter: timedelta = timedelta(0),
        catch_up: timedelta = DEFAULT_CATCH_UP,
        reason: str = "",
        paused: bool = False,
    ) -> ScheduleDocument:
        """Start a campaign from a strategy at every time that a cron line means.

        Args:
            name: Of the schedule; its campaigns are named `<name>-<yyyymmdd>-<hhmm>`, in UTC.
            data: The strategy, as YAML or JSON.
            file: Its name, for messages.
            cron: Five fields, in local time.
            time_zone: IANA zone of the cron line.
            overlap: What becomes of a run that is due while the one before goes on.
            jitter: Each run is late by a random part of this.
            catch_up: Runs that the platform was not there for are started when it is back, so late at most.
            reason: Why its campaigns are done; default: that of the strategy.
            paused: Do not begin yet.

        Raises:
            CampaignInvalid: with every mistake of strategy, cron line and zone in its place; nothing was made.
            AlreadyExists: there is one of that name.
        """
        now = datetime.now(UTC)
        timing = read_timing(cron, time_zone)
        run = scheduled_run(name, data, file, timing, by=self._bond.by, reason=reason, now=now)
        await self._require_promise(run)
        state = ScheduleState(note=f"created by {self._bond.by}", paused=paused)
        policy = SchedulePolicy(overlap=POLICIES[overlap], catchup_window=catch_up)
        schedule = Schedule(action_of(run), spec_of(timing, jitter, now), policy=policy, state=state)
        try:
            await self._bond.temporal.create_schedule(names.schedule_id(name), schedule)
        except ScheduleAlreadyRunningError as error:
            raise AlreadyExists(
                f"there is a schedule {name} already", hint="change it with `bond schedule update`"
            ) from error
        except RPCError as error:
            raise _ours(error, name) from error
        await self._record(name, "created", reason)
        return await self.show(name)

    async def update(
        self,
        name: str,
        data: bytes | None = None,
        file: str = "",
        *,
        cron: str = "",
        time_zone: str = "",
        overlap: Overlap | None = None,
        jitter: timedelta | None = None,
        catch_up: timedelta | None = None,
        reason: str = "",
    ) -> ScheduleDocument:
        """Change what is named; the rest stays. Campaigns that go on stay as they are. Arguments: see `create`."""
        described = await self._describe(name)
        now = datetime.now(UTC)
        old = await run_of(described)
        timing = read_timing(cron or old.cron, time_zone or old.time_zone)
        if data is not None:
            run = scheduled_run(name, data, file, timing, by=self._bond.by, reason=reason, now=now)
            run = run.changed(created_by=old.created_by)
            await self._require_promise(run)
        else:
            why = reason or old.campaign.reason
            campaign = old.campaign.changed(requested_by=self._bond.by, reason=why)
            changed = {"cron": timing.cron, "time_zone": timing.time_zone, "campaign": campaign}
            run = old.changed(**changed)

        def change(given: ScheduleUpdateInput) -> ScheduleUpdate:
            schedule = given.description.schedule
            schedule.action = action_of(run)
            kept = schedule.spec.jitter or timedelta(0)
            schedule.spec = spec_of(timing, kept if jitter is None else jitter, now)
            schedule.policy.overlap = POLICIES[overlap] if overlap else schedule.policy.overlap
            schedule.policy.catchup_window = catch_up or schedule.policy.catchup_window
            return ScheduleUpdate(schedule=schedule)

        try:
            await self._handle(name).update(change)
        except RPCError as error:
            raise _ours(error, name) from error
        await self._record(name, "updated", reason)
        return await self.show(name)

    async def delete(self, name: str, *, reason: str = "") -> None:
        """Let it start nothing more; its campaigns go on, and its ledger stays.

        Raises:
            NotFound: there is none of that name.
        """
        await self._describe(name)
        await self._record(name, "deleted", reason)
        try:
            await self._handle(name).delete()
        except RPCError as error:
            raise _ours(error, name) from error

    # Looking -----------------------------------------------------------------------------------------------

    async def list(self) -> list[ScheduleRow]:
        """Every schedule, by name."""
        found = []
        try:
            async for entry in await self._bond.temporal.list_schedules():
                if name := names.schedule_of(entry.id):
                    found.append(name)  # noqa: PERF401 - an async comprehension cannot name it
        except RPCError as error:
            raise _ours(error, "") from error
        rows = await asyncio.gather(*map(self._row, sorted(found)))
        return [row for row in rows if row is not None]

    async def show(self, name: str, *, count: int = SHOWN, local_zone: str = "") -> ScheduleDocument:
        """A schedule: when it is due, what it ran, what it missed, and who did what to it.

        Args:
            name: Of the schedule.
            count: How many of its next times.
            local_zone: IANA zone in which times are given beside UTC and the schedule's own.

        Raises:
            NotFound: there is none of that name.
        """
        described, entries = await asyncio.gather(self._describe(name), self._ledger.entries(name))
        run = await run_of(described)
        runs = [entry for entry in entries if entry.kind == "run"][::-1][:SHOWN]
        times, statuses = await asyncio.gather(self._next(name, count), self._statuses(runs))
        zones = list(dict.fromkeys(filter(None, (run.time_zone, local_zone))))
        return document(described, run, entries, times=times, statuses=statuses, zones=zones)

    async def entries(self, name: str) -> Sequence[ScheduleEntry]:
        """All that was ever recorded of a schedule, oldest first, also when it is long gone."""
        return await self._ledger.entries(name)

    # Telling -----------------------------------------------------------------------------------------------

    async def pause(self, name: str, *, note: str) -> ScheduleDocument:
        """Start nothing by itself; it can still be triggered.

        Args:
            name: Of the schedule.
            note: Why, for those who wonder.
        """
        if not note.strip():
            raise InvalidInput("pausing a schedule needs a note", where=name, hint="say why with --note")
        return await self._tell(name, "paused", note)

    async def unpause(self, name: str, *, note: str = "") -> ScheduleDocument:
        """Go on; times that passed meanwhile stay missed, `backfill` runs them."""
        return await self._tell(name, "unpaused", note)

    async def trigger(self, name: str, *, overlap: Overlap | None = None, reason: str = "") -> str:
        """Start a campaign now.

        Args:
            name: Of the schedule.
            overlap: In place of the schedule's own.
            reason: Why, for the record.

        Returns:
            The campaign; empty when none was started within seconds, because another one goes on.
        """
        before = {entry.campaign for entry in await self._ledger.entries(name, last=SHOWN)}
        await self._describe(name)
        await self._record(name, "triggered", reason)
        try:
            await self._handle(name).trigger(overlap=POLICIES[overlap] if overlap else None)
        except RPCError as error:
            raise _ours(error, name) from error
        begin = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() - begin < _TRIGGER_SECONDS:
            for entry in await self._ledger.entries(name, last=SHOWN):
                if entry.kind == "run" and entry.campaign not in before:
                    return entry.campaign
            await asyncio.sleep(0.1)
        return ""

    async def backfill(
        self, name: str, begin: datetime, end: datetime, *, overlap: Overlap = "buffer-all", reason: str = ""
    ) -> tuple[datetime, ...]:
        """Start the campaigns of times that have passed, as if they were now.

        Args:
            name: Of the schedule.
            begin: The first instant.
            end: The last instant, which must not be to come.
            overlap: `buffer-all` runs one after the other.
            reason: Why, for the record.

        Returns:
            The times that are run; one that has been run already is not run twice.

        Raises:
            InvalidInput: there is no such time, or too many.
        """
        described = await self._describe(name)
        run = await run_of(described)
        if begin > end or end > datetime.now(UTC):
            raise InvalidInput(
                "a backfill is from one time to a later one, of times that have passed",
                where=name,
                hint="--from 2026-11-20 --to 2026-11-24T12:00",
            )
        # Temporal lists times with their jitter, and looks for them by those without.
        jitter = described.schedule.spec.jitter or timedelta(0)
        times = await self._matching(name, begin - timedelta(seconds=1), end + jitter)
        done = [entry.planned_at for entry in await self._ledger.entries(name) if entry.planned_at]
        times = [at for at in times if not any(planned <= at <= planned + jitter for planned in done)]
        if not times:
            raise InvalidInput(f"{run.cron} is not due in that time, or has run", where=name)
        if len(times) > MAX_BACKFILL:
            raise InvalidInput(f"those are {len(times)} campaigns, more than {MAX_BACKFILL}", where=name)
        await self._record(name, "backfilled", reason or f"{begin.isoformat()} to {end.isoformat()}")
        second = timedelta(seconds=1)
        backfills = [ScheduleBackfill(at - jitter - second, at, POLICIES[overlap]) for at in times]
        try:
            await self._handle(name).backfill(*backfills)
        except RPCError as error:
            raise _ours(error, name) from error
        return tuple(times)

    # How ---------------------------------------------------------------------------------------------------

    def _handle(self, name: str) -> ScheduleHandle:
        names.check_name("schedule", name)
        return self._bond.temporal.get_schedule_handle(names.schedule_id(name))

    async def _describe(self, name: str) -> ScheduleDescription:
        try:
            return await self._handle(name).describe()
        except RPCError as error:
            raise _ours(error, name) from error

    async def _tell(self, name: str, what: str, note: str) -> ScheduleDocument:
        handle = self._handle(name)
        words = f"{what} by {self._bond.by}{f': {note}' if note else ''}"
        try:
            await (handle.pause(note=words) if what == "paused" else handle.unpause(note=words))
        except RPCError as error:
            raise _ours(error, name) from error
        await self._record(name, what, note)
        return await self.show(name)

    async def _record(self, name: str, what: str, note: str) -> None:
        entry = {"schedule": name, "kind": what, "at": datetime.now(UTC), "by": self._bond.by, "note": note}
        await self._ledger.record(ScheduleEntry.model_validate(entry))

    async def _row(self, name: str) -> ScheduleRow | None:
        try:
            described, entries = await asyncio.gather(self._describe(name), self._ledger.entries(name))
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
                return campaign, (await self._bond.campaigns.describe(campaign)).status
            except NotFound:
                return campaign, "failed"  # it could not choose its targets
            except BondError:
                return campaign, "unknown"

        return dict(await asyncio.gather(*(one(entry.campaign) for entry in runs)))

    async def _next(self, name: str, count: int) -> Sequence[datetime]:
        count = max(0, min(count, MAX_NEXT))
        now = datetime.now(UTC)
        found: Sequence[datetime] = ()
        for span in _LOOK_AHEAD:
            found = await self._matching(name, now, now + span)
            if len(found) >= count:
                break
        return found[:count]

    async def _matching(self, name: str, begin: datetime, end: datetime) -> Sequence[datetime]:
        """When Temporal will start it, or would have: its rules, not ours. At most 1,000 (the server's limit)."""
        first, last = Timestamp(), Timestamp()
        first.FromDatetime(begin)
        last.FromDatetime(end)
        request = ListScheduleMatchingTimesRequest(
            namespace=self._bond.temporal.namespace,
            schedule_id=names.schedule_id(name),
            start_time=first,
            end_time=last,
        )
        try:
            answer = await self._bond.temporal.workflow_service.list_schedule_matching_times(request)
        except RPCError as error:
            raise _ours(error, name) from error
        return [at.ToDatetime(tzinfo=UTC) for at in answer.start_time]

    async def _require_promise(self, run: ScheduledRun) -> None:
        promise = run.campaign.document["spec"].get("promise")
        if promise and not await self._bond.store.revisions.list(promise):
            raise NotFound(f"there is no promise {promise}", hint="`bond promise list` shows those that are")


def _ours(error: RPCError, name: str) -> BondError:
    if error.status is RPCStatusCode.NOT_FOUND:
        return NotFound(f"there is no schedule {name}", hint="`bond schedule list` shows those that are")
    if error.status is RPCStatusCode.INVALID_ARGUMENT:
        return InvalidInput(f"Temporal does not take that schedule: {error.message}", where=f"schedule {name}")
    return as_ours(error, names.schedule_id(name))
