"""A short run of `python -m harness.chaos.campaign`, and what its rules say of a campaign that went wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.chaos import campaign_rules
from harness.chaos.campaign_rules import Left
from harness.chaos.campaign_run import Run, Victim, planned

pytestmark = [pytest.mark.integration, pytest.mark.kills]

TARGETS = 12
KILLS = planned(2, 3, TARGETS, [Victim.CONTROL, Victim.EXECUTOR, Victim.SERVER])


async def test_after_kills_each_target_has_its_effect_once_and_the_report_is_the_ledger(tmp_path: Path) -> None:
    run = Run(tmp_path, targets=TARGETS, at_once=4, refusing=6, say=print)
    outcome = await run.outcome(KILLS)
    assert outcome.broken == {rule: [] for rule in campaign_rules.RULES}
    assert outcome.counts == {"succeeded": 10, "failed": 2}
    assert [kill.victim for kill in outcome.kills] == [kill.victim for kill in KILLS]
    assert outcome.left is not None
    _sees_what_is_wrong(outcome.left)


def _sees_what_is_wrong(left: Left) -> None:
    """Each rule must be able to fail: of the same campaign, as if something had gone wrong."""
    patched = min(left.targets - left.refusing)
    twice = {**left.versions, patched: [*left.versions[patched], "1.0.0", "1.0.1"]}
    assert _broken(replace(left, versions=twice)) == {"effects"}
    again = {**left.operations, patched: [*left.operations[patched], *left.operations[patched]]}
    assert _broken(replace(left, operations=again)) == {"operations", "report"}
    assert _broken(replace(left, ledger=left.ledger[1:])) >= {"report"}
    assert _broken(replace(left, ended=left.ended.changed(running=1))) == {"slots"}
    assert _broken(replace(left, max_failures=1)) == {"budget"}
    assert _broken(replace(left, at_once=1)) == {"budget"}


def _broken(left: Left) -> set[str]:
    return {rule for rule, wrong in campaign_rules.broken(left).items() if wrong}


def test_the_same_seed_gives_the_same_kills_of_every_victim() -> None:
    kills = planned(1, 40, 1000)
    assert kills == planned(1, 40, 1000)
    assert {kill.victim for kill in kills} == set(Victim)
    assert [kill.after for kill in kills] == sorted(kill.after for kill in kills)
