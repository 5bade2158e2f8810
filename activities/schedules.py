"""The control activity of schedules."""

from __future__ import annotations

from temporalio import activity
from temporalio.client import Client
from temporalio.service import RPCError

from bondstone.activities.failures import speaks_failures
from bondstone.base import names
from bondstone.campaign.recurrence import misses, pauses
from bondstone.model.campaign.schedule import RunCall, ScheduleEntry
from bondstone.store import Store
from bondstone.store.schedules import ScheduleStore


class ScheduleActivities:
    """What is written when a schedule runs.

    Args:
        store: Where its ledger is.
        client: To ask the schedule how often it has left a run out.
    """

    def __init__(self, store: Store, client: Client) -> None:
        self._ledger = ScheduleStore(store.objects)
        self._client = client

    @activity.defn(name=names.SCHEDULE_RECORD)
    @speaks_failures
    async def record(self, call: RunCall) -> ScheduleEntry:
        """Record a run, and the times since the run before it that saw none."""
        name = call.run.schedule
        entries = await self._ledger.entries(name)
        told = [entry for entry in entries if entry.campaign == call.campaign and entry.at == call.at]
        if told:
            return told[0]
        overlaps, late = await self._counts(name)
        runs = [entry for entry in entries if entry.kind == "run" and entry.planned_at]
        begin = next((entry.at for entry in reversed(entries) if entry.kind in {"created", "updated"}), call.at)
        planned = [entry.planned_at for entry in runs if entry.planned_at]
        before = runs[-1] if runs else None
        missed, number = misses(
            call.run.cron,
            call.run.time_zone,
            after=max([begin, *planned]),
            before=call.planned_at,
            ran=planned,
            pauses=pauses(entries),
            overlaps=overlaps - (before.overlaps if before else 0),
            late=late - (before.late if before else 0),
        )
        entry = ScheduleEntry(
            schedule=name,
            kind="run",
            at=call.at,
            by=call.run.campaign.requested_by,
            campaign=call.campaign,
            planned_at=call.planned_at,
            misses=missed,
            missed=number,
            overlaps=overlaps,
            late=late,
        )
        await self._ledger.record(entry)
        return entry

    async def _counts(self, name: str) -> tuple[int, int]:
        """How many runs the schedule has left out, for overlap and for being late; none when it is deleted."""
        try:
            info = (await self._client.get_schedule_handle(names.schedule_id(name)).describe()).info
        except RPCError:
            return 0, 0
        return info.num_actions_skipped_overlap, info.num_actions_missed_catchup_window
