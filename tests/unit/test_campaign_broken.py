"""Broken campaigns of every kind: each is refused at its place, in words its author can act on.

Every message here was read as the author would read it; a change of words is a change worth a look.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from campaign_samples import NOW, edited, read_text
from ruamel.yaml import YAML

from bondstone.base.errors import CampaignInvalid
from bondstone.campaign.document import campaign_of, read_campaign, read_strategy

CASES: dict[str, Any] = YAML(typ="safe").load(Path(__file__).with_name("broken_campaigns.yaml"))


@pytest.mark.parametrize("kind", CASES)
def test_a_broken_campaign_is_refused_at_its_place_in_words(kind: str) -> None:
    case = CASES[kind]
    text = read_text(edited(*((change["from"], change["to"]) for change in case["change"])))
    assert [str(problem) for problem in text.problems] == case["says"].splitlines()
    with pytest.raises(CampaignInvalid) as caught:
        text.require()
    assert (caught.value.code, caught.value.problems) == ("CAMPAIGN_INVALID", text.problems)


def test_the_sample_itself_is_fine() -> None:
    text = read_text(edited())
    assert text.problems == ()
    assert text.require().metadata.name == "cve-2026-1234"


def test_one_mistake_does_not_hide_the_others() -> None:
    text = read_text(
        edited(
            ("  reason: CVE-2026-1234 in libpq\n", ""),
            ("to: 1.4.2", "to: latest"),
            ("team != 'lab'", "teem != 'lab'"),
            ("count: 2, max", "count: -2, max"),
            ("percent: 50", "percent: 150"),
            ("order: spread", "order: random"),
            ("0 22 * * MON-FRI", "0 25 * * MON-FRI"),
            ("9d, time_zone: Europe/London", "9d, time_zone: Europe/Londn"),
        )
    )
    assert [(problem.line, problem.column) for problem in text.problems] == [
        (3, 1),
        (10, 7),
        (13, 50),
        (17, 29),
        (19, 29),
        (21, 10),
        (30, 19),
        (32, 56),
    ]


@pytest.mark.parametrize(
    "text", ["", "[]", "7", "\x00", "spec: 3", "{spec: {waves: {}}}", "a: &a [*a]", "é" * 2_000_000]
)
def test_what_is_no_campaign_at_all_is_refused_too(text: str) -> None:
    result = read_campaign(text.encode(), "campaign.yaml", now=NOW)
    assert result.manifest is None
    assert result.problems


def test_a_file_that_is_not_text_is_refused() -> None:
    assert str(read_campaign(b"\xff\xfe", "c.yaml", now=NOW).problems[0]) == "c.yaml: the file is not UTF-8 text"


STRATEGY = """\
apiVersion: bondstone.dev/v1
kind: Strategy
metadata: {name: nightly, owner: platform, reason: patches of the night}
spec:
  operation: patch
  promise: postgres
  to: latest-patch
  waves: [{name: canary, count: 1, max_failures: 0}, {name: rest, rest: true}]
  windows: {allow: [{cron: "0 1 * * *", duration: 4h, time_zone: Europe/Berlin}]}
"""


def test_a_strategy_leads_to_a_campaign_for_each_run() -> None:
    strategy = read_strategy(STRATEGY.encode(), "strategy.yaml", now=NOW).require()
    campaign = campaign_of(strategy, name="nightly-2026-11-24", change="CHG-1")
    assert campaign.metadata.model_dump() == {
        "name": "nightly-2026-11-24",
        "owner": "platform",
        "reason": "patches of the night",
        "change": "CHG-1",
    }
    assert campaign.spec.model_dump() == strategy.spec.model_dump()


def test_a_strategy_that_says_only_how_cannot_start_by_itself() -> None:
    text = STRATEGY.replace("  operation: patch\n  promise: postgres\n  to: latest-patch\n", "")
    strategy = read_strategy(text.encode(), "strategy.yaml", now=NOW).require()
    with pytest.raises(CampaignInvalid, match="does not say what to do"):
        campaign_of(strategy, name="nightly-1")


def test_a_run_needs_a_reason() -> None:
    text = STRATEGY.replace(", reason: patches of the night", "")
    strategy = read_strategy(text.encode(), "strategy.yaml", now=NOW).require()
    with pytest.raises(CampaignInvalid, match="the reason is missing"):
        campaign_of(strategy, name="nightly-1")


def test_a_strategy_is_checked_as_a_campaign_is() -> None:
    text = STRATEGY.replace("to: latest-patch", "to: latest").replace("0 1 * * *", "0 1 * *")
    result = read_strategy(text.encode(), "strategy.yaml", now=NOW)
    assert [(problem.line, problem.column) for problem in result.problems] == [(7, 7), (9, 29)]
