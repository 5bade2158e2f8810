"""Who may claim a state, who is dead, and what may be pruned."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from bondstone.base.process_identity import Holder, is_dead
from bondstone.store.state.fence import MAX_FENCES, Kind, Lease, StateEntry, beyond_bound, fences_after, judge

HOLDER = Holder(attempt="a1")


def entry(position: int, kind: Kind = Kind.CLAIM, *, state: int = 0, fences: tuple[int, ...] = ()) -> StateEntry:
    at = datetime.now(UTC)
    return StateEntry(
        position=position, kind=kind, claim=1, token="t", holder=HOLDER, at=at, state=state, fences=fences
    )


def test_an_empty_or_released_log_is_free() -> None:
    assert judge(None, None, None, now=0, holder_is_dead=False).go
    assert judge(entry(3, Kind.RELEASE), None, None, now=0, holder_is_dead=True).takes_over is False


def test_a_waiter_takes_over_only_after_a_whole_term_without_a_sign_of_life() -> None:
    observation = judge(entry(1), None, None, now=100, holder_is_dead=False).observation
    assert not judge(entry(1), None, observation, now=129.9, holder_is_dead=False).go
    assert judge(entry(1), None, observation, now=130, holder_is_dead=False).takes_over
    for moved in (
        judge(entry(1), Lease(token="t", beat=1), observation, now=130, holder_is_dead=False),
        judge(entry(2), None, observation, now=130, holder_is_dead=False),
    ):
        assert not moved.go
        assert moved.observation is not None
        assert moved.observation.since == 130


def test_a_dead_or_departed_holder_is_not_waited_for() -> None:
    assert judge(entry(1), None, None, now=0, holder_is_dead=True).takes_over
    assert judge(entry(1), Lease(token="t", left=True), None, now=0, holder_is_dead=False).takes_over
    assert not judge(entry(1), Lease(token="other", left=True), None, now=0, holder_is_dead=False).go


def test_a_takeover_leaves_a_fence_that_later_claims_carry_on() -> None:
    assert fences_after(entry(7, fences=(2, 3)), position=8, takes_over=True) == (2, 3, 7, 8)
    assert fences_after(entry(7, fences=(2, 3)), position=8, takes_over=False) == (2, 3)
    assert fences_after(None, position=1, takes_over=False) == ()
    many = tuple(range(1, MAX_FENCES + 1))
    assert fences_after(entry(500, fences=many), position=501, takes_over=True)[-2:] == (500, 501)
    assert len(fences_after(entry(500, fences=many), position=501, takes_over=True)) == MAX_FENCES


@given(st.sets(st.integers(1, 50), min_size=1), st.data(), st.integers(1, 20))
def test_pruning_spares_fences_the_newest_state_and_the_newest_entries(
    positions: set[int], data: st.DataObject, bound: int
) -> None:
    fences = tuple(data.draw(st.sets(st.sampled_from(sorted(positions)))))
    state = data.draw(st.sampled_from(sorted(positions)))
    head = entry(max(positions), Kind.RELEASE, state=state, fences=fences)
    gone = set(beyond_bound(positions, head, bound=bound))
    assert not gone & {*fences, state, *sorted(positions)[-bound:]}
    assert len(positions - gone) <= bound + len(fences) + 1


def test_this_process_is_alive_and_its_number_used_again_is_dead() -> None:
    me = Holder.me("a1", "ann")
    assert not is_dead(me)
    assert is_dead(me.changed(pid_started=me.pid_started + 1))
    assert me.pid == os.getpid()


def test_a_process_that_ended_is_dead_once_it_is_a_zombie() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    stat = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
    holder = Holder.me("a1").changed(pid=child.pid, pid_started=float(stat[19]))
    assert not is_dead(holder)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert is_dead(holder)
    child.communicate()
    assert is_dead(holder)


def test_nothing_is_concluded_about_processes_of_elsewhere() -> None:
    me = Holder.me("a1").changed(pid=2**22 + 1, pid_started=1)
    assert is_dead(me)
    for other in ({"boot_id": "other"}, {"pid_namespace": "other"}, {"boot_id": ""}, {"pid_started": 0}):
        assert not is_dead(me.changed(**other))
