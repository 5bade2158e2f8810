"""What a schedule is made of, read and checked: a cron line, a zone, a strategy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from bondstone.base import names
from bondstone.base.errors import CampaignInvalid, InvalidInput, Problem
from bondstone.campaign.document import Flaw, campaign_of, read_strategy
from bondstone.campaign.recurrence import check
from bondstone.campaign.windows import CronError, zone_names
from bondstone.documents.yaml_places import did_you_mean, refuse
from bondstone.model.campaign.run import CampaignInput
from bondstone.model.campaign.schedule import LONGEST_NAME, ScheduledRun


@dataclass(frozen=True, slots=True)
class Timing:
    """A cron line and its zone, both good."""

    cron: str
    time_zone: str


def read_timing(cron: str, time_zone: str) -> Timing:
    """Check a cron line and a zone as they were given on the command line.

    Raises:
        CampaignInvalid: with each mistake, the column counted inside what was given.
    """
    problems = []
    try:
        check(cron)
    except CronError as error:
        problems.append(
            Problem(message=error.message, file="--cron", line=1, column=error.offset + 1, hint=error.hint)
        )
    if time_zone not in zone_names():
        near = did_you_mean(time_zone, zone_names())
        hint = near if near.startswith("did") else "write an IANA zone, as in Europe/London"
        message = f"{time_zone!r} is not a time zone"
        problems.append(Problem(message=message, file="--time-zone", line=1, column=1, hint=hint))
    if problems:
        raise refuse(problems, "the schedule", CampaignInvalid)
    return Timing(" ".join(cron.split()), time_zone)


def scheduled_run(
    name: str,
    data: bytes,
    file: str,
    timing: Timing,
    *,
    by: str,
    reason: str,
    now: datetime,
    further: Iterable[Flaw] = (),
) -> ScheduledRun:
    """What each run of a schedule is told.

    Args:
        name: Of the schedule.
        data: The strategy, as YAML or JSON.
        file: Its name, for messages.
        timing: When it is due.
        by: Who asks.
        reason: Why its campaigns are done; default: that of the strategy.
        now: From when on its windows must open.
        further: Mistakes of the strategy that show only beside the catalogue.

    Raises:
        InvalidInput: the name is none, or too long.
        CampaignInvalid: with every mistake at its line and column.
    """
    names.check_name("schedule", name)
    if len(name) > LONGEST_NAME:
        raise InvalidInput(
            f"{name!r} is too long for a schedule: its campaigns have the time in their names",
            hint=f"use at most {LONGEST_NAME} characters",
        )
    read = read_strategy(data, file, now=now)
    strategy = read.require()
    flaws = [*further]
    if strategy.spec.operation is None:
        flaws.append(Flaw(("spec",), "a schedule needs a strategy that says what to do", "add operation: patch"))
    if not (reason or strategy.metadata.reason).strip():
        flaws.append(Flaw(("metadata",), "the reason is missing", "add reason, or say --reason"))
    if flaws:
        raise read.refuse(flaws)
    campaign = campaign_of(strategy, name=name, reason=reason)
    return ScheduledRun(
        schedule=name,
        cron=timing.cron,
        time_zone=timing.time_zone,
        strategy=strategy.metadata.name,
        campaign=CampaignInput(
            document=campaign.model_dump(mode="json", by_alias=True, exclude_unset=True),
            requested_by=by,
            reason=campaign.metadata.reason,
            schedule=name,
        ),
        created_by=by,
        reason=reason,
    )
