"""The report of a campaign: the same numbers in every format, and nothing in it that anybody could smuggle in."""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from collections import Counter
from html.parser import HTMLParser

import pytest
from campaign_reports import FAILED, report
from hypothesis import given, settings
from hypothesis import strategies as st

from bondstone.campaign.report.formats import as_csv, as_junit
from bondstone.campaign.report.page import as_html
from bondstone.model.campaign.report import CampaignReport

HOSTILE = "</style><script>alert(1)</script><img src=x onerror=y>\"'&\x1b[31m\u202e]]>"
VOID = frozenset({"meta", "br", "img", "link", "input"})
MAX_PAGE_BYTES = 1_500_000


class Page(HTMLParser):
    """A page as a reader's browser would see it; an element left open or closed twice is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.classes: list[str] = []
        self.attributes: set[str] = set()
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes |= {name for name, _ in attrs}
        self.classes += [value or "" for name, value in attrs if name == "class"]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_every_format_has_the_same_numbers() -> None:
    result = report(180)
    from_json = CampaignReport.model_validate_json(result.model_dump_json())
    outcomes = Counter(target.outcome for target in from_json.targets)
    failures = sum(outcomes[outcome] for outcome in FAILED)
    rows = list(csv.DictReader(io.StringIO(as_csv(result))))
    junit = ET.fromstring(as_junit(result))  # noqa: S314 - our own
    page = Page(as_html(result))

    assert dict(outcomes) == from_json.counts
    assert Counter(row["outcome"] for row in rows) == outcomes
    assert sum(row["failed"] == "yes" for row in rows) == failures == from_json.failures
    cases = list(junit.iter("testcase"))
    assert len(cases) == len(rows) == len(from_json.targets) == int(junit.attrib["tests"])
    assert len(list(junit.iter("failure"))) == int(junit.attrib["failures"]) == failures
    passed = [case for case in cases if case.find("failure") is None and case.find("skipped") is None]
    assert len(passed) == outcomes["succeeded"]
    assert sum(int(suite.attrib["tests"]) for suite in junit.iter("testsuite")) == len(cases)
    in_page = Counter(words.split()[1] for words in page.classes if words.startswith("o "))
    assert in_page["bad"] == failures
    assert in_page["good"] == outcomes["succeeded"]
    assert in_page.total() == len(rows)


def test_the_page_stands_alone() -> None:
    text = as_html(report())
    page = Page(text)
    assert page.tags["script"] == page.tags["link"] == page.tags["img"] == 0
    assert page.attributes.isdisjoint({"src", "href", "onload", "onclick"})
    assert "default-src 'none'" in text
    assert "prefers-color-scheme: dark" in text
    assert not re.search(r"https?://|url\(|@import", text)
    assert page.tags["svg"] == 1
    assert page.tags["html"] == page.tags["head"] == page.tags["body"] == 1


def test_nobody_can_write_markup_into_the_page() -> None:
    plain, hostile = Page(as_html(report())), as_html(report(hostile=HOSTILE))
    page = Page(hostile)
    assert set(page.tags) == set(plain.tags)
    assert page.tags["style"] == 1
    assert page.attributes == plain.attributes
    assert "alert(1)" in "".join(page.text)
    assert "\x1b" not in hostile
    assert "\u202e" not in hostile


def test_every_target_has_its_evidence_in_the_page() -> None:
    result = report(36)
    text = "".join(Page(as_html(result)).text)
    for target in result.targets:
        assert target.service in text
        assert (target.operation or "") in text
    assert "terraform said no" in text
    assert "approved by dana (dba)" in text
    assert "warn: encryption is off" in text


@pytest.mark.parametrize("words", ["check.certificate: expires soon", "the task install is not idempotent"])
def test_what_a_tool_remarks_is_in_every_format_that_names_plans(words: str) -> None:
    result = report(36)
    assert words in "".join(Page(as_html(result)).text)
    rows = list(csv.DictReader(io.StringIO(as_csv(result))))
    assert [bool(target.plans) for target in result.targets] == [words in ";".join(row.values()) for row in rows]


def test_a_thousand_targets_can_be_mailed() -> None:
    assert len(as_html(report(1000)).encode()) < MAX_PAGE_BYTES


def test_hostile_words_leave_junit_valid() -> None:
    junit = ET.fromstring(as_junit(report(hostile=HOSTILE + "\x00\ufffe\ud800")))  # noqa: S314 - our own
    failure = next(junit.iter("failure"))
    assert "<script>alert(1)</script>" in failure.attrib["message"]
    assert "error[TOOL_FAILED]" in (failure.text or "")


@pytest.mark.parametrize("start", [
        "=", "+", "-", "@", "\t=", " =", "\r=", "|", "%", "\uff1d", "\n@",
        "\ufeff=", "\u200b=", "\u200d=", "\ufe0f@", "\u00ad+", "\u2060-", "\u202e=", "\u3164=", "\u00a0=",
        "\u3000=", "\U000e0020=", "\u200b \ufeff=", "\x00=", "\x1b=",
    ],
)  # fmt: skip
def test_no_cell_is_a_formula(start: str) -> None:
    formula = f"{start}HYPERLINK(1)"
    result = report().changed(change=formula, requested_by=formula)
    rows = list(csv.reader(io.StringIO(as_csv(result))))
    for row in rows[1:]:
        # What is seen first: letters, digits and marks, whatever stands unseen before them.
        first = [next((char for char in cell if char in "=+-@|%\uff1d'" or char.isalnum()), "") for cell in row]
        assert not {*first} & set("=+-@|%\uff1d")
    assert "HYPERLINK(1)" in rows[1][2]


@given(st.text(max_size=60))
@settings(max_examples=60, deadline=None)
def test_whatever_people_write_all_formats_can_be_read_back(words: str) -> None:
    result = report(9, hostile=words)
    rows = list(csv.DictReader(io.StringIO(as_csv(result), newline="")))
    assert len(rows) == len(result.targets)
    assert len(list(ET.fromstring(as_junit(result)).iter("testcase"))) == len(result.targets)  # noqa: S314 - our own
    assert Page(as_html(result)).tags["script"] == 0
    if words.isprintable():
        assert json.loads(result.model_dump_json())["reason"].endswith(words)


def test_a_campaign_that_has_not_begun_has_a_page() -> None:
    result = report(0).changed(started_at=None, waves=(), events=(), compliance=None)
    assert Page(as_html(result)).tags["svg"] == 0
