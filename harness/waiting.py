"""Waiting for what happens in other processes, which sets no event here: the one way of it.

`tests/unit/test_waiting.py` refuses loops that sleep elsewhere, but for those it names with a reason.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, TypeVar

T = TypeVar("T")

SECONDS: Final = 240.0
"""Only catches what hangs: the machine may have other work."""
_FIRST_PAUSE: Final = 0.02
_LAST_PAUSE: Final = 0.2


class NotInTime(AssertionError):
    """What was waited for did not come."""


async def until(
    look: Callable[[], T | None],
    what: str = "",
    *,
    seconds: float = SECONDS,
    in_thread: bool = False,
    not_yet: tuple[type[Exception], ...] = (),
) -> T:
    """Wait until a look sees something.

    Args:
        look: Gives something true once it is there.
        what: What is waited for, in words for the failure.
        seconds: How long at most.
        in_thread: Look in a thread: for a look that blocks, as a request does.
        not_yet: Errors of a look that only mean: not yet.

    Returns:
        What the look gave.

    Raises:
        NotInTime: it was not there in time.
    """

    async def looked() -> T | None:
        return await asyncio.to_thread(look) if in_thread else look()

    return await until_async(looked, what or str(look), seconds=seconds, not_yet=not_yet)


async def until_async(
    look: Callable[[], Awaitable[T | None]],
    what: str = "",
    *,
    seconds: float = SECONDS,
    not_yet: tuple[type[Exception], ...] = (),
) -> T:
    """As `until`, for a look that is awaited. A look that does not answer is ended with the time."""
    last: Exception | None = None
    try:
        async with asyncio.timeout(seconds) as bound:
            for pause in pauses():
                try:
                    result = await look()
                except not_yet as error:
                    last = error
                else:
                    if result:
                        return result
                await asyncio.sleep(pause)
    except TimeoutError:
        if not bound.expired():  # one of the look's own
            raise
        raise _not_in_time(seconds, what or str(look), last) from last
    raise AssertionError


def wait_until(
    look: Callable[[], T | None],
    what: str = "",
    *,
    seconds: float = SECONDS,
    not_yet: tuple[type[Exception], ...] = (),
    longest_pause: float = _LAST_PAUSE,
) -> T:
    """As `until`, in code that is not asynchronous.

    `longest_pause` is in seconds, between two looks: less where the time itself is measured.
    """
    last: Exception | None = None
    deadline = time.monotonic() + seconds
    for pause in pauses(longest_pause):
        try:
            result = look()
        except not_yet as error:
            last = error
        else:
            if result:
                return result
        if time.monotonic() >= deadline:
            break
        time.sleep(pause)
    raise _not_in_time(seconds, what or str(look), last) from last


def pauses(longest: float = _LAST_PAUSE) -> Iterator[float]:
    """Seconds between two looks, without end: few at first, since each look is work for a busy machine."""
    pause = min(_FIRST_PAUSE, longest)
    while True:
        yield pause
        pause = min(pause * 1.2, longest)


def _not_in_time(seconds: float, what: str, last: Exception | None) -> NotInTime:
    return NotInTime(f"not within {seconds:.0f} s: {what}" + (f"; at last {last!r}" if last else ""))
