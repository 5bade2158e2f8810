"""A random walk over two compound services that share a part, on a real platform, and what must hold of it."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Literal, NamedTuple

from bondstone.base.errors import BondError, NotFound
from bondstone.client import Operation
from bondstone.client.direct.client import DirectClient
from bondstone.model.service import Dependant, OperationStatus, Phase, ServiceState
from harness.waiting import until_async

SETTLES_SECONDS: Final = 180
"""Every chain of operations ends within this."""
_GONE: Final = frozenset({Phase.DECOMMISSIONED, Phase.ABANDONED})


Verb = Literal[
    "request", "update", "retry", "rollback", "decommission", "decommission part", "decommission common",
    "request common", "patch common", "give part",
]  # fmt: skip


class Act(NamedTuple):
    """One thing that a person does to the little fleet."""

    verb: Verb
    second: bool
    """Whether to the second of the two parents."""
    text: str
    fails: bool
    """Whether what is made with these inputs fails."""
    waits: bool
    """Whether its end is waited for before the next act."""


class Walk:
    """Acts in any order, some not waited for, some that must fail or be refused.

    Args:
        bond: A client of the platform.
        team: Of the walk's own: two parents of `promise`, each with a part of its own, and one that they share.
        promise: Of the parents.
        leaf: Of the parts; at 1.0.0 and 1.0.1.
    """

    def __init__(self, bond: DirectClient, team: str, *, promise: str, leaf: str) -> None:
        self._bond, self._promise, self._leaf = bond, promise, leaf
        self.common = f"{team}/common"
        self.tops = (f"{team}/one", f"{team}/two")
        self.parts = {top: f"{top}-part" for top in self.tops}
        self._by_hand: set[str] = set()
        self.steps: list[str] = []

    async def go(self, acts: Sequence[Act]) -> None:
        """Do it all; raises AssertionError where an invariant is broken, with all steps so far."""
        request = self._bond.services.request
        await self._do("request common", lambda: request(self._leaf, self.common, version="1.0.0"), waits=True)
        for act in acts:
            await self._act(act)
            await self._settled()
            await self.check()

    async def _act(self, act: Act) -> None:
        services, top = self._bond.services, self.tops[act.second]
        part, some = self.parts[top], {"text": act.text, "fail": act.fails}
        asks: dict[Verb, Callable[[], Awaitable[Operation | None]]] = {
            "request": lambda: services.request(self._promise, top, some),
            "update": lambda: services.update(top, some),
            "retry": lambda: services.retry(top),
            "rollback": lambda: services.rollback(top),
            "decommission": lambda: services.decommission(top),
            "decommission part": lambda: services.decommission(part),
            "decommission common": lambda: services.decommission(self.common),
            "request common": lambda: services.request(self._leaf, self.common, version="1.0.0"),
            "patch common": lambda: services.patch(self.common),
            "give part": lambda: services.request(self._leaf, part, some, labels={"give-to": top}),
        }
        done = await self._do(f"{act.verb} of {top} {some}", asks[act.verb], waits=act.waits)
        if done and act.verb == "give part" and not any(each.owns for each in await self._dependants(part)):
            self._by_hand.add(part)
        if done and act.verb == "decommission part":
            self._by_hand.discard(part)

    async def _dependants(self, name: str) -> tuple[Dependant, ...]:
        return (await self._bond.services.read(name)).dependants

    async def _do(self, name: str, ask: Callable[[], Awaitable[Operation | None]], *, waits: bool) -> bool:
        """Whether it was accepted."""
        try:
            operation = await ask()
            ended = await operation.wait(through_approvals=True) if operation is not None and waits else None
            self.steps.append(f"{name}: {ended.status if ended else 'not waited for'}")
        except BondError as refused:
            self.steps.append(f"{name}: {refused.code}")
            return False
        return True

    async def _states(self) -> dict[str, ServiceState]:
        """The services that are there."""
        states = {}
        for name in (self.common, *self.tops, *self.parts.values()):
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
        for top, part in self.parts.items():
            if part in states:
                owners = [str(each.service) for each in states[part].dependants if each.owns]
                assert owners == [top] or (part in self._by_hand and not owners), f"{part} is {owners}'s\n{steps}"
                assert top in states or not owners, f"{part} was left behind\n{steps}"
            if top in states and states[top].resting is Phase.READY:
                assert part in states, f"{top} is ready without {part}\n{steps}"
                assert states[part].resting is Phase.READY, f"{top} is ready, {part} is not\n{steps}"
                assert self.common in states, f"{self.common} was taken down while {top} depends on it\n{steps}"
            assert part in states or part not in self._by_hand, f"{part}, made by hand, is gone\n{steps}"
        for each in states[self.common].dependants if self.common in states else ():
            assert str(each.service) in states, f"{self.common} knows {each.service}, which is gone\n{steps}"
        for name in (*self.tops, *self.parts.values()):
            await self._made_once(name, steps)

    async def _made_once(self, name: str, steps: str) -> None:
        made = 0
        for record in await self._bond.services.history(name):
            if record.status is OperationStatus.SUCCEEDED and record.kind == "provision":
                made += 1
            if record.status is OperationStatus.SUCCEEDED and record.kind == "decommission":
                made = 0
            assert made <= 1, f"{name} was made twice\n{steps}"
