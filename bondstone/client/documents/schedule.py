"""What programs read of schedules: `bond schedule … -o json`."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Literal

from bondstone.base.models import Document
from bondstone.client.documents.campaign import ZonedTime
from bondstone.model.campaign.schedule import Overlap, Why
from bondstone.model.manifest import KeptPlatformManifest


class ScheduleRow(Document):
    """One schedule in a list."""

    name: str
    cron: str
    time_zone: str
    operation: str
    promise: str
    paused: bool
    note: str
    """Why it is paused, or what was noted last"""
    next: datetime | None
    """null when it is paused or never due again"""
    last: str | None
    """The campaign it started last"""


class ScheduleRunDocument(Document):
    """One run of a schedule."""

    campaign: str
    planned_at: datetime
    """When it was due; of one that was triggered, when that was"""
    started_at: datetime
    status: str
    """That of its campaign; unknown when Temporal has forgotten it and it has no ledger"""


class MissDocument(Document):
    """A time at which a campaign was due and none was started."""

    at: ZonedTime
    why: Why
    """overlap: the run before went on. late: the platform was away for longer than the catch-up window. paused:
    somebody had paused the schedule. unknown: Temporal counts such times, and does not say which"""


class ActDocument(Document):
    """What somebody did to a schedule."""

    at: datetime
    what: str
    """created, updated, paused, resumed, triggered, backfilled or deleted"""
    by: str
    note: str


class ScheduleDocument(Document):
    """One schedule: `bond schedule show -o json`."""

    name: str
    cron: str
    time_zone: str
    overlap: Overlap
    jitter_seconds: int
    catch_up_seconds: int
    paused: bool
    note: str
    strategy: str
    operation: str
    promise: str
    requested_by: str
    """Whose name its campaigns have: who wrote it last"""
    created_by: str
    reason: str
    """Why its campaigns are done"""
    campaign: dict[str, Any] = {}
    """What each run starts: `metadata` and `spec` of a campaign"""
    applied: KeptPlatformManifest | None = None
    """The manifest that `bond apply` took it from; null when it never did"""
    version: str = ""
    """Another one after each change; `expected` of a change names the one that was read"""
    created_at: datetime
    updated_at: datetime | None
    windows: dict[str, Any] = {}
    """When targets of its campaigns may start: `spec.windows` of its strategy; empty for any time"""
    next: tuple[ZonedTime, ...]
    """When it will start; jitter is counted in"""
    running: tuple[str, ...]
    """Campaigns that go on"""
    waiting: tuple[ZonedTime, ...] = ()
    """When runs were due that wait for the one that still runs (overlap buffer-one or buffer-all): not missed"""
    zone_data: Literal["ours", "other", "server"] = "ours"
    """Whose data of the time zone it uses: this version's, another version's, or the Temporal server's own"""
    runs: tuple[ScheduleRunDocument, ...]
    """The last ones, newest first"""
    misses: tuple[MissDocument, ...]
    """The last ones, newest first"""
    missed: int
    """All of them, also those that are not listed"""
    skipped_for_overlap: int
    """As Temporal has counted since the schedule was created"""
    missed_catch_up: int
    """As Temporal has counted since the schedule was created"""
    acts: tuple[ActDocument, ...]
    """What was done to it, newest first"""


DOCUMENTS: Final[dict[str, Any]] = {"schedule-list": list[ScheduleRow], "schedule-show": ScheduleDocument}
"""Command to the type of its `-o json`; every other command of schedules answers as `schedule-show`."""
