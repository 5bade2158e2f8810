"""Races over a state that chance rarely finds: each is a way in which a log without a lock could fail."""

import asyncio
from collections.abc import Iterator

import pytest
from statelog_world import RING, TERMS, Call, World

from bondstone.base.errors import Fenced, StoreUnavailable
from bondstone.base.process_identity import Holder
from bondstone.store.state.claim import Claim
from bondstone.store.state.fence import Kind, decode


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.close()


def start(world: World, work) -> asyncio.Task:
    task = world.loop.create_task(work)
    world.settle()
    return task


def run(world: World, work):
    task = start(world, work)
    world.serve_everybody()
    return task.result()


def claim(world: World, writer: int, **options: object) -> asyncio.Task:
    async def work() -> Claim:
        return await (await world.log(writer, keep=2, **options).claim(Holder(attempt=f"a{writer}"))).__aenter__()

    return start(world, work())


def let_pass(world: World, seconds: int) -> None:
    for _ in range(seconds):
        world.serve_everybody()
        world.tick(1)
    world.serve_everybody()


def wait_for_put(world: World, writer: int) -> Call:
    """Serve a writer until it is about to write an entry."""
    while True:
        [call, *_] = [call for call in world.calls if call.writer == writer]
        if call.method == "put_if_absent":
            return call
        world.serve(call)


def others_work(world: World, writers: range, **options: object) -> None:
    """Operations that come and go, so that what is old is pruned."""
    for writer in writers:
        task = claim(world, writer, **options)
        world.serve_everybody()
        run(world, task.result().append(b"later %d" % writer))
        run(world, task.result().release())


def state(world: World) -> bytes | None:
    return world.loop.run_until_complete(world.log(-1).read()).payload


def test_a_holder_that_renews_is_never_taken_over(world: World) -> None:
    held = claim(world, 1)
    world.serve_everybody()
    waiter = claim(world, 2)
    let_pass(world, 300)
    assert not waiter.done()
    assert not held.result().lost.is_set()
    run(world, held.result().release(b"x"))
    let_pass(world, 2)
    assert waiter.result().snapshot.payload == b"x"


def test_a_two_hour_claim_does_not_make_the_log_longer(world: World) -> None:
    held = claim(world, 1)
    world.serve_everybody()
    for number in range(120):
        run(world, held.result().append(b"state %d" % number))
        let_pass(world, 20)
    assert len(world.objects) <= 20
    assert state(world) == b"state 119"


def test_a_waiter_comes_in_after_the_term_and_the_frozen_holder_finds_out(world: World) -> None:
    held = claim(world, 1)
    world.serve_everybody()
    run(world, held.result().append(b"one"))
    world.frozen.add(1)
    waiter = claim(world, 2)
    let_pass(world, int(TERMS.term_seconds) - 1)
    assert not waiter.done()
    let_pass(world, 2)
    run(world, waiter.result().append(b"two"))
    world.thaw(1)
    assert held.result().lost.is_set()
    with pytest.raises(Fenced, match="lost the state to"):
        run(world, held.result().append(b"late"))
    assert state(world) == b"two"


def test_a_holder_that_cannot_renew_stops_before_others_may_come(world: World) -> None:
    held = claim(world, 1)
    world.serve_everybody()
    for _ in range(int(TERMS.stop_seconds) + 1):
        world.tick(1)  # no call is served any more
    assert held.result().lost.is_set()
    assert TERMS.stop_seconds + 1 < TERMS.term_seconds


def test_a_holder_without_lease_keeps_its_state_if_nobody_has_come(world: World) -> None:
    held = claim(world, 1)
    world.serve_everybody()
    for _ in range(20):
        world.tick(1)
    run(world, held.result().append(b"what the stopping tool left"))
    assert state(world) == b"what the stopping tool left"


def test_a_holder_whose_put_comes_late_stays_fenced_after_all_else_is_pruned(world: World) -> None:
    held = claim(world, 1)
    world.serve_everybody()
    run(world, held.result().append(b"one"))
    append = start(world, held.result().append(b"late"))
    wait_for_put(world, 1)
    world.killed.add(1)
    others_work(world, range(2, 12), dead=lambda holder: holder.attempt == "a1")
    world.killed.discard(1)
    world.serve_everybody()
    with pytest.raises(Fenced):
        append.result()
    assert state(world) == b"later 11"
    assert not [written for written in world.puts if written.payload == b"late"]


