"""Drawings of the console: cells of targets, clocks, the calendar; what differs between two revisions."""

import difflib
import hashlib
import re
import threading
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from bondstone.console import publishing
from bondstone.console.calendar import MAX_TO_COME, Period, Row, calendar, open_periods, to_come, zones_of
from bondstone.console.differences import MAX_COMPARED, MAX_LINES, differences
from bondstone.console.logs import MAX_CHARACTERS, fitting
from bondstone.console.session import Visitor
from bondstone.console.timeline import MAX_CELLS, Dial, drawing, face
from bondstone.identity.access import Access, permissions_of
from bondstone.model.campaign.report import CampaignReport, TargetReport, WaveReport
from bondstone.model.identity import Principal, Roles

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
HOSTILE = "<img src=x onerror=alert(1)>"


def report(targets: int, *, failed: int = 0, name: str = "cve") -> CampaignReport:
    outcomes = ["failed"] * failed + ["succeeded"] * (targets - failed)
    return CampaignReport(
        name=name, status="running", operation="patch", reason="cve", requested_by="ada", as_of=NOON, counts={},
        failures=failed, rules={}, started_at=NOON - timedelta(minutes=9),
        waves=(
            WaveReport(name="canary", targets=1, status="done", counts={}, failures=0, started_at=NOON),
            WaveReport(name="rest", targets=targets, status="running", counts={}, failures=failed),
        ),
        targets=tuple(
            TargetReport(target=number, service=f"shop/web-{number}", team="shop", wave="rest", outcome=outcome,
                         failed=outcome == "failed")
            for number, outcome in enumerate(outcomes)
        ),
    )  # fmt: skip


def test_each_target_has_a_cell_that_leads_to_it_and_failures_come_first():
    cells = re.findall(r'<a href="([^"]+)" aria-label="([^"]+)">', drawing(report(12, failed=2), NOON))
    assert len(cells) == 12
    assert cells[0] == ("/services/shop/web-0", "shop/web-0: failed")
    assert cells[-1] == ("/services/shop/web-11", "shop/web-11: succeeded")


def test_a_large_campaign_is_drawn_within_the_size_of_a_page():
    svg = drawing(report(100_000, failed=5_000), NOON)
    assert len(svg) < 100_000
    assert 1_000 < svg.count("h6v6h-6z") <= MAX_CELLS
    assert "A cell stands for 50 targets" in svg


def test_names_are_escaped_in_drawings():
    assert HOSTILE not in drawing(report(2, name=HOSTILE), NOON)
    assert HOSTILE not in calendar([Row("freeze", HOSTILE, (Period(NOON, None, HOSTILE),))], NOON)


def test_a_drawing_does_not_change_by_the_passing_of_seconds():
    assert drawing(report(3), NOON) == drawing(report(3), NOON + timedelta(seconds=9))


def test_a_clock_shows_its_end_and_how_much_is_over():
    soak = face(Dial("soak", "canary", NOON + timedelta(hours=3), NOON - timedelta(hours=1)), NOON)
    assert 'd="M24 24L34.0 24.0"' in soak  # the short hand at three
    assert 'd="M24 3A21 21 0 0 1 45.0 24.0"' in soak  # a quarter is over
    assert "?" in face(Dial("gate", "canary"), NOON)


def test_the_calendar_draws_when_targets_may_start():
    windows = {"allow": [{"cron": "0 22 * * *", "duration": "4h", "time_zone": "UTC"}]}
    periods = list(open_periods(windows, NOON))
    assert (periods[0].begins_at, periods[0].ends_at) == (NOON.replace(hour=22), NOON + timedelta(hours=14))
    assert len(periods) == 14
    svg = calendar([Row("window", "cve", tuple(periods)), Row("schedule", "nightly", times=(NOON,))], NOON)
    assert (svg.count('class="window"'), svg.count('class="due"')) == (14, 1)


