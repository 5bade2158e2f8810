"""Which target a campaign starts, and when: waves, slots, attempts, timeouts, the calendar."""

from __future__ import annotations

from datetime import timedelta

import pytest
from campaign_story import Story, of, started, wave

from bondstone.base.errors import ErrorInfo
from bondstone.model.campaign import events as moves
from bondstone.model.campaign.state import Calendar, CampaignStatus, Code, TargetOutcome
from bondstone.model.service import OperationStatus


def test_waves_run_in_order_and_the_next_target_takes_the_slot_that_is_free() -> None:
    story = Story(wave(2, "canary"), wave(3, "rest"), max_concurrent=2)
    assert story.begin() == [0, 1]
    assert started(story.finish(0)) == []
    assert started(story.finish(1)) == [2, 3]
    assert started(story.finish(3)) == [4]
    story.finish(2, 4)
    assert (story.codes, story.status) == ("SSSSS", CampaignStatus.COMPLETED)


def test_a_full_group_waits_and_others_pass_it() -> None:
    story = Story(wave(5), groups="aaabb", max_concurrent=3, max_concurrent_per_group=1)
    assert story.begin() == [0, 3]
    assert started(story.finish(3)) == [4]
    assert started(story.finish(0)) == [1]


def test_an_attempt_that_failed_is_tried_again_and_late_words_of_it_are_ignored() -> None:
    story = Story(wave(1), retries=1)
    story.begin()
    assert started(story.finish(0, status="failed")) == [0]
    story.finish(0, attempt=1)
    assert story.codes == "r"
    story.finish(0, attempt=2, status="failed")
    assert story.status is CampaignStatus.COMPLETED_WITH_FAILURES
    assert of(moves.RecordOutcome, story.commands_seen)[-1].attempts == 2


def test_attempts_wait_longer_each_time_and_keep_their_slot() -> None:
    story = Story(wave(2), max_concurrent=1, retries=2, backoff_seconds=30)
    story.begin()
    assert started(story.finish(0, status="failed")) == []
    assert started(story.wait(29)) == []
    assert started(story.wait(1)) == [0]
    assert started(story.finish(0, status="failed")) == []
    assert started(story.wait(59)) == []
    assert started(story.wait(1)) == [0]
    assert started(story.finish(0)) == [1]


def test_no_retry_starts_while_paused() -> None:
    story = Story(wave(1), retries=1)
    story.begin()
    story.say(moves.Pause)
    assert started(story.finish(0, status="failed")) == []
    assert started(story.say(moves.Resume)) == [0]


def test_a_target_that_took_too_long_says_which_timeout_and_what_it_was_waiting_for() -> None:
    story = Story(wave(1), timeout_seconds=5400, cancel_grace_seconds=900)
    story.begin()
    story.send(moves.AttemptAccepted(target=0, attempt=1, operation=1, awaiting=True))
    story.wait(5400)
    [record] = of(moves.RecordOutcome, story.wait(900))
    assert record.outcome is TargetOutcome.TIMED_OUT
    assert record.reason == (
        "not finished within the target.timeout of 1h30m: it was waiting for an approval, "
        "and it did not stop within 15m of being told to"
    )


def test_what_takes_too_long_is_cancelled_and_keeps_its_slot_until_it_has_stopped() -> None:
    story = Story(wave(2), max_concurrent=1, timeout_seconds=100, check_seconds=1000)
    story.begin()
    story.send(moves.AttemptAccepted(target=0, attempt=1, operation=7))
    made = story.wait(100)
    limit = "not finished within the target.timeout of 1m40s"
    assert of(moves.Cancel, made) == [moves.Cancel(target=0, attempt=1, operation=7, reason=limit)]
    assert started(made) == []
    cancelled = ErrorInfo(code="OPERATION_CANCELLED", message="cancelled by dana: campaign cve: timed-out")
    reply = moves.AttemptFinished(target=0, attempt=1, status=OperationStatus.CANCELLED, error=cancelled)
    assert started(made := story.send(reply)) == [1]
    assert story.codes == "Tr"
    assert of(moves.RecordOutcome, made)[0].reason == limit


