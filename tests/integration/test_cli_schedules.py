"""Schedules on a real server: what they start, what they miss, when they are due, and what is said of mistakes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import pytest
from platforms import LocalPlatform, read_json, refused

from bondstone.base.errors import AlreadyExists, NotFound
from bondstone.campaign.recurrence import due
from harness.waiting import until_async

pytestmark = pytest.mark.integration
SERVED = pytest.mark.usefixtures("watched")

STRATEGY = """apiVersion: bondstone.dev/v1
kind: Strategy
metadata: {name: look, reason: drift is looked for every night}
spec:
  operation: reconcile
  promise: plain
  select: {include: [night/watched]}
  waves:
    - {name: rest, rest: true}
"""


@pytest.fixture
def strategy(tmp_path: Path) -> Path:
    """A strategy, in a file."""
    file = tmp_path / "look.yaml"
    file.write_text(STRATEGY)
    return file


@pytest.fixture(scope="module")
def watched(platform: LocalPlatform) -> str:
    """The one service that the strategy is about."""
    platform.bond("service", "request", "plain", "night/watched", "--wait", seconds=180)
    return "night/watched"


def create(platform: LocalPlatform, strategy: Path, name: str, *more: str) -> dict:
    arguments = ("schedule", "create", name, "-f", str(strategy), "--cron", "0 1 * * *", *more)
    return read_json(platform, "schedule-show", *arguments)


async def ended(platform: LocalPlatform, campaign: str) -> str:
    """How a campaign ends; one that a schedule names may not have begun yet."""
    async with platform.client() as bond:
        result = await until_async(
            lambda: bond.campaigns.wait(campaign, through_approvals=True), f"{campaign} ends", not_yet=(NotFound,)
        )
        return result.status


@SERVED
async def test_a_triggered_schedule_starts_a_campaign_that_is_recorded(
    platform: LocalPlatform, strategy: Path
) -> None:
    create(platform, strategy, "nightly", "--time-zone", "Europe/Berlin", "--paused")
    answer = platform.bond(
        "--as", "ada", "schedule", "trigger", "nightly", "--reason", "the fix is out", "-o", "yaml"
    )
    campaign = answer.stdout.split("campaign:")[1].strip()
    assert campaign.startswith("nightly-2")
    assert await ended(platform, campaign) == "completed"
    shown = read_json(platform, "schedule-show", "schedule", "show", "nightly")
    assert [(run["campaign"], run["status"]) for run in shown["runs"]] == [(campaign, "completed")]
    assert shown["acts"][0] | {"at": ""} == {"at": "", "what": "triggered", "by": "ada", "note": "the fix is out"}
    document = read_json(platform, "campaign-show", "campaign", "show", campaign)
    assert document["reason"] == "drift is looked for every night"
    assert document["counts"] == {"succeeded": 1}
    [row] = [row for row in read_json(platform, "schedule-list", "schedule", "list") if row["name"] == "nightly"]
    assert (row["last"], row["paused"], row["next"]) == (campaign, True, None)


@SERVED
async def test_a_backfill_runs_each_time_once_one_after_the_other(platform: LocalPlatform, strategy: Path) -> None:
    create(platform, strategy, "filled", "--paused")
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    span = ("--from", f"{today - timedelta(days=2):%Y-%m-%d}", "--to", f"{today:%Y-%m-%d}")
    platform.bond("schedule", "backfill", "filled", *span)
    wanted = [f"filled-{today - timedelta(days=days):%Y%m%d}-0100" for days in (2, 1)]
    async with platform.client() as bond:

        async def all_run() -> bool:
            return len(await bond.schedules.history("filled")) >= 4

        await until_async(all_run, "every time has run")
    assert [await ended(platform, campaign) for campaign in wanted] == ["completed", "completed"]
    again = platform.bond("schedule", "backfill", "filled", *span, "-o", "json", status=2)
    assert "has run" in refused(again, "INVALID_INPUT")["message"]


def test_a_pause_says_who_and_why_until_it_ends(platform: LocalPlatform, strategy: Path) -> None:
    create(platform, strategy, "resting")
    shown = read_json(
        platform, "schedule-show", "--as", "grace", "schedule", "pause", "resting", "--reason", "end of quarter"
    )
    assert (shown["paused"], shown["note"]) == (True, "paused by grace: end of quarter")
    shown = read_json(platform, "schedule-show", "schedule", "resume", "resting")
    assert shown["paused"] is False
    assert [act["what"] for act in shown["acts"]] == ["resumed", "paused", "created"]


@pytest.mark.parametrize(
    "zone",
    [
        "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu",
        # Where the data of the server and ours differ by an hour.
        "America/Vancouver", "Africa/Casablanca",
    ],
)  # fmt: skip
@pytest.mark.parametrize("cron", ["30 2 * * *", "10 5 13 * FRI"])
def test_next_times_are_those_of_the_line_across_clock_changes(
    platform: LocalPlatform, strategy: Path, zone: str, cron: str
) -> None:
    name = f"due-{zone.rpartition('/')[2].lower().replace('_', '-')}-{len(cron)}"
    arguments = ("schedule", "create", name, "-f", str(strategy), "--cron", cron, "--time-zone", zone, "--paused")
    read_json(platform, "schedule-show", *arguments)
    shown = read_json(platform, "schedule-show", "schedule", "show", name, "--next", "400")
    assert shown["zone_data"] == "ours"
    told = [datetime.fromisoformat(each["utc"]) for each in shown["next"]]
    count = len(told)
    assert count == 400
    now = datetime.now(UTC)
    expected = list(islice(due(cron, zone, now, now + timedelta(days=4000)), count))
    # Of a time that comes twice Temporal means the second; nothing else may differ.
    later = [(got, want) for got, want in zip(told, expected, strict=True) if got != want]
    assert len(later) <= 2
    assert all(timedelta(0) < got - want <= timedelta(hours=1) for got, want in later)


async def test_an_update_changes_what_is_named_and_a_deleted_schedule_leaves_its_ledger(
    platform: LocalPlatform, strategy: Path
) -> None:
    create(platform, strategy, "changing", "--jitter", "5m", "--overlap", "buffer-one", "--catch-up", "2h")
    shown = read_json(
        platform, "schedule-show", "--as", "grace", "schedule", "update", "changing", "--cron", "5 4 * * *"
    )
    assert (shown["cron"], shown["jitter_seconds"], shown["overlap"]) == ("5 4 * * *", 300, "buffer-one")
    assert (shown["catch_up_seconds"], shown["requested_by"]) == (7200, "grace")
    platform.bond("schedule", "delete", "changing", "--reason", "no more")
    refused(platform.bond("schedule", "show", "changing", "-o", "json", status=3), "NOT_FOUND")
    async with platform.client() as bond:
        kinds = [entry.kind for entry in await bond.schedules.history("changing")]
        assert kinds == ["created", "updated", "deleted"]


async def test_nothing_is_made_of_mistakes(platform: LocalPlatform, strategy: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(STRATEGY.replace("rest: true", "rset: true"))
    ran = platform.bond(
        "schedule", "create", "bad", "-f", str(wrong), "--cron", "0 1 * * *", "-o", "json", status=2
    )
    places = {(problem["line"], problem["column"]) for problem in refused(ran, "CAMPAIGN_INVALID")["problems"]}
    assert (9, 20) in places
    line = platform.bond(
        "schedule", "create", "bad", "-f", str(strategy), "--cron", "0 1 * *", "-o", "json", status=2
    )
    assert refused(line, "CAMPAIGN_INVALID")["problems"][0]["file"] == "--cron"
    refused(platform.bond("schedule", "show", "bad", "-o", "json", status=3), "NOT_FOUND")
    create(platform, strategy, "twice", "--paused")
    async with platform.client() as bond:
        with pytest.raises(AlreadyExists):
            await bond.schedules.create("twice", STRATEGY.encode(), "s.yaml", cron="0 1 * * *")
