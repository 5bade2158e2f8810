"""Schedules as Temporal keeps them: what they start, when, and under which policy."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from temporalio.client import (
    ScheduleActionStartWorkflow,
    ScheduleDescription,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    ScheduleSpec,
)

from bondstone.base import names
from bondstone.base.errors import InvalidInput
from bondstone.campaign.recurrence import gap_ends, lines
from bondstone.client.direct.schedules.files import Timing
from bondstone.model.campaign.schedule import Overlap, ScheduledRun

POLICIES: Final[dict[Overlap, ScheduleOverlapPolicy]] = {
    "skip": ScheduleOverlapPolicy.SKIP,
    "buffer-one": ScheduleOverlapPolicy.BUFFER_ONE,
    "buffer-all": ScheduleOverlapPolicy.BUFFER_ALL,
    "cancel-other": ScheduleOverlapPolicy.CANCEL_OTHER,
    "allow": ScheduleOverlapPolicy.ALLOW_ALL,
}
WORDS: Final = {policy: word for word, policy in POLICIES.items()}
_EVERY: Final = timedelta(days=20_000)
"""The period of an instant that comes once: half a century. The server finds no instant in the first period after
1970, so it must be shorter than the time since then."""


def action_of(run: ScheduledRun) -> ScheduleActionStartWorkflow:
    """What each run starts."""
    return ScheduleActionStartWorkflow(
        names.SCHEDULED_CAMPAIGN_WORKFLOW,
        run,
        id=names.schedule_id(run.schedule),
        task_queue=names.CONTROL_QUEUE,
        static_summary=f"schedule {run.schedule}",
    )


def spec_of(timing: Timing, jitter: timedelta, now: datetime) -> ScheduleSpec:
    """Temporal's own times, and the ends of gaps for those that clocks skip, which it would leave out."""
    gaps = gap_ends(timing.cron, timing.time_zone, now)
    return ScheduleSpec(
        cron_expressions=lines(timing.cron),
        intervals=[
            ScheduleIntervalSpec(_EVERY, offset=timedelta(seconds=gap.timestamp()) % _EVERY) for gap in gaps
        ],
        time_zone_name=timing.time_zone,
        jitter=jitter or None,
    )


async def run_of(described: ScheduleDescription) -> ScheduledRun:
    """What each run of a schedule is told."""
    action = described.schedule.action
    if not isinstance(action, ScheduleActionStartWorkflow):
        raise InvalidInput("that schedule was not made by bond", where=described.id)
    [run] = await described.data_converter.decode(list(action.args), [ScheduledRun])
    return run  # type: ignore[no-any-return] # the converter's answer is of the type that was asked for
