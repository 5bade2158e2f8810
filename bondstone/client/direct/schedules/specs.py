"""Schedules as Temporal keeps them: what they start, when, and under which policy."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, Literal

from temporalio.api.schedule.v1 import ScheduleSpec as ScheduleSpecMessage
from temporalio.client import (
    ScheduleActionStartWorkflow,
    ScheduleDescription,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    ScheduleSpec,
)
from typing_extensions import override

from bondstone.base import names
from bondstone.base.errors import InvalidInput
from bondstone.base.printable import asked_by
from bondstone.campaign.recurrence import gap_ends, lines
from bondstone.campaign.windows import zone_data
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
        static_summary=f"run of schedule {run.schedule}",
        static_details=f"`{run.cron}` in {run.time_zone}, strategy {run.strategy}. "
        + asked_by(run.campaign.requested_by, run.reason),
    )


class ZonedSpec(ScheduleSpec):
    """A spec that brings the data of its zone along.

    The server would take the zone's data from its own machine or binary, which differ from ours by an hour in a
    dozen zones; then schedules would fire beside the windows of the campaigns that they start. The API has a field
    for the data, the SDK has none.
    """

    @override
    def _to_proto(self) -> ScheduleSpecMessage:
        message = super()._to_proto()
        message.timezone_data = zone_data(self.time_zone_name or "UTC")
        return message


def data_of_zone(described: ScheduleDescription) -> Literal["ours", "other", "server"]:
    """Whose zone data a schedule uses: those of this version, of another version, or the server's own."""
    spec = described.raw_description.schedule.spec
    if not spec.timezone_data:
        return "server"
    return "ours" if spec.timezone_data == zone_data(spec.timezone_name or "UTC") else "other"


def spec_of(timing: Timing, jitter: timedelta, now: datetime) -> ZonedSpec:
    """Temporal's own times, and the ends of gaps for those that clocks skip, which it would leave out."""
    gaps = gap_ends(timing.cron, timing.time_zone, now)
    return ZonedSpec(
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
