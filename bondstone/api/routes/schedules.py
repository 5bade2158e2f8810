"""`/api/v1/schedules` and `/api/v1/freezes`: campaigns that start by themselves, and times in which none does."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, status
from pydantic import Field

from bondstone.api.parameters import Reason, ThingName, Why
from bondstone.api.repeats import ApiRoute
from bondstone.api.session import Asking
from bondstone.base.models import Document, Manifest, Moment
from bondstone.base.names import NAME_PATTERN
from bondstone.client.documents.campaign import FreezeDocument
from bondstone.client.documents.schedule import ScheduleDocument, ScheduleRow
from bondstone.model.campaign.schedule import Overlap, ScheduleEntry
from bondstone.model.identity import Target
from bondstone.model.manifest import KeptPlatformManifest

router = APIRouter(route_class=ApiRoute)

Source = Annotated[str, Field(max_length=900_000, description="The strategy, YAML or JSON")]
FileName = Annotated[str, Field(max_length=300, description="Its name, for messages")]
Exempt = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=40)], ...], Field(max_length=20)]
Seconds = Annotated[int, Field(ge=0, le=7 * 24 * 3600)]


class ScheduleBody(Manifest):
    """A schedule that is made."""

    name: str = Field(pattern=NAME_PATTERN)
    source: Source
    file: FileName = "strategy"
    cron: str = Field(min_length=1, max_length=200)
    """Five fields, in local time"""
    time_zone: str = Field("UTC", max_length=64)
    overlap: Overlap = "skip"
    jitter_seconds: Seconds = 0
    catch_up_seconds: Annotated[int, Field(ge=10, le=365 * 24 * 3600)] = 3600
    reason: Reason = ""
    paused: bool = False
    applied: KeptPlatformManifest | None = None
    """The manifest that it is of; null when it is made by hand"""


class ScheduleChange(Manifest):
    """What changes of a schedule; the rest stays."""

    source: Source | None = None
    file: FileName = "strategy"
    cron: str = Field("", max_length=200)
    time_zone: str = Field("", max_length=64)
    overlap: Overlap | None = None
    jitter_seconds: Seconds | None = None
    catch_up_seconds: Annotated[int, Field(ge=10, le=365 * 24 * 3600)] | None = None
    reason: Reason = ""
    applied: KeptPlatformManifest | None = None
    """The manifest that it is of; null when it is changed by hand"""
    expected: str = Field("", max_length=64)
    """`version` of what was read: 412 when somebody changed it since"""


class TriggerBody(Why):
    """A run now."""

    overlap: Overlap | None = None


class BackfillBody(Why):
    """Runs of a time that has passed."""

    begin: Moment
    end: Moment
    overlap: Overlap = "buffer-all"


class TriggeredDocument(Document):
    """The campaign that a trigger started."""

    campaign: str
    """Empty when none was, because another one runs"""


class BackfilledDocument(Document):
    """The times that a backfill runs."""

    times: tuple[datetime, ...]


class FreezeBody(Manifest):
    """A freeze that is declared."""

    name: str = Field(pattern=NAME_PATTERN)
    reason: Reason = ""
    team: str = Field("", pattern=f"^$|{NAME_PATTERN}")
    """Whose services; empty for the whole platform"""
    exempt: Exempt = ()
    begins_at: Moment | None = None
    ends_at: Moment | None = None
    applied: KeptPlatformManifest | None = None
    """The manifest that it is of; null when it is declared by hand"""


class FreezeChange(Manifest):
    """A freeze, said anew; its team never changes."""

    reason: Reason = ""
    exempt: Exempt = ()
    begins_at: Moment
    ends_at: Moment | None = None
    applied: KeptPlatformManifest | None = None
    """The manifest that it is of; null when it is changed by hand"""
    expected: int | None = None
    """`changes` of what was read: 412 when somebody changed it since"""


@router.get("/schedules", tags=["schedules"])
async def list_schedules(asking: Asking) -> list[ScheduleRow]:
    """List schedules, by name."""
    asking.require("schedule.read")
    return await asking.bond.schedules.list()


@router.post("/schedules", tags=["schedules"], status_code=status.HTTP_201_CREATED)
async def create_schedule(asking: Asking, body: ScheduleBody) -> ScheduleDocument:
    """Start a campaign from a strategy at every time that a cron line names."""
    asking.require("schedule.create")
    return await asking.bond.schedules.create(
        body.name,
        body.source.encode(),
        body.file,
        cron=body.cron,
        time_zone=body.time_zone,
        overlap=body.overlap,
        jitter=timedelta(seconds=body.jitter_seconds),
        catch_up=timedelta(seconds=body.catch_up_seconds),
        reason=body.reason,
        paused=body.paused,
        applied=body.applied,
    )


@router.get("/schedules/{name}", tags=["schedules"])
async def show_schedule(
    asking: Asking,
    name: ThingName,
    count: Annotated[int, Query(ge=0, le=1000)] = 5,
    time_zone: Annotated[str, Query(max_length=64)] = "",
) -> ScheduleDocument:
    """Show a schedule: when it is due, what it ran, what it missed."""
    asking.require("schedule.read")
    return await asking.bond.schedules.get(name, count=count, time_zone=time_zone)


@router.get("/schedules/{name}/history", tags=["schedules"])
async def show_schedule_history(asking: Asking, name: ThingName) -> list[ScheduleEntry]:
    """Show all that was ever recorded of a schedule, oldest first."""
    asking.require("schedule.read")
    return list(await asking.bond.schedules.history(name))


@router.post("/schedules/{name}/update", tags=["schedules"])
async def update_schedule(asking: Asking, name: ThingName, body: ScheduleChange) -> ScheduleDocument:
    """Change a schedule."""
    asking.require("schedule.update")
    return await asking.bond.schedules.update(
        name,
        body.source.encode() if body.source is not None else None,
        body.file,
        cron=body.cron,
        time_zone=body.time_zone,
        overlap=body.overlap,
        jitter=None if body.jitter_seconds is None else timedelta(seconds=body.jitter_seconds),
        catch_up=None if body.catch_up_seconds is None else timedelta(seconds=body.catch_up_seconds),
        reason=body.reason,
        applied=body.applied,
        expected=body.expected,
    )


@router.post("/schedules/{name}/pause", tags=["schedules"])
async def pause_schedule(asking: Asking, name: ThingName, body: Why) -> ScheduleDocument:
    """Start nothing by itself."""
    asking.require("schedule.pause")
    return await asking.bond.schedules.pause(name, reason=body.reason)


@router.post("/schedules/{name}/resume", tags=["schedules"])
async def resume_schedule(asking: Asking, name: ThingName, body: Why) -> ScheduleDocument:
    """Start campaigns again."""
    asking.require("schedule.resume")
    return await asking.bond.schedules.resume(name, reason=body.reason)


@router.post("/schedules/{name}/trigger", tags=["schedules"])
async def trigger_schedule(asking: Asking, name: ThingName, body: TriggerBody) -> TriggeredDocument:
    """Start a campaign now."""
    asking.require("schedule.trigger")
    campaign = await asking.bond.schedules.trigger(
        name, overlap=body.overlap, reason=body.reason, request_id=asking.key
    )
    return TriggeredDocument(campaign=campaign)


@router.post("/schedules/{name}/backfill", tags=["schedules"])
async def backfill_schedule(asking: Asking, name: ThingName, body: BackfillBody) -> BackfilledDocument:
    """Start the campaigns of times that have passed."""
    asking.require("schedule.backfill")
    times = await asking.bond.schedules.backfill(
        name, body.begin, body.end, overlap=body.overlap, reason=body.reason, request_id=asking.key
    )
    return BackfilledDocument(times=times)


@router.post("/schedules/{name}/delete", tags=["schedules"], status_code=status.HTTP_204_NO_CONTENT)
async def delete_schedule(asking: Asking, name: ThingName, body: Why) -> None:
    """Delete a schedule; its history stays."""
    asking.require("schedule.delete")
    await asking.bond.schedules.delete(name, reason=body.reason)


@router.get("/freezes", tags=["freezes"])
async def list_freezes(asking: Asking, *, ended: bool = False) -> list[FreezeDocument]:
    """List freezes that are in force or planned."""
    asking.require("freeze.read")
    return await asking.bond.freezes.list(ended=ended)


@router.post("/freezes", tags=["freezes"], status_code=status.HTTP_201_CREATED)
async def create_freeze(asking: Asking, body: FreezeBody) -> FreezeDocument:
    """Let campaigns start nothing."""
    asking.require("freeze.create", Target(team=body.team, name=f"freeze {body.name}"))
    return await asking.bond.freezes.create(
        body.name,
        reason=body.reason,
        team=body.team,
        exempt=body.exempt,
        begins_at=body.begins_at,
        ends_at=body.ends_at,
        applied=body.applied,
    )


@router.post("/freezes/{name}/update", tags=["freezes"])
async def update_freeze(asking: Asking, name: ThingName, body: FreezeChange) -> FreezeDocument:
    """Say anew when a freeze is and whom it exempts: whoever may, could delete it and declare another."""
    freeze = await asking.bond.freezes.get(name)
    for verb in ("freeze.create", "freeze.delete"):
        asking.require(verb, Target(team=freeze.team, name=f"freeze {name}"))
    return await asking.bond.freezes.update(
        name,
        reason=body.reason,
        exempt=body.exempt,
        begins_at=body.begins_at,
        ends_at=body.ends_at,
        applied=body.applied,
        expected=body.expected,
    )


@router.get("/freezes/{name}", tags=["freezes"])
async def show_freeze(asking: Asking, name: ThingName) -> FreezeDocument:
    """Show one freeze, also one that has ended."""
    asking.require("freeze.read")
    return await asking.bond.freezes.get(name)


@router.delete("/freezes/{name}", tags=["freezes"])
async def delete_freeze(asking: Asking, name: ThingName) -> FreezeDocument:
    """End a freeze now."""
    freeze = await asking.bond.freezes.get(name)
    asking.require("freeze.delete", Target(team=freeze.team, name=f"freeze {name}"))
    return await asking.bond.freezes.delete(name)
