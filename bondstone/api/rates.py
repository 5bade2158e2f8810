"""How many requests one caller may send: a token bucket for each."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from bondstone.base.errors import TooManyRequests

MAX_CALLERS: Final = 10_000
"""Buckets kept; the one that was used longest ago makes room."""


class Rates:
    """Token buckets by caller.

    Args:
        per_second: Requests a second that each caller may send for good.
        burst: Requests that a caller who was quiet may send at once.
        clock: Seconds; default: the monotonic clock.
    """

    def __init__(self, per_second: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def count(self, caller: str) -> None:
        """Count one request.

        Raises:
            TooManyRequests: the caller's bucket is empty; says when to come back.
        """
        now = self._clock()
        left, since = self._buckets.pop(caller, (float(self._burst), now))
        left = min(self._burst, left + (now - since) * self._per_second)
        allowed = left >= 1
        self._buckets[caller] = (left - 1 if allowed else left, now)
        if len(self._buckets) > MAX_CALLERS:
            self._buckets.popitem(last=False)
        if not allowed:
            wait = math.ceil((1 - left) / self._per_second)
            refusal = TooManyRequests(
                f"{caller} sends more than {self._per_second:g} requests a second",
                hint=f"send the request again in {wait} s",
            )
            refusal.retry_after_seconds = wait
            raise refusal
