"""What tests wait with gives what was seen, and says what never came."""

from __future__ import annotations

import asyncio
import threading

import pytest

from harness.waiting import until, wait_until


async def test_a_wait_gives_what_the_look_saw() -> None:
    looks = iter([0, "", [], "there"])
    assert await until(lambda: next(looks)) == "there"
    looks = iter([None, 7])
    assert wait_until(lambda: next(looks)) == 7


async def test_a_wait_that_is_over_says_for_what_it_was() -> None:
    with pytest.raises(AssertionError, match=r"not within 0 s: the ship"):
        await until(lambda: False, "the ship", seconds=0.05)
    with pytest.raises(AssertionError, match=r"not within 0 s: the ship"):
        wait_until(lambda: False, "the ship", seconds=0.05)


async def test_a_look_that_blocks_does_not_hold_the_loop_up() -> None:
    told = threading.Event()
    asyncio.get_running_loop().call_later(0.05, told.set)
    assert await until(lambda: told.wait(60), in_thread=True)
