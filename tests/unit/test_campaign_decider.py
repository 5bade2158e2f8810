"""Campaigns, step by step: each test plays one short story to the decider."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest

from bondstone.base.errors import InvalidInput, NotFound, Refused
from bondstone.campaign.decider import chosen, decide, effect, new_campaign, refusal, status
from bondstone.model.campaign import events as moves
from bondstone.model.campaign.state import (
    Calendar,
    CampaignState,
    CampaignStatus,
    Code,
    Rules,
    TargetOutcome,
    WaveRules,
)
from bondstone.model.service import Need, OperationStatus

C = TypeVar("C")


class Story:
    """A campaign with one group and team, whose pages are loaded at once."""

    def __init__(self, *waves: WaveRules, groups: str = "", **rules: Any) -> None:
        self.rules = Rules(campaign="cve", requested_by="ada", targets_digest="d" * 64, waves=waves, **rules)
        self.groups = groups or "a" * self.rules.size
        self.state: CampaignState = new_campaign(self.rules)
        self.now = datetime(2026, 11, 24, tzinfo=UTC)
        self.requests = 0
        self.commands_seen: list[Any] = []

    def send(self, *events: Any) -> list[Any]:
        """The commands of these events, pages loaded."""
        made: list[Any] = []
        for event in events:
            self.state, commands = decide(self.state, event, self.now)
            made += commands
            for command in commands:
                if isinstance(command, moves.LoadPage):
                    keys = tuple(moves.TargetKey(group=group, team=group) for group in self.groups)
                    made += self.send(moves.PageLoaded(page=command.page, targets=keys))
        self.commands_seen += made
        return made

    def begin(self) -> list[int]:
        return started(self.send(moves.Tick()))

    def wait(self, seconds: float = 0) -> list[Any]:
        if seconds:
            self.now += timedelta(seconds=seconds)
        else:
            assert self.state.wake_at is not None
            self.now = self.state.wake_at
        return self.send(moves.Tick())

    def finish(self, *targets: int, status: str = "succeeded", attempt: int | None = None) -> list[Any]:
        made = []
        for target in targets:
            flight = self.state.flights.get(target)
            number = attempt or (flight.attempt if flight else 1)
            made += self.send(moves.AttemptFinished(target=target, attempt=number, status=OperationStatus(status)))
        return made

    def say(self, verb: type[moves.CampaignVerb], **about: Any) -> list[Any]:
        text = self.verb(verb, **about)
        assert refusal(self.state, text) is None
        return self.send(text)

    def verb(self, verb: type[moves.CampaignVerb], **about: Any) -> Any:
        self.requests += 1
        return verb(**{"request_id": f"r{self.requests}", "by": "bob", "reason": "because", **about})

    @property
    def codes(self) -> str:
        return "".join(self.state.pages)

    @property
    def status(self) -> CampaignStatus:
        return status(self.state)


def of(kind: type[C], commands: list[Any]) -> list[C]:
    return [command for command in commands if isinstance(command, kind)]


def started(commands: list[Any]) -> list[int]:
    return [command.target for command in of(moves.Submit, commands)]


def wave(size: int, name: str = "w", **rules: Any) -> WaveRules:
    return WaveRules(name=name, size=size, **rules)


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


def test_a_lost_submission_is_found_and_the_same_attempt_submitted_again() -> None:
    story = Story(wave(1), check_seconds=10)
    story.begin()
    targets = of(moves.Describe, story.wait())[0].targets
    assert [(one.target, one.attempt) for one in targets] == [(0, 1)]
    described = moves.Described(found=(moves.Found(target=0, attempt=1, what="unknown"),))
    assert [(one.target, one.attempt) for one in of(moves.Submit, story.send(described))] == [(0, 1)]


def test_a_lost_reply_does_not_leak_the_slot() -> None:
    story = Story(wave(2), max_concurrent=1, check_seconds=10)
    story.begin()
    story.wait()
    ended = moves.Found(target=0, attempt=1, what="ended", status=OperationStatus.SUCCEEDED)
    assert started(story.send(moves.Described(found=(ended,)))) == [1]


def test_a_refusal_that_crosses_the_same_submission_sent_again_counts_only_once_it_is_withdrawn() -> None:
    story = Story(wave(1), max_concurrent=1)
    story.begin()
    unknown = moves.Described(found=(moves.Found(target=0, attempt=1, what="unknown"),))
    assert started(story.send(unknown)) == [0], "sent a second time"
    late = moves.AttemptDeclined(target=0, attempt=1, reason="no such version")
    assert [(each.target, each.attempt) for each in of(moves.Cancel, story.send(late))] == [(0, 1)]
    assert story.codes == "r", "the second may be carried out yet"
    made = story.send(late, *withdrawn(0))
    assert [(each.outcome, each.reason) for each in of(moves.RecordOutcome, made)] == [
        ("refused", "no such version")
    ]


def test_what_was_accepted_after_a_crossing_refusal_is_booked_as_what_it_came_to() -> None:
    for crossing in (True, False):  # the acceptance of the second comes before or after the refusal of the first
        story = Story(wave(1), max_concurrent=1)
        story.begin()
        story.send(moves.Described(found=(moves.Found(target=0, attempt=1, what="unknown"),)))
        words = [
            moves.AttemptDeclined(target=0, attempt=1),
            moves.AttemptAccepted(target=0, attempt=1, operation=7),
        ]
        story.send(*(reversed(words) if crossing else words))
        assert story.codes == "r"
        assert of(moves.RecordOutcome, story.finish(0))[0].outcome == "succeeded"


def test_a_campaign_of_the_first_edition_goes_on_as_it_began() -> None:
    story = Story(wave(1), max_concurrent=1)
    story.state = new_campaign(story.rules, edition=0)
    story.begin()
    story.send(moves.Described(found=(moves.Found(target=0, attempt=1, what="unknown"),)))
    assert of(moves.RecordOutcome, story.send(moves.AttemptDeclined(target=0, attempt=1)))[0].outcome == "refused"


def withdrawn(target: int) -> list[Any]:
    """What a service says of a submission that it was told not to begin."""
    return [moves.AttemptFinished(target=target, attempt=1, status=OperationStatus.CANCELLED)]


def test_a_target_that_waits_for_an_approval_is_what_the_campaign_waits_for_once_nothing_else_moves() -> None:
    story = Story(wave(3), max_concurrent=2)
    story.begin()
    story.send(moves.AttemptAccepted(target=0, attempt=1, operation=1, awaiting=True))
    assert story.status is CampaignStatus.RUNNING, "another target runs"
    story.finish(1)
    assert story.status is CampaignStatus.RUNNING
    story.finish(2)
    assert story.status is CampaignStatus.AWAITING_APPROVAL
    story.send(moves.AttemptAccepted(target=0, attempt=1, operation=1))
    assert story.status is CampaignStatus.RUNNING, "it was approved"
    story.finish(0)
    assert story.status is CampaignStatus.COMPLETED


def test_a_slot_that_an_approval_holds_is_the_campaigns_wait_too_and_a_lost_word_of_it_is_seen() -> None:
    story = Story(wave(2), max_concurrent=1)
    story.begin()
    alive = moves.Found(target=0, attempt=1, what="alive", operation=1, awaiting=True)
    story.send(moves.Described(found=(alive,)))
    assert story.status is CampaignStatus.AWAITING_APPROVAL
    story.say(moves.SetConcurrency, max_concurrent=2)
    assert story.status is CampaignStatus.RUNNING


def test_while_the_start_rate_lets_more_come_the_campaign_does_not_wait_for_an_approval() -> None:
    story = Story(wave(2), max_concurrent=2, start_count=1, start_period_seconds=60)
    story.begin()
    story.send(moves.AttemptAccepted(target=0, attempt=1, operation=1, awaiting=True))
    assert story.status is CampaignStatus.RUNNING


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


def test_a_rollback_of_all_takes_back_what_failed_and_timed_out_and_says_what_it_does_not_touch() -> None:
    story = Story(wave(6), max_concurrent=6)
    story.begin()
    story.finish(0)
    story.finish(1, status="failed")
    story.send(moves.AttemptDeclined(target=2, attempt=1, why="refused"))
    story.send(moves.AttemptDeclined(target=3, attempt=1, why="unreachable"))
    story.finish(4)
    verb = story.verb(moves.RollbackTargets, which="all")
    assert effect(story.state, verb) == (
        "takes back 2 succeeded, 1 failed",
        "1 running finish first, and go back too where they end like these",
        "does not touch 1 unreachable, 1 refused",
    )
    story.send(verb)
    assert [each.target for each in of(moves.Submit, story.finish(5)) if each.rollback] == [0, 1, 4, 5]


def test_a_verb_says_what_it_touches_and_a_verb_without_effect_says_nothing() -> None:
    story = Story(wave(4), max_concurrent=2)
    story.begin()
    story.finish(0)
    abort = story.verb(moves.Abort, running="cancel")
    assert effect(story.state, abort) == (
        "1 target not started will not be attempted; 2 running are cancelled",
        "1 that ended before stay as they are",
    )
    assert effect(story.state, story.verb(moves.Resume)) == (), "it is refused"
    story.send(abort)
    assert effect(story.state, abort) == (), "it is done"


def test_a_service_that_is_gone_is_unreachable_and_can_be_skipped() -> None:
    for rule, code in (("fail", "U"), ("skip", "K")):
        story = Story(wave(1), check_seconds=10, unreachable=rule)
        story.begin()
        story.send(moves.Described(found=(moves.Found(target=0, attempt=1, what="gone"),)))
        assert story.codes == code


def test_what_takes_too_long_is_cancelled_and_keeps_its_slot_until_it_has_stopped() -> None:
    story = Story(wave(2), max_concurrent=1, timeout_seconds=100, check_seconds=1000)
    story.begin()
    story.send(moves.AttemptAccepted(target=0, attempt=1, operation=7))
    made = story.wait(100)
    assert of(moves.Cancel, made) == [moves.Cancel(target=0, attempt=1, operation=7, reason="timed-out")]
    assert started(made) == []
    assert started(story.finish(0, status="cancelled")) == [1]
    assert story.codes == "Tr"


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
    story.send(moves.AttemptDeclined(target=0, attempt=1, why="busy"))
    assert story.codes == code
    if busy == "wait":
        assert started(story.wait()) == [0]


def test_refused_and_skipped_targets_are_no_failures() -> None:
    story = Story(wave(2), max_concurrent=2, max_failures=0, overshoot="allow")
    story.begin()
    story.send(moves.AttemptDeclined(target=0, attempt=1, why="refused", reason="policy"))
    story.send(moves.AttemptDeclined(target=1, attempt=1, why="skipped", reason="compliant"))
    assert (story.codes, story.status) == ("RK", CampaignStatus.COMPLETED)
    assert of(moves.RecordOutcome, story.commands_seen)[0].reason == "policy"


def test_a_soak_runs_from_the_last_success_and_unhealthy_targets_are_failures() -> None:
    story = Story(wave(2, soak_seconds=100), wave(1), max_concurrent=2, max_failures=0)
    story.begin()
    story.finish(0)
    story.now += timedelta(seconds=30)
    story.finish(1)
    assert story.status is CampaignStatus.SOAKING
    assert story.state.wake_at == story.now + timedelta(seconds=100)
    probe = of(moves.ProbeTargets, story.wait())[0]
    assert probe.targets == (0, 1)
    assert started(story.send(moves.Probed(batch=probe.batch, unhealthy={1: "502"}))) == []
    assert (story.codes, story.status) == ("SF.", CampaignStatus.PAUSED)


def test_next_wave_ends_a_soak_but_the_probes_still_run() -> None:
    story = Story(wave(1, soak_seconds=1000), wave(1))
    story.begin()
    story.finish(0)
    made = story.say(moves.NextWave)
    assert started(made) == []
    assert [(note.what, note.by, note.reason) for note in of(moves.Note, made)] == [
        ("next-wave", "bob", "because")
    ]
    assert started(story.send(moves.Probed(batch=of(moves.ProbeTargets, made)[0].batch))) == [1]


def test_a_question_without_an_answer_is_asked_again_and_a_late_answer_is_ignored() -> None:
    story = Story(wave(1, soak_seconds=10), wave(1), check_seconds=60)
    story.begin()
    story.finish(0)
    first = of(moves.ProbeTargets, story.wait())
    assert of(moves.ProbeTargets, story.wait()) == first
    assert started(story.send(moves.Probed(batch=first[0].batch))) == [1]
    story.send(moves.Probed(batch=first[0].batch, unhealthy={0: "502"}))
    assert story.codes == "Sr"


def test_a_gate_asks_for_a_word_on_the_targets_before_its_wave() -> None:
    needs = (Need(roles=("sre",), count=2),)
    story = Story(wave(1), wave(1, "half", needs=needs))
    story.begin()
    story.finish(0)
    assert story.status is CampaignStatus.AWAITING_APPROVAL
    about: dict[str, Any] = {"wave": "half", "digest": "d" * 64, "roles": ("sre",)}
    stale = refusal(story.state, story.verb(moves.Approve, **{**about, "digest": "e" * 64}))
    assert stale is not None
    assert (stale.code, stale.http_status) == ("VOTE_STALE", 412)
    for wrong in ({"roles": ("dev",)}, {"by": "ada"}, {"wave": "w"}):
        assert isinstance(refusal(story.state, story.verb(moves.Approve, **{**about, **wrong})), Refused)
    assert started(story.say(moves.Approve, **about)) == []
    assert isinstance(refusal(story.state, story.verb(moves.Approve, **about)), Refused), "bob has voted"
    assert started(story.say(moves.Approve, **{**about, "by": "cyd"})) == [1]


def test_a_rejected_gate_ends_the_campaign() -> None:
    story = Story(wave(1, needs=(Need(),)))
    assert story.begin() == []
    story.say(moves.Reject, wave="w", digest="d" * 64)
    assert (story.codes, story.status) == ("N", CampaignStatus.ABORTED)


def test_a_gate_that_nobody_decides_in_time_ends_the_campaign_paused_or_not() -> None:
    for paused in (False, True):
        story = Story(wave(1, needs=(Need(roles=("sre",)),), expires_seconds=600))
        story.begin()
        if paused:
            story.say(moves.Pause)
        story.wait(599)
        assert story.status is (CampaignStatus.PAUSED if paused else CampaignStatus.AWAITING_APPROVAL)
        late = story.verb(moves.Approve, wave="w", digest=story.rules.targets_digest, roles=("sre",))
        story.now += timedelta(seconds=1)
        assert started(story.send(late)) == []
        assert (story.codes, story.status) == ("N", CampaignStatus.ABORTED)
        assert "gate-expired" in [note.what for note in of(moves.Note, story.commands_seen)]


def test_a_gate_whose_time_goes_by_while_the_campaign_is_elsewhere_is_asked_again() -> None:
    gated = wave(1, "two", needs=(Need(roles=("sre",)),), expires_seconds=600)
    story = Story(wave(1, "one"), gated, max_failures=1)
    story.begin()
    story.finish(0, status="failed")
    story.wait(500)
    story.say(moves.Retry)
    story.wait(500)
    story.finish(0)
    assert story.status is CampaignStatus.AWAITING_APPROVAL
    request = [note for note in of(moves.Note, story.commands_seen) if note.what == "gate-asked"]
    assert len(request) == 2
    story.wait(599)
    assert story.status is CampaignStatus.AWAITING_APPROVAL
    story.wait(1)
    assert story.status is CampaignStatus.ABORTED


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


def test_abort_drains_or_cancels_and_what_waited_was_not_attempted() -> None:
    story = Story(wave(3), max_concurrent=2)
    story.begin()
    assert of(moves.Cancel, story.say(moves.Abort)) == []
    assert (story.status, story.codes) == (CampaignStatus.ABORTING, "rrN")
    assert len(of(moves.Cancel, story.say(moves.Abort, running="cancel"))) == 2
    story.finish(0)
    story.finish(1, status="cancelled")
    assert (story.status, story.codes) == (CampaignStatus.ABORTED, "SFN")


def test_a_superseded_campaign_says_so() -> None:
    story = Story(wave(2), max_concurrent=1)
    story.begin()
    story.say(moves.Supersede, campaign="cve-2")
    story.finish(0)
    assert story.status is CampaignStatus.SUPERSEDED


def test_a_rollback_waits_for_what_runs_takes_the_wave_back_and_pauses() -> None:
    story = Story(wave(1), wave(3), max_concurrent=2)
    story.begin()
    story.finish(0, 1)
    assert started(story.say(moves.RollbackTargets, which="wave")) == []
    story.finish(2)
    made = story.finish(3, status="failed")
    back = [(one.target, one.rollback) for one in of(moves.Submit, made)]
    assert back == [(1, True), (2, True)]
    assert story.status is CampaignStatus.ROLLING_BACK
    story.finish(1, 2, 3)
    assert (story.codes, story.status) == ("SBBb", CampaignStatus.PAUSED)
    assert story.state.failures == 1, "rolled back, and a failure still"


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


def test_a_rollback_of_all_ends_the_campaign() -> None:
    story = Story(wave(3), max_concurrent=1)
    story.begin()
    story.finish(0)
    story.say(moves.RollbackTargets, which="all")
    story.finish(1)
    story.finish(0)
    story.finish(1, status="failed")
    assert (story.codes, story.status) == ("BFN", CampaignStatus.ROLLED_BACK)


def test_a_broken_budget_can_take_the_failed_targets_back() -> None:
    story = Story(wave(3), max_concurrent=1, max_failures=0, on_failure="rollback_target")
    story.begin()
    made = story.finish(0, status="failed")
    assert [(one.target, one.rollback) for one in of(moves.Submit, made)] == [(0, True)]
    story.finish(0)
    assert (story.codes, story.status) == ("b..", CampaignStatus.PAUSED)


def test_after_the_end_retry_and_rollback_start_a_linked_campaign() -> None:
    story = Story(wave(2), max_concurrent=2)
    story.begin()
    story.finish(0)
    story.finish(1, status="failed")
    verb = story.verb(moves.Retry)
    assert refusal(story.state, verb) is None
    assert of(moves.StartLinked, story.send(verb)) == [moves.StartLinked(verb=verb)]
    assert of(moves.StartLinked, story.send(verb)) == [], "once"
    assert chosen(story.state, verb) == [1]
    assert chosen(story.state, story.verb(moves.RollbackTargets, which="all")) == [0, 1]
    assert isinstance(refusal(story.state, story.verb(moves.Pause)), Refused)


def test_a_verb_is_done_once_however_often_it_comes() -> None:
    story = Story(wave(2), max_concurrent=1)
    story.begin()
    pause, resume = story.verb(moves.Pause), story.verb(moves.Resume)
    story.send(pause, resume, pause)
    assert story.status is CampaignStatus.RUNNING
    assert refusal(story.state, pause) is None
    other = story.verb(moves.Pause, request_id=resume.request_id)
    assert isinstance(refusal(story.state, other), InvalidInput)


def test_verbs_that_have_no_place_are_refused_in_words_and_change_nothing() -> None:
    story = Story(wave(2), max_concurrent=1)
    story.begin()
    for verb, error in (
        (story.verb(moves.Resume), Refused),
        (story.verb(moves.NextWave), Refused),
        (story.verb(moves.Retry), Refused),
        (story.verb(moves.Skip, target=0), Refused),
        (story.verb(moves.Skip, target=9), NotFound),
        (story.verb(moves.SetConcurrency, max_concurrent=0), InvalidInput),
        (story.verb(moves.SetConcurrency, max_concurrent=5000), InvalidInput),
        (story.verb(moves.Approve, wave="w", digest="x"), Refused),
    ):
        result = refusal(story.state, verb)
        assert type(result) is error
        assert result.where == "cve"
        before = story.state
        assert story.send(verb) == []
        assert story.state == before


def test_words_from_nowhere_change_nothing() -> None:
    story = Story(wave(2), max_concurrent=1)
    story.begin()
    before = story.state
    story.finish(1, attempt=1)
    story.finish(0, attempt=7)
    story.send(
        moves.AttemptAccepted(target=99, attempt=1),
        moves.Probed(batch=5, unhealthy={0: "?"}),
        moves.PageLoaded(page=4, targets=()),
        moves.Described(found=(moves.Found(target=9, attempt=1, what="gone"),)),
    )
    assert story.state == before


def test_concurrency_can_be_changed_and_takes_effect_at_once() -> None:
    story = Story(wave(5), max_concurrent=1)
    story.begin()
    assert started(story.say(moves.SetConcurrency, max_concurrent=3)) == [1, 2]
    story.say(moves.SetConcurrency, max_concurrent=1)
    assert started(story.finish(0, 1)) == []


def test_every_settled_code_has_an_outcome() -> None:
    assert {code.outcome for code in Code if code.outcome} == set(TargetOutcome)
