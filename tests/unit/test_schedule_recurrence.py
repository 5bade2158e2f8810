"""When schedules are due, against a brute force over every minute; and what they missed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim

from bondstone.base.errors import CampaignInvalid, InvalidInput
from bondstone.base.names import check_name, scheduled_campaign
from bondstone.campaign.recurrence import check, due, gap_ends, lines, misses, pauses, waiting
from bondstone.campaign.windows import CronError, check_cron, never_opens, zone
from bondstone.client.direct.schedules.files import read_timing, scheduled_run
from bondstone.model.campaign.manifest import Window, WindowsSpec
from bondstone.model.campaign.schedule import ScheduleEntry

MINUTE = timedelta(minutes=1)
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)

STRATEGY = b"""apiVersion: bondstone.dev/v1
kind: Strategy
metadata: {name: careful, reason: nightly patches}
spec:
  operation: patch
  promise: postgres
  to: latest-patch
  waves:
    - {name: rest, rest: true}
"""


def brute(cron: str, where: ZoneInfo, begin: datetime, end: datetime) -> list[datetime]:
    """Every minute looked at: the first with its time on the clock, or the first after a gap that holds it."""
    local_end = end.astimezone(where).replace(tzinfo=None) + timedelta(days=1)
    wanted = set()
    for local in CronSim(cron, begin.astimezone(where).replace(tzinfo=None) - timedelta(days=1)):
        if local > local_end:
            break
        wanted.add(local)
    result, observed = [], set()
    before = (begin - timedelta(days=1)).astimezone(where).replace(tzinfo=None)
    instant = begin - timedelta(days=1)
    while instant < end:
        clock = instant.astimezone(where).replace(tzinfo=None)
        hits = (
            {local for local in wanted if before < local <= clock}
            if clock - before != MINUTE
            else wanted & {clock}
        )
        if hits - observed and instant > begin:
            result.append(instant)
        observed |= hits
        before = max(before, clock)
        instant += MINUTE
    return result


@pytest.mark.parametrize("name", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"])
@pytest.mark.parametrize("cron", ["30 2 * * *", "15 1,2 * * *", "0 0 28 * SUN"])
@pytest.mark.parametrize(
    "day", ["2027-03-13", "2027-03-27", "2027-04-03", "2027-10-02", "2027-10-30", "2027-11-06"]
)
def test_due_times_across_clock_changes_are_those_of_the_brute_force(name: str, cron: str, day: str) -> None:
    begin = datetime.fromisoformat(day).replace(tzinfo=UTC)
    end = begin + timedelta(days=2)
    assert list(due(cron, name, begin, end)) == brute(cron, zone(name), begin, end)


def test_a_time_that_the_clocks_skip_is_made_up_for_at_the_end_of_the_gap() -> None:
    gaps = gap_ends("30 2 * * *", "Europe/Berlin", NOW, years=2)
    assert gaps == [datetime(2027, 3, 28, 1, tzinfo=UTC), datetime(2028, 3, 26, 1, tzinfo=UTC)]
    assert gap_ends("30 4 * * *", "Europe/Berlin", NOW, years=2) == []
    assert gap_ends("30 2 1 * *", "Europe/Berlin", NOW, years=2) == []
    assert gap_ends("10 2 * * *", "Australia/Lord_Howe", NOW, years=1) == [
        datetime(2027, 10, 2, 15, 30, tzinfo=UTC)
    ]
    assert gap_ends("10 2 * * *", "Asia/Kathmandu", NOW, years=2) == []


def test_a_line_of_days_of_month_and_of_week_becomes_two() -> None:
    assert lines("0 1 13 * FRI") == ("0 1 13 * *", "0 1 * * FRI")
    assert lines(" 0 1  * * FRI") == ("0 1 * * FRI",)
    assert lines("0 1 */2 * FRI") == ("0 1 */2 * FRI",)


@pytest.mark.parametrize(
    ("cron", "offset"),
    [("0 0 * * MON#2", 11), ("0 0 L * *", 4), ("0 61 * * *", 2), ("TZ=Europe/Berlin 0 3 * * *", 0)],
)
def test_a_line_that_temporal_reads_otherwise_is_refused_at_its_column(cron: str, offset: int) -> None:
    with pytest.raises(CronError) as caught:
        check(cron)
    assert caught.value.offset == offset


def test_july_is_no_last_day() -> None:
    check("0 0 1 JUL *")


def test_times_that_saw_no_run_are_misses_with_their_reason() -> None:
    after, before = datetime(2026, 11, 20, 1, tzinfo=UTC), datetime(2026, 11, 24, 1, tzinfo=UTC)
    between = [datetime(2026, 11, day, 1, tzinfo=UTC) for day in (21, 22, 23)]
    result, number = misses("0 1 * * *", "UTC", after=after, before=before, overlaps=3)
    assert ([miss.at for miss in result], number) == (between, 3)
    assert {miss.why for miss in result} == {"overlap"}
    for counts, why in (({"late": 3}, "late"), ({}, "unknown"), ({"late": 1, "overlaps": 2}, "unknown")):
        result, _ = misses("0 1 * * *", "UTC", after=after, before=before, **counts)
        assert {miss.why for miss in result} == {why}
    result, _ = misses("0 1 * * *", "UTC", after=after, before=before, ran=between[:2])
    assert [miss.at for miss in result] == between[2:]


def test_paused_is_said_only_of_times_at_which_somebody_had_paused_it() -> None:
    def entry(kind: str, day: int) -> ScheduleEntry:
        at = datetime(2026, 11, day, tzinfo=UTC)
        return ScheduleEntry.model_validate({"schedule": "nightly", "kind": kind, "at": at, "by": "eve"})

    days = (("created", 1), ("paused", 2), ("paused", 3), ("resumed", 4), ("paused", 6))
    entries = [entry(kind, day) for kind, day in days]
    result, number = misses(
        "@daily",
        "UTC",
        after=datetime(2026, 11, 1, 12, tzinfo=UTC),
        before=datetime(2026, 11, 8, 12, tzinfo=UTC),
        pauses=pauses(entries),
        overlaps=2,
    )
    assert number == 7
    assert [(miss.at.day, miss.why) for miss in result] == [
        (2, "paused"), (3, "paused"), (4, "overlap"), (5, "overlap"), (6, "paused"), (7, "paused"), (8, "paused")
    ]  # fmt: skip


def test_runs_that_are_buffered_wait_and_are_not_missed() -> None:
    day = {"after": NOW, "before": NOW + timedelta(hours=5, minutes=30), "started_at": NOW + timedelta(hours=2.5)}
    buffered = waiting("@hourly", "UTC", **day, number=2, last=True)
    assert [at.hour for at in buffered] == [16, 17], "all that are due are buffered, and the last ones wait"
    [one] = waiting("@hourly", "UTC", **day, number=1, last=False)
    assert one.hour == 15, "the first since the run began is buffered, those after it are left out"
    assert waiting("@hourly", "UTC", **day, number=0, last=True) == []
    missed, number = misses("@hourly", "UTC", after=day["after"], before=day["before"], ran=[one], overlaps=4)
    assert (number, one in [miss.at for miss in missed]) == (4, False)


@pytest.mark.parametrize(
    ("line", "fields"), [("@daily", "0 0 * * *"), (" @Weekly", "0 0 * * 0"), ("@annually", "0 0 1 1 *")]
)
def test_nicknames_work_as_crontab_knows_them(line: str, fields: str) -> None:
    check(line)
    assert lines(line) == (fields,)
    assert list(due(line, "UTC", NOW, NOW + timedelta(days=800))) == list(
        due(fields, "UTC", NOW, NOW + timedelta(days=800))
    )
    assert not never_opens(WindowsSpec(allow=(Window(cron=line, duration="1h", time_zone="UTC"),)), NOW)


@pytest.mark.parametrize(
    ("line", "message"),
    [("@every 1h", "is an interval"), ("@reboot", "start of a machine"), ("@noon", "is not known")],
)
def test_what_looks_like_a_nickname_is_refused_for_what_it_is(line: str, message: str) -> None:
    for checking in (check, check_cron):
        with pytest.raises(CronError, match=message) as caught:
            checking(line)
        assert "@daily" in caught.value.hint


def test_the_second_of_a_time_that_comes_twice_is_no_second_miss() -> None:
    second = datetime(2027, 10, 31, 1, 30, tzinfo=UTC)  # half past two in winter; windows mean the one in summer
    result, number = misses(
        "30 2 * * *",
        "Europe/Berlin",
        after=datetime(2027, 10, 30, 0, 30, tzinfo=UTC),
        before=datetime(2027, 11, 1, 1, 30, tzinfo=UTC),
        ran=[second],
    )
    assert (result, number) == ((), 0)


def test_the_longest_name_of_a_schedule_still_names_campaigns() -> None:
    name = scheduled_campaign("s" * 32, datetime(2026, 11, 25, 1, 0, 7, tzinfo=UTC))
    assert check_name("campaign", name).endswith("-20261125-010007")
    with pytest.raises(InvalidInput, match="too long"):
        run("s" * 33)


def test_mistakes_of_line_and_zone_are_told_together() -> None:
    with pytest.raises(CampaignInvalid) as caught:
        read_timing("0 25 * * *", "Europe/Berlinn")
    assert [(problem.file, problem.column) for problem in caught.value.problems] == [
        ("--cron", 3),
        ("--time-zone", 1),
    ]
    assert "Europe/Berlin" in caught.value.problems[1].hint


@pytest.mark.parametrize(
    ("wrong", "right", "place", "words"),
    [
        (b"  operation: patch\n  promise: postgres\n  to: latest-patch\n", b"", (5, 3), "what to do"),
        (b", reason: nightly patches", b"", (3, 11), "the reason is missing"),
        (b"rest: true", b"rset: true", (9, 20), "unknown key"),
    ],
)
def test_mistakes_of_a_strategy_are_told_with_line_and_column(
    wrong: bytes, right: bytes, place: tuple[int, int], words: str
) -> None:
    assert wrong in STRATEGY
    with pytest.raises(CampaignInvalid) as caught:
        run("nightly", STRATEGY.replace(wrong, right))
    told = [problem for problem in caught.value.problems if words in problem.message]
    assert (told[0].file, told[0].line, told[0].column) == ("strategy.yaml", *place)


def test_each_run_is_told_a_campaign_of_the_strategy() -> None:
    completed = run("nightly")
    assert completed.campaign.document["kind"] == "Campaign"
    assert completed.campaign.requested_by == "ada"
    assert completed.campaign.reason == "nightly patches"
    assert completed.campaign.schedule == "nightly"


def run(name: str, data: bytes = STRATEGY):
    timing = read_timing("0 1 * * *", "UTC")
    return scheduled_run(name, data, "strategy.yaml", timing, by="ada", reason="", now=NOW)
