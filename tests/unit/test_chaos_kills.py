"""The list of kills and the table of what became of them, without killing anything."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from harness.chaos.kills import SPAN_SECONDS, Kill, Moment, Side, Victim, kills, plain_kills
from harness.chaos.outcome import Outcome
from harness.chaos.table import table

KINDS = 26
PLAIN_KINDS = 12


@given(seed=st.integers(), count=st.integers(0, 120), more=st.integers(0, 60))
def test_a_longer_list_of_a_seed_begins_with_the_shorter_one(seed, count, more):
    for choose in (kills, plain_kills):
        longer = choose(seed, count + more, things=20)
        assert longer[:count] == choose(seed, count, things=20)
        assert len({kill.key for kill in longer}) == len(longer)


@given(seed=st.integers())
def test_every_kind_of_kill_comes_about_as_often(seed):
    for choose, kinds in ((kills, KINDS), (plain_kills, PLAIN_KINDS)):
        result = choose(seed, 3 * kinds, things=20)
        times = [(kill.side, kill.victim, kill.moment) for kill in result]
        assert {times.count(kind) for kind in times} == {3}
        assert len(set(times)) == kinds


@given(seed=st.integers())
def test_a_kill_lands_within_its_moment_on_a_thing_that_is_not_the_last(seed):
    for kill in kills(seed, KINDS, things=5):
        assert 0 <= kill.thing < 4
        assert 0 <= kill.delay_seconds <= SPAN_SECONDS[kill.moment]
        assert bool(kill.pause_seconds) == (kill.victim is Victim.PAUSE)


def test_results_that_were_written_are_read_again():
    (kill,) = kills(1, 1, things=20)
    outcome = Outcome(kill, hit=True, ready=True, made_twice=1, lost=["thing_01"], seconds=2.5)
    assert Outcome.from_json(json.loads(json.dumps(outcome.as_json()))) == outcome


def test_the_table_counts_each_kind_and_leaves_out_what_hit_nothing():
    def kill(index: int) -> Kill:
        return Kill(index, Side.BONDSTONE, Victim.WORKER, Moment.APPLY, 3, 0.1)

    text = table(
        [
            Outcome(kill(0), hit=True, ready=True, made_twice=2, seconds=1),
            Outcome(kill(1), hit=True, ready=True, made_twice=1, seconds=4),
            Outcome(kill(2), hit=True, error="it hangs", lost=["thing_01"]),
            Outcome(kill(3), ready=True, seconds=99),
        ]
    )
    row = next(line for line in text.splitlines() if line.startswith("| bondstone | worker | apply"))
    assert row == "| bondstone | worker | apply | 3 | 2 | 3 | 2 | 0 | 0 | 0 | 1 | 0 | 2.5 | 4.0 |"
    assert "4 runs; 1 kills came too late" in text
    assert "not sound: 2 (bondstone): worker at apply: it hangs" in text