def test_a_lost_answer_and_a_pruned_log_do_not_let_another_state_in(world: World) -> None:
    held = claim(world, 1)
    world.serve_everybody()
    release = start(world, held.result().release(b"one"))
    put = wait_for_put(world, 1)
    release.cancel()
    world.settle()
    world.serve(put)
    others_work(world, range(2, 12))
    with pytest.raises(Fenced):
        run(world, held.result().append(b"late"))
    assert state(world) == b"later 11"


def test_a_frozen_claimant_whose_place_was_pruned_does_not_think_it_holds(world: World) -> None:
    others_work(world, range(1, 3))
    late = claim(world, 9)
    wait_for_put(world, 9)
    world.killed.add(9)
    others_work(world, range(3, 9))
    world.killed.discard(9)
    world.serve_everybody()
    entries = world.loop.run_until_complete(world.log(-1).entries())
    assert late.done()
    assert entries[-1].kind is Kind.CLAIM
    assert entries[-1].holder.attempt == "a9"
    assert late.result().snapshot.payload == b"later 8"


def test_a_put_whose_answer_was_lost_counts_once(world: World) -> None:
    held = claim(world, 1)
    world.serve_everybody()
    append = start(world, held.result().append(b"one"))
    world.serve(wait_for_put(world, 1), lose_answer=True)
    world.tick(1)
    world.serve_everybody()
    assert append.result() == 2
    assert run(world, held.result().append(b"two")) == 3


def test_a_cancelled_append_that_arrived_does_not_stand_for_the_next(world: World) -> None:
    held = claim(world, 1)
    world.serve_everybody()
    append = start(world, held.result().append(b"one"))
    put = wait_for_put(world, 1)
    append.cancel()
    world.settle()
    world.serve(put)
    assert run(world, held.result().append(b"two")) == 3
    assert state(world) == b"two"


def test_a_store_that_is_gone_is_said_and_the_state_can_be_tried_again(world: World) -> None:
    held = claim(world, 1)
    world.serve_everybody()
    append = start(world, held.result().append(b"one"))
    for _ in range(3):
        world.serve(wait_for_put(world, 1), fail=True)
        world.tick(1)
    with pytest.raises(StoreUnavailable):
        append.result()
    run(world, held.result().append(b"one"))
    assert state(world) == b"one"


def test_who_leaves_without_a_release_is_not_waited_for(world: World) -> None:
    held = claim(world, 1)
    world.serve_everybody()
    waiter = claim(world, 2)
    world.serve_everybody()
    run(world, held.result().__aexit__(None, None, None))
    let_pass(world, 2)
    assert waiter.done()


def test_a_waiter_says_whom_it_waits_for(world: World) -> None:
    claim(world, 1)
    world.serve_everybody()
    recorded: list[Holder] = []
    start(world, world.log(2).claim(Holder(attempt="a2"), on_wait=recorded.append))
    let_pass(world, 5)
    assert len(recorded) >= 4
    assert {holder.attempt for holder in recorded} == {"a1"}


def test_a_forgotten_state_is_gone_also_from_fences_and_whoever_slept_stays_fenced(world: World) -> None:
    held = claim(world, 1)
    world.serve_everybody()
    run(world, held.result().append(b"one"))
    late = start(world, held.result().append(b"late"))
    wait_for_put(world, 1)
    world.killed.add(1)
    others_work(world, range(2, 4), dead=lambda holder: holder.attempt == "a1")
    run(world, world.log(4).forget(Holder(attempt="a4")))
    assert state(world) is None
    left = [
        decode(RING.unseal(data, key=key), position=int(key[-8:]), key=key)
        for key, data in world.objects.items()
        if key.startswith("state/")
    ]
    assert left
    assert not [payload for _, payload in left if payload]
    run(world, world.log(5).forget(Holder(attempt="a5")))
    others_work(world, range(6, 12))
    world.killed.discard(1)
    world.serve_everybody()
    with pytest.raises(Fenced):
        late.result()
    assert state(world) == b"later 11"


def test_to_forget_what_never_was_leaves_nothing(world: World) -> None:
    run(world, world.log(1).forget(Holder(attempt="a1")))
    assert not world.objects
