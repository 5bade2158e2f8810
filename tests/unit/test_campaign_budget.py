"""The failure budget of a campaign, and how it goes on after it broke."""

from __future__ import annotations

from campaign_story import Story, of, started, wave

from bondstone.model.campaign import events as moves
from bondstone.model.campaign.state import CampaignStatus


def test_a_strict_budget_starts_only_what_may_fail() -> None:
    story = Story(wave(9), max_concurrent=9, max_failures=2, overshoot="strict")
    assert story.begin() == [0, 1, 2]
    assert started(story.finish(0, status="failed")) == []
    assert started(story.finish(1)) == [3]


def test_a_canary_is_strict_even_where_overshoot_is_allowed() -> None:
    assert Story(wave(3, max_failures=0), max_concurrent=3, overshoot="allow").begin() == [0]


def test_a_broken_budget_pauses_and_a_retry_after_the_mend_goes_on_to_the_end() -> None:
    story = Story(wave(3), max_concurrent=1, max_failures=0)
    story.begin()
    assert started(story.finish(0, status="failed")) == []
    assert story.status is CampaignStatus.PAUSED
    assert started(story.say(moves.Retry)) == [0]
    assert story.state.flights[0].attempt == 2, "a new attempt, not the first again"
    story.finish(0, 1, 2)
    assert story.status is CampaignStatus.COMPLETED


def test_resume_accepts_the_failures_so_far_and_no_more() -> None:
    story = Story(wave(4), max_concurrent=1, max_failures=0)
    story.begin()
    story.finish(0, status="failed")
    assert started(story.say(moves.Resume)) == [1]
    story.finish(1, status="failed")
    assert story.status is CampaignStatus.PAUSED


def test_a_retry_of_what_did_not_start_does_not_mend_a_broken_budget() -> None:
    story = Story(wave(4), max_concurrent=1, max_failures=0)
    story.begin()
    story.say(moves.Skip, target=3)
    story.finish(0, status="failed")
    assert started(story.say(moves.Retry, which="not-started")) == []
    assert (story.status, story.codes) == (CampaignStatus.PAUSED, "F...")


def test_a_retry_leaves_a_pause_that_a_person_made() -> None:
    story = Story(wave(2), max_concurrent=1, max_failures=0)
    story.begin()
    story.say(moves.Pause)
    story.finish(0, status="failed")
    story.say(moves.Retry)
    assert story.status is CampaignStatus.PAUSED
    assert started(story.say(moves.Resume)) == [0]


def test_failures_in_a_row_break_the_budget_and_a_success_between_does_not_count() -> None:
    story = Story(wave(5), max_concurrent=1, max_consecutive_failures=2)
    story.begin()
    story.finish(0, status="failed")
    story.finish(1)
    story.finish(2, status="failed")
    assert story.status is CampaignStatus.RUNNING
    story.finish(3, status="failed")
    assert story.state.broken == "2 targets have failed in a row, which is the limit (budget.consecutive)"


def test_a_broken_budget_counts_each_target_once_and_in_the_words_of_the_table() -> None:
    story = Story(wave(5), max_concurrent=5, max_failures=1, timeout_seconds=60, cancel_grace_seconds=60)
    story.begin()
    story.finish(0, status="failed")
    story.finish(1, status="rolled-back")
    text = "2 targets count as failed (1 failed, 1 rolled back after failing); the budget allows 1"
    assert story.state.broken == text
    story.say(moves.Resume)
    story.finish(2, status="failed")
    story.finish(3, status="failed")
    assert story.state.broken == (
        "4 targets count as failed (3 failed, 1 rolled back after failing), 2 of them accepted by a resume; "
        "the budget allows 1 more"
    )
    assert story.state.failures == 4


def test_refused_and_skipped_targets_are_no_failures() -> None:
    story = Story(wave(2), max_concurrent=2, max_failures=0, overshoot="allow")
    story.begin()
    story.send(moves.AttemptDeclined(target=0, attempt=1, why="refused", reason="policy"))
    story.send(moves.AttemptDeclined(target=1, attempt=1, why="skipped", reason="compliant"))
    assert (story.codes, story.status) == ("RK", CampaignStatus.COMPLETED)
    assert of(moves.RecordOutcome, story.commands_seen)[0].reason == "policy"


def test_rollbacks_that_fail_break_the_budget_and_a_resume_accepts_them() -> None:
    story = Story(wave(3), max_concurrent=2, max_failures=1)
    story.begin()
    story.finish(0, 1)
    story.say(moves.RollbackTargets, which="wave")
    story.finish(2)
    story.finish(0, 1, 2, status="failed")
    story.finish(2, status="failed")
    assert (story.codes, story.status) == ("FFF", CampaignStatus.PAUSED)
    assert story.state.broken
    story.say(moves.Resume)
    assert story.status is CampaignStatus.COMPLETED_WITH_FAILURES


def test_a_broken_budget_can_take_the_failed_targets_back() -> None:
    story = Story(wave(3), max_concurrent=1, max_failures=0, on_failure="rollback_target")
    story.begin()
    made = story.finish(0, status="failed")
    assert [(one.target, one.rollback) for one in of(moves.Submit, made)] == [(0, True)]
    story.finish(0)
    assert (story.codes, story.status) == ("b..", CampaignStatus.PAUSED)
