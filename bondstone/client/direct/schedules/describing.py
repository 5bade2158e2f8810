"""A schedule as programs read it: what Temporal says of it, and what its ledger does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from temporalio.client import ScheduleDescription, ScheduleOverlapPolicy

from bondstone.base import names
from bondstone.campaign.recurrence import PausedTime, misses, pauses, waiting
from bondstone.campaign.windows import zone
from bondstone.client.direct.schedules.changing import version_of
from bondstone.client.direct.schedules.specs import WORDS, data_of_zone
from bondstone.client.documents.campaign import ZonedTime
from bondstone.client.documents.schedule import (
    ActDocument,
    MissDocument,
    ScheduleDocument,
    ScheduleRunDocument,
)
from bondstone.model.campaign.schedule import Miss, ScheduledRun, ScheduleEntry
from bondstone.model.campaign.state import CampaignStatus

SHOWN: Final = 10
"""Runs, misses and acts that are shown, and next times unless it is told otherwise."""

PROMPT_SECONDS: Final = 5
"""How long Temporal may take to start, or to leave out, what is due."""

_GOING_ON: Final = frozenset(status for status in CampaignStatus if not status.ended)


def document(
    described: ScheduleDescription,
    run: ScheduledRun,
    entries: Sequence[ScheduleEntry],
    *,
    times: Sequence[datetime],
    statuses: Mapping[str, str],
    zones: Sequence[str],
) -> ScheduleDocument:
    """A schedule for programs.

    Args:
        described: What Temporal says of it.
        run: What each of its runs is told.
        entries: Its ledger, oldest first.
        times: When it is due next.
        statuses: Of its last campaigns, by name.
        zones: Where times are given beside UTC.
    """
    policy, state, info = described.schedule.policy, described.schedule.state, described.info
    runs = [entry for entry in entries if entry.kind == "run"][::-1]
    now = datetime.now(UTC)
    buffered = _waiting(described, run, runs, now)
    missed, number = _all_misses(described, run, entries, buffered, now)
    job = run.campaign.document.get("spec", {})
    return ScheduleDocument(
        name=names.schedule_of(described.id),
        cron=run.cron,
        time_zone=run.time_zone,
        windows=job.get("windows") or {},
        overlap=WORDS.get(policy.overlap, "skip"),
        jitter_seconds=_seconds(described.schedule.spec.jitter),
        catch_up_seconds=_seconds(policy.catchup_window),
        paused=state.paused,
        note=state.note or "",
        strategy=run.strategy,
        operation=job.get("operation", ""),
        promise=job.get("promise") or "",
        requested_by=run.campaign.requested_by,
        created_by=run.created_by,
        reason=run.campaign.reason,
        campaign={name: run.campaign.document.get(name, {}) for name in ("metadata", "spec")},
        applied=run.applied,
        version=version_of(described),
        created_at=info.created_at,
        updated_at=info.last_updated_at,
        next=tuple(_zoned(at, zones) for at in times),
        zone_data=data_of_zone(described),
        waiting=tuple(_zoned(at, zones) for at in buffered),
        running=tuple(entry.campaign for entry in runs if statuses.get(entry.campaign) in _GOING_ON),
        runs=tuple(_run(entry, statuses) for entry in runs[:SHOWN]),
        misses=tuple(MissDocument(at=_zoned(miss.at, zones), why=miss.why) for miss in missed[::-1][:SHOWN]),
        missed=number,
        skipped_for_overlap=info.num_actions_skipped_overlap,
        missed_catch_up=info.num_actions_missed_catchup_window,
        acts=tuple(
            ActDocument(at=entry.at, what=entry.kind, by=entry.by, note=entry.note)
            for entry in entries[::-1]
            if entry.kind != "run"
        )[:SHOWN],
    )


def _run(entry: ScheduleEntry, statuses: Mapping[str, str]) -> ScheduleRunDocument:
    return ScheduleRunDocument(
        campaign=entry.campaign,
        planned_at=entry.planned_at or entry.at,
        started_at=entry.at,
        status=statuses.get(entry.campaign, "unknown"),
    )


def _seconds(length: timedelta | None) -> int:
    return int(length.total_seconds()) if length else 0


def _waiting(
    described: ScheduleDescription, run: ScheduledRun, runs: Sequence[ScheduleEntry], now: datetime
) -> list[datetime]:
    """When the runs were due that wait for the one that still runs."""
    number = described.raw_description.info.buffer_size
    ran = [entry.planned_at for entry in runs if entry.planned_at]
    if not number or not ran:
        return []
    every = described.schedule.policy.overlap is ScheduleOverlapPolicy.BUFFER_ALL
    bounds = {"after": max(ran), "before": now, "started_at": runs[0].at}
    return waiting(run.cron, run.time_zone, **bounds, number=number, last=every)


def _pauses(described: ScheduleDescription, entries: Sequence[ScheduleEntry]) -> list[PausedTime]:
    """When it was paused, also by somebody who went past the command."""
    known = pauses(entries)
    if described.schedule.state.paused and not any(pause.ends_at is None for pause in known):
        info = described.info
        known.append(PausedTime(info.last_updated_at or info.created_at))
    return known


def _all_misses(
    described: ScheduleDescription,
    run: ScheduledRun,
    entries: Sequence[ScheduleEntry],
    buffered: Sequence[datetime],
    now: datetime,
) -> tuple[list[Miss], int]:
    """Those that runs have recorded, and those since the last one."""
    info = described.info
    kept = [miss for entry in entries for miss in entry.misses]
    number = sum(entry.missed for entry in entries)
    ran = [entry.planned_at for entry in entries if entry.planned_at]
    runs = [entry for entry in entries if entry.kind == "run"]
    changed = [entry.at for entry in entries if entry.kind in {"created", "updated"}]
    if not changed:
        return kept, number
    last = runs[-1] if runs else None
    since, more = misses(
        run.cron,
        run.time_zone,
        after=max([changed[-1], *ran]),
        before=now - timedelta(seconds=PROMPT_SECONDS) - (described.schedule.spec.jitter or timedelta(0)),
        ran=[*ran, *buffered],
        pauses=_pauses(described, entries),
        overlaps=info.num_actions_skipped_overlap - (last.overlaps if last else 0),
        late=info.num_actions_missed_catchup_window - (last.late if last else 0),
    )
    done = set(ran)  # a miss that was made good by a backfill is none any more
    return [miss for miss in (*kept, *since) if miss.at not in done], number + more


def _zoned(at: datetime, zones: Sequence[str]) -> ZonedTime:
    shown = {}
    for name in zones:
        local = at.astimezone(zone(name))
        shown[name] = f"{local:%Y-%m-%d %H:%M:%S} {local.tzname()}"
    return ZonedTime(utc=at, local=shown)