def test_a_window_of_days_is_one_period_with_its_own_end():
    working_days = {"allow": [{"cron": "0 0 * * MON", "duration": "5d", "time_zone": "UTC"}]}
    first, second, third = open_periods(working_days, NOON)
    assert (first.begins_at, first.ends_at) == (NOON, datetime(2026, 12, 5, tzinfo=UTC))
    assert (second.begins_at, second.ends_at) == (
        datetime(2026, 12, 7, tzinfo=UTC),
        datetime(2026, 12, 12, tzinfo=UTC),
    )
    assert (third.begins_at, third.ends_at) == (datetime(2026, 12, 14, tzinfo=UTC), None)
    no_fridays = {"deny": [{"cron": "0 0 * * FRI", "duration": "1d", "time_zone": "UTC"}]}
    assert [period.ends_at and period.ends_at.day for period in open_periods(no_fridays, NOON)] == [4, 11, None]
    assert list(open_periods({}, NOON)) == [Period(NOON, None, "targets may start")]


def test_what_is_to_come_is_told_in_its_order_with_local_times_and_what_holds_now_first():
    windows = {"allow": [{"cron": "0 22 * * *", "duration": "4h", "time_zone": "Europe/London"}]}
    rows = [
        Row("freeze", "audit", (Period(NOON - timedelta(days=1), None, "the books"),)),
        Row("freeze", "past", (Period(NOON - timedelta(days=2), NOON - timedelta(days=1), "over"),)),
        Row("freeze", "later", (Period(NOON + timedelta(days=30), None, "too far"),)),
        Row("window", "cve", tuple(open_periods(windows, NOON)), zones=zones_of(windows)),
        Row(
            "schedule",
            "weekly",
            times=(NOON + timedelta(hours=11), NOON + timedelta(days=20)),
            zones=("Asia/Tokyo", "Nowhere/None"),
        ),
    ]  # fmt: skip
    coming = to_come(rows, NOON)
    assert [(each.kind, each.name, each.is_now) for each in coming[:3]] == [
        ("freeze", "audit", True), ("window", "cve", False), ("schedule", "weekly", False),
    ]  # fmt: skip
    assert coming[1].local == ("11-30 22:00 Europe/London",)
    assert coming[2].local == ("12-01 08:00 Asia/Tokyo",)
    assert {each.name for each in coming} == {"audit", "cve", "weekly"}
    assert (
        len(to_come([Row("window", str(n), tuple(open_periods(windows, NOON))) for n in range(30)], NOON))
        == MAX_TO_COME
    )
    assert zones_of({"deny": [{"time_zone": "UTC"}, {"time_zone": "Asia/Tokyo"}]}) == ("Asia/Tokyo",)


def test_differences_name_the_files_and_are_bounded():
    before = {"a.tf": b"one\ntwo\n", "half": b"\xff", "gone.tf": b"x\n", "same": b"s", "logo": b"\xff\x00"}
    after = {"a.tf": b"one\nthree\n", "half": b"text", "new.tf": b"y\n" * 5000, "same": b"s", "logo": b"\xff\x01"}
    files = {file.name: file for file in differences(before, after)}
    assert {name: file.kind for name, file in files.items()} == {
        "a.tf": "changed", "gone.tf": "removed", "half": "changed", "logo": "changed", "new.tf": "added",
    }  # fmt: skip
    assert ("bad", "-two") in files["a.tf"].lines
    assert ("good", "+three") in files["a.tf"].lines
    assert files["logo"].lines == files["half"].lines == ()
    assert sum(len(file.lines) for file in files.values()) == MAX_LINES
    assert files["new.tf"].left_out > 3000


