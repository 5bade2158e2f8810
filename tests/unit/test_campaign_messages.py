"""Messages between a campaign and its targets that are lost, late, doubled or from nowhere."""

from __future__ import annotations

from campaign_story import Story, of, started, wave, withdrawn

from bondstone.campaign.decider import new_campaign
from bondstone.model.campaign import events as moves
from bondstone.model.service import OperationStatus


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


def test_a_service_that_is_gone_is_unreachable_and_can_be_skipped() -> None:
    for rule, code in (("fail", "U"), ("skip", "K")):
        story = Story(wave(1), check_seconds=10, unreachable=rule)
        story.begin()
        story.send(moves.Described(found=(moves.Found(target=0, attempt=1, what="gone"),)))
        assert story.codes == code


def test_a_question_without_an_answer_is_asked_again_and_a_late_answer_is_ignored() -> None:
    story = Story(wave(1, soak_seconds=10), wave(1), check_seconds=60)
    story.begin()
    story.finish(0)
    first = of(moves.ProbeTargets, story.wait())
    assert of(moves.ProbeTargets, story.wait()) == first
    assert started(story.send(moves.Probed(batch=first[0].batch))) == [1]
    story.send(moves.Probed(batch=first[0].batch, unhealthy={0: "502"}))
    assert story.codes == "Sr"


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
