"""Schedules of campaigns: what each run is told, and what is kept of it."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal

from bondstone.base.models import Wire
from bondstone.model.campaign.run import CampaignInput
from bondstone.model.manifest import KeptPlatformManifest

LONGEST_NAME: Final = 32
"""Of a schedule: its campaigns have up to 16 characters more, and 48 in all."""

MAX_MISSES: Final = 200
"""Most times that one entry names; more are counted."""

Overlap = Literal["skip", "buffer-one", "buffer-all", "cancel-other", "allow"]
"""What happens to a run that is due while an earlier one still runs."""

Why = Literal["overlap", "late", "paused", "unknown"]
"""Why a time saw no run: the run before went on; the platform was away for longer than the catch-up window;
somebody had paused the schedule; or it is not known which of these."""


class ScheduledRun(Wire):
    """Argument of `ScheduledCampaign`, and all that a schedule knows of itself beside Temporal's own."""

    schedule: str
    cron: str
    """As written."""
    time_zone: str
    strategy: str
    """Name of the strategy."""
    campaign: CampaignInput
    """Its campaign; `requested_by` is who wrote the schedule last."""
    created_by: str = ""
    reason: str = ""
    """Why there is a schedule."""
    applied: KeptPlatformManifest | None = None
    """The manifest that it was applied from; None when it never was."""


class Miss(Wire):
    """A time at which a campaign was due and none was started."""

    at: datetime
    why: Why = "unknown"


class RunCall(Wire):
    """Input of `schedule.record`: a run begins."""

    run: ScheduledRun
    campaign: str
    """Its name."""
    planned_at: datetime
    """When it was due; of one that was triggered, when that was."""
    at: datetime
    """When it began."""


class ScheduleEntry(Wire):
    """One object of a schedule's ledger: a run, or what somebody did to the schedule."""

    schedule: str
    kind: Literal[
        "run", "created", "updated", "paused", "resumed", "unpaused", "triggered", "backfilled", "deleted"
    ]
    at: datetime
    by: str
    """Who did it; of a run, who wrote the schedule last."""
    note: str = ""
    campaign: str = ""
    """Of a run: the campaign it started."""
    planned_at: datetime | None = None
    """Of a run: when it was due."""
    misses: tuple[Miss, ...] = ()
    """Of a run: times since the run before it that saw none."""
    missed: int = 0
    """How many those are, also when not all are named."""
    overlaps: int = 0
    """How many runs the schedule has left out because another went on, since it was created."""
    late: int = 0
    """How many it has left out because it could not start them in time, since it was created."""
    request: str = ""
    """Of a trigger or a backfill: what tells the request from others; the same when it is sent again."""
