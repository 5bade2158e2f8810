"""What people say to a campaign: approvals, soaks, gates, aborts, rollbacks, and verbs that have no place."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from campaign_story import Story, of, started, wave

from bondstone.base.errors import InvalidInput, NotFound, Refused
from bondstone.campaign.decider import chosen, effect, refusal
from bondstone.model.campaign import events as moves
from bondstone.model.campaign.state import CampaignStatus
from bondstone.model.service import Need


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
        "rolls back 2 succeeded, 1 failed",
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


def test_a_rollback_of_all_ends_the_campaign() -> None:
    story = Story(wave(3), max_concurrent=1)
    story.begin()
    story.finish(0)
    story.say(moves.RollbackTargets, which="all")
    story.finish(1)
    story.finish(0)
    story.finish(1, status="failed")
    assert (story.codes, story.status) == ("BFN", CampaignStatus.ROLLED_BACK)


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


def test_concurrency_can_be_changed_and_takes_effect_at_once() -> None:
    story = Story(wave(5), max_concurrent=1)
    story.begin()
    assert started(story.say(moves.SetConcurrency, max_concurrent=3)) == [1, 2]
    story.say(moves.SetConcurrency, max_concurrent=1)
    assert started(story.finish(0, 1)) == []
