"""How many Terraform processes a worker runs at once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import psutil

from bondstone.activities.tooling.heartbeat import Pulse, Stop
from bondstone.base.metrics import TERRAFORM_SLOTS
from bondstone.base.settings import Settings

_SLOT_BYTES: Final = 768 * 1024 * 1024
"""What one Terraform with a large provider takes (hashicorp/aws 5.100: 714 MiB); those without take a tenth."""


class Slots:
    """Places for processes that change the world, and others for those that only read it.

    An apply mostly waits for a cloud, a plan mostly computes: while as many applies run as may, the next plans
    are made, so that no place for an apply stands empty.

    Args:
        settings: `terraform_slots` is the number of places for applies; 0 chooses by cores and memory.
    """

    def __init__(self, settings: Settings) -> None:
        cores = os.cpu_count() or 1
        memory = int(psutil.virtual_memory().available) // _SLOT_BYTES
        changing = settings.terraform_slots or max(1, min(2 * cores, memory - cores))
        self._changing = _Places("change", changing)
        self._reading = _Places("read", min(cores, changing))

    @asynccontextmanager
    async def changing(self, pulse: Pulse, stop: Stop) -> AsyncIterator[None]:
        """A place for an apply; says so while it waits for one."""
        async with self._changing.one(pulse, stop):
            yield

    @asynccontextmanager
    async def reading(self, pulse: Pulse, stop: Stop) -> AsyncIterator[None]:
        """A place for init, plan or show; says so while it waits for one."""
        async with self._reading.one(pulse, stop):
            yield


class _Places:
    """Places of one kind, and how many of them are taken."""

    def __init__(self, use: str, total: int) -> None:
        self._places = asyncio.Semaphore(total)
        self._use = use
        self._used = self._waiting = 0
        TERRAFORM_SLOTS.record(total, use=use, state="total")
        self._say()

    @asynccontextmanager
    async def one(self, pulse: Pulse, stop: Stop) -> AsyncIterator[None]:
        await self._take(pulse, stop)
        try:
            pulse.note("")
            yield
        finally:
            self._places.release()
            self._used -= 1
            self._say()

    async def _take(self, pulse: Pulse, stop: Stop) -> None:
        self._waiting += 1
        self._say()
        try:
            place = asyncio.ensure_future(self._places.acquire())
            await asyncio.sleep(0)  # a free place is taken at once
            if not place.done():
                pulse.note("waiting for a free Terraform slot on this worker")
            await stop.unless(place)
            self._used += 1
        finally:
            self._waiting -= 1
            self._say()

    def _say(self) -> None:
        TERRAFORM_SLOTS.record(self._used, use=self._use, state="used")
        TERRAFORM_SLOTS.record(self._waiting, use=self._use, state="waiting")
