"""A random walk over two compound services that share a part, on a real platform, and what must hold of it."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final

from bondstone.base.errors import BondError, NotFound
from bondstone.client import Operation
from bondstone.client.direct.client import DirectClient
from bondstone.model.service import OperationStatus, Phase, ServiceState
from harness.waiting import until_async

COMMON: Final = "walk/common"
TOPS: Final = ("walk/one", "walk/two")
PARTS: Final = {top: f"{top}-part" for top in TOPS}
SETTLES_SECONDS: Final = 180
"""Every chain of operations ends within this."""
_GONE: Final = frozenset({Phase.DECOMMISSIONED, Phase.ABANDONED})


class Walk:
    """Requests in any order, some not waited for, some that must fail or be refused.

    Args:
        bond: A client of the platform.
        promise: Of the tops: a part of their own, and `COMMON`.
        leaf: Of the parts; at 1.0.0 and 1.0.1.
        seed: The same seed asks the same.
    """

    def __init__(self, bond: DirectClient, *, promise: str, leaf: str, seed: int) -> None:
        self._bond, self._promise, self._leaf = bond, promise, leaf
        self._chance = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
        self.steps = [f"seed {seed}"]

    async def go(self, seconds: float) -> None:
        """Walk for a time; raises AssertionError where an invariant is broken, with all steps so far."""
        ends = time.monotonic() + seconds
        await self._do("request common", lambda: self._bond.services.request(self._leaf, COMMON, version="1.0.0"))
        while time.monotonic() < ends:
            await self._step()
            await self._settled()
            await self.check()

    async def _step(self) -> None:
        services, top = self._bond.services, self._chance.choice(TOPS)
        some = {"text": self._chance.choice("abc"), "fail": self._chance.random() < 0.2}
        actions: list[tuple[str, Callable[[], Awaitable[Operation | None]]]] = [
            (f"request {top} {some}", lambda: services.request(self._promise, top, some)),
            (f"request {top} {some}", lambda: services.request(self._promise, top, some)),
            (f"update {top} {some}", lambda: services.update(top, some)),
            (f"retry {top}", lambda: services.retry(top)),
            (f"rollback {top}", lambda: services.rollback(top)),
            (f"decommission {top}", lambda: services.decommission(top)),
            (f"decommission {PARTS[top]}", lambda: services.decommission(PARTS[top])),
            (f"decommission {COMMON}", lambda: services.decommission(COMMON)),
            (f"request {COMMON}", lambda: services.request(self._leaf, COMMON, version="1.0.0")),
            (f"patch {COMMON}", lambda: services.patch(COMMON)),
        ]
        await self._do(*self._chance.choice(actions))

    async def _do(self, name: str, ask: Callable[[], Awaitable[Operation | None]]) -> None:
        waits = self._chance.random() < 0.6
        try:
            operation = await ask()
            ended = await operation.wait(through_approvals=True) if operation is not None and waits else None
            self.steps.append(f"{name}: {ended.status if ended else 'not waited for'}")
        except BondError as refused:
            self.steps.append(f"{name}: {refused.code}")

    async def _states(self) -> dict[str, ServiceState]:
        """The services that are there."""
        states = {}
        for name in (COMMON, *TOPS, *PARTS.values()):
            with contextlib.suppress(NotFound):
                state = await self._bond.services.read(name)
                if state.phase not in _GONE and state.current is not None:
                    states[name] = state
        return states

    async def _settled(self) -> None:
        """Wait until nothing runs or waits, and nothing begins by itself."""
        quiet = 0

        async def twice() -> bool:
            nonlocal quiet
            busy = any(state.queue for state in (await self._states()).values())
            quiet = 0 if busy else quiet + 1
            return quiet == 2

        await until_async(twice, "nothing runs", seconds=SETTLES_SECONDS)

    async def check(self) -> None:
        """Every invariant, once nothing runs."""
        states = await self._states()
        steps = "\n".join([*self.steps, *(f"{name} is {state.resting}" for name, state in states.items())])
        for top, part in PARTS.items():
            if part in states:
                owners = [str(each.service) for each in states[part].dependants if each.owns]
                assert owners == [top], f"{part} is owned by {owners}\n{steps}"
                assert top in states, f"{part} was left behind\n{steps}"
            if top in states and states[top].resting is Phase.READY:
                assert part in states, f"{top} is ready without {part}\n{steps}"
                assert states[part].resting is Phase.READY, f"{top} is ready, {part} is not\n{steps}"
                assert COMMON in states, f"{COMMON} was taken down while {top} depends on it\n{steps}"
        for each in states[COMMON].dependants if COMMON in states else ():
            assert str(each.service) in states, f"{COMMON} knows {each.service}, which is gone\n{steps}"
        for name in (*TOPS, *PARTS.values()):
            await self._made_once(name, steps)

    async def _made_once(self, name: str, steps: str) -> None:
        made = 0
        for record in await self._bond.services.history(name):
            if record.status is OperationStatus.SUCCEEDED and record.kind == "provision":
                made += 1
            if record.status is OperationStatus.SUCCEEDED and record.kind == "decommission":
                made = 0
            assert made <= 1, f"{name} was made twice\n{steps}"