def test_files_that_are_too_large_to_compare_are_named_with_sizes_and_digests(monkeypatch):
    compared = []
    real = difflib.unified_diff
    monkeypatch.setattr(
        difflib, "unified_diff", lambda a, b, **kwargs: compared.append(len(a) + len(b)) or real(a, b, **kwargs)
    )
    half = MAX_COMPARED // 2
    large = [b"".join(b"%d %d\n" % (number, side) for number in range(half)) for side in (0, 1)]
    larger = large[1] + b"one more\n"
    before = {"1-first": large[0], "2-more": b"old", "3-larger": large[0], "4-added": b""}
    after = {"1-first": large[1], "2-more": b"new", "3-larger": larger, "4-added": larger}
    files = {file.name: file for file in differences(before, after)}
    assert sum(compared[:1]) == MAX_COMPARED
    assert compared[1:] == [half + 1], "one side alone is printed whatever its size"
    assert files["1-first"].lines
    assert files["2-more"].too_large.startswith("not compared line by line: with the files before it")
    assert "; before 3 bytes, sha256 " in files["2-more"].too_large
    digests = [hashlib.sha256(content).hexdigest()[:16] for content in (large[0], larger)]
    assert files["3-larger"].too_large == (
        f"too large to compare line by line: {MAX_COMPARED + 1} lines; "
        f"before {len(large[0])} bytes, sha256 {digests[0]}; after {len(larger)} bytes, sha256 {digests[1]}"
    )


@given(*[st.lists(st.sampled_from("abcd"), max_size=30)] * 2, st.integers(0, 9), st.integers(0, 9))
def test_what_both_sides_begin_and_end_with_changes_nothing_but_the_time(old, new, begin, end):
    around = [f"same {number}" for number in range(begin)], [f"end {number}" for number in range(end)]
    before, after = ([*around[0], *middle, *around[1]] for middle in (old, new))
    sides = ({"a": "\n".join(lines).encode()} for lines in (before, after))
    lines = [text for file in differences(*sides) for _, text in file.lines]
    changed = (text for text in lines if text.startswith(("+", "-")))
    assert applied(before, lines) == after
    assert all(text[1:] in {*old, *new} or not before or not after for text in changed)


def applied(before: list[str], difference: list[str]) -> list[str]:
    """A text with a unified difference applied, which must name the right places."""
    made, at = [], 0
    for line in difference:
        if line.startswith("@@"):
            first, count = (int(part) for part in f"{line.split()[1][1:]},1".split(",")[:2])
            begin = first - 1 if count else first
            made += before[at:begin]
            at = begin
            continue
        if line[0] != "+":
            assert before[at] == line[1:]
            at += 1
        if line[0] != "-":
            made.append(line[1:])
    return made + before[at:]


def test_a_small_change_of_a_large_file_is_compared():
    lines = [f"line {number}" for number in range(5 * MAX_COMPARED)]
    changed = [*lines[:12_345], "another", *lines[12_346:]]
    [file] = differences({"a": "\n".join(lines).encode()}, {"a": "\n".join(changed).encode()})
    assert file.lines[0] == ("busy", "@@ -12343,7 +12343,7 @@")
    assert ("good", "+another") in file.lines


async def test_differences_are_made_beside_the_event_loop(monkeypatch):
    threads = []

    def noted(*sides):
        threads.append(threading.current_thread())
        return differences(*sides)

    async def sets():
        return [SimpleNamespace(version=2), SimpleNamespace(version=1)]

    async def policy_set(version):
        return SimpleNamespace(sources={"a.rego": str(version)})

    monkeypatch.setattr(publishing, "differences", noted)
    ada = Principal(subject="ada", means="oidc", grants=(Roles(roles=("admin",), scope=None),))
    bond = SimpleNamespace(policies=SimpleNamespace(list=sets, get=policy_set))
    answer = await publishing.compare_policies(
        Visitor(ada, permissions_of(Access(), ada), "csrf", bond=bond, note=print)
    )
    assert "-1" in answer.body.decode()
    assert [thread is threading.main_thread() for thread in threads] == [False]


def test_a_page_of_a_log_keeps_the_lines_that_fit_from_either_end():
    texts = [f"{number:04} {'x' * 995}" for number in range(1000)]
    tail, head = fitting(texts, from_end=True), fitting(texts, from_end=False)
    assert sum(len(text) + 1 for text in tail) <= MAX_CHARACTERS
    assert (tail[-1], head[0]) == (texts[-1], texts[0])
    assert len(tail) == len(head) == 89
    assert fitting(["a", "b"], from_end=True) == ["a", "b"]
