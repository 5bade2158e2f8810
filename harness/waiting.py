"""Waiting for what happens in other processes, which sets no event here: one way for all tests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

T = TypeVar("T")

SECONDS: Final = 240.0
"""Only catches what hangs: the machine may have other work."""
_FIRST_PAUSE: Final = 0.02
_LAST_PAUSE: Final = 0.2


async def until(look: Callable[[], T], what: str = "", *, seconds: float = SECONDS, in_thread: bool = False) -> T:
    """Wait until a look sees something.

    Args:
        look: Gives something true once it is there.
        what: What is waited for, in words for the failure.
        seconds: How long at most.
        in_thread: Look in a thread: for a look that blocks, as a request does.

    Returns:
        What the look gave.

    Raises:
        AssertionError: it was not there in time.
    """
    for pause in _pauses(look, seconds, what):
        result = await asyncio.to_thread(look) if in_thread else look()
        if result:
            return result
        await asyncio.sleep(pause)
    raise AssertionError


def wait_until(look: Callable[[], T], what: str = "", *, seconds: float = SECONDS) -> T:
    """As `until`, in a test that is not asynchronous."""
    for pause in _pauses(look, seconds, what):
        result = look()
        if result:
            return result
        time.sleep(pause)
    raise AssertionError


def pauses() -> Iterator[float]:
    """Seconds between two looks, without end: few at first, since each look is work for a busy machine."""
    pause = _FIRST_PAUSE
    while True:
        yield pause
        pause = min(pause * 1.2, _LAST_PAUSE)


def _pauses(look: Callable[[], object], seconds: float, what: str) -> Iterator[float]:
    deadline = time.monotonic() + seconds
    for pause in pauses():
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what or look}")
        yield pause