def test_what_runs_too_long_for_want_of_a_worker_is_unreachable_and_says_which_pool() -> None:
    for rule, code in (("fail", "U"), ("skip", "K")):
        story = Story(wave(1), timeout_seconds=100, check_seconds=50, unreachable=rule)
        story.begin()
        story.send(moves.AttemptAccepted(target=0, attempt=1))
        observed = moves.Found(target=0, attempt=1, what="alive", stalled="no worker serves pool edge")
        story.wait(50)
        story.send(moves.Described(found=(observed,)))
        story.wait(50)
        story.finish(0, status="cancelled")
        assert story.codes == code
        assert "pool edge" in of(moves.RecordOutcome, story.commands_seen)[-1].reason


def test_a_worker_that_came_meanwhile_makes_it_a_timeout() -> None:
    story = Story(wave(1), timeout_seconds=100, check_seconds=40)
    story.begin()
    story.send(moves.AttemptAccepted(target=0, attempt=1))
    for stalled in ("no worker serves pool edge", ""):
        story.wait(40)
        story.send(moves.Described(found=(moves.Found(target=0, attempt=1, what="alive", stalled=stalled),)))
    story.wait(20)
    story.finish(0, status="cancelled")
    assert story.codes == "T"


def test_what_does_not_stop_gives_its_slot_away_after_the_grace() -> None:
    story = Story(wave(2), max_concurrent=1, timeout_seconds=100, cancel_grace_seconds=50, check_seconds=1000)
    story.begin()
    story.send(moves.AttemptAccepted(target=0, attempt=1))
    story.wait(100)
    assert started(story.wait(50)) == [1]


def test_a_success_that_comes_after_the_timeout_is_a_success() -> None:
    story = Story(wave(1), timeout_seconds=100, check_seconds=1000)
    story.begin()
    story.wait(100)
    story.finish(0)
    assert story.codes == "S"


@pytest.mark.parametrize(("busy", "code"), [("wait", "r"), ("skip", "K"), ("fail", "F")])
def test_a_busy_service_is_waited_for_skipped_or_failed(busy: str, code: str) -> None:
    story = Story(wave(1), busy=busy)
    story.begin()
    story.send(moves.AttemptDeclined(target=0, attempt=1, why="busy", reason="its update a/b/op/3 is not over"))
    assert story.codes == code
    if busy == "wait":
        assert story.state.flights[0].busy == "its update a/b/op/3 is not over"
        assert started(story.wait()) == [0]


def test_nothing_starts_before_the_calendar_has_said_so_nor_after() -> None:
    story = Story(wave(3), max_concurrent=1, has_calendar=True)
    made = story.send(moves.Tick())
    assert of(moves.AskCalendar, made)
    assert not started(made)
    begin, until = story.now + timedelta(hours=1), story.now + timedelta(hours=2)
    story.send(Calendar(open=False, until=begin))
    assert (story.status, story.state.wake_at) == (CampaignStatus.WAITING_WINDOW, begin)
    assert of(moves.AskCalendar, story.wait())
    assert started(story.send(Calendar(until=until))) == [0]
    story.now = until
    assert started(story.finish(0)) == []
    assert of(moves.AskCalendar, story.commands_seen)


def test_a_freeze_binds_its_team_at_once_and_lets_others_go() -> None:
    story = Story(wave(4), groups="aabb", max_concurrent=1)
    story.begin()
    story.send(Calendar(frozen_teams=("a",)))
    assert started(story.finish(0)) == [2]
    story.finish(2, 3)
    assert started(story.send(Calendar())) == [1]


def test_the_end_of_a_window_cancels_and_the_next_window_tries_again() -> None:
    story = Story(wave(1), has_calendar=True, window_end="cancel", retries=1)
    story.begin()
    end = story.now + timedelta(hours=1)
    story.send(Calendar(until=end, window_ends_at=end))
    story.now = end
    assert of(moves.Cancel, story.send(moves.Tick()))
    assert started(story.finish(0, status="cancelled")) == []
    assert started(story.send(Calendar())) == [0]
    assert story.state.flights[0].attempt == 2


def test_the_start_rate_holds_for_every_period() -> None:
    story = Story(wave(9), max_concurrent=9, start_count=60, start_period_seconds=60)
    assert story.begin() == [0]
    assert started(story.wait()) == [1]
    assert started(story.wait(0.5)) == []


def test_every_settled_code_has_an_outcome() -> None:
    assert {code.outcome for code in Code if code.outcome} == set(TargetOutcome)
