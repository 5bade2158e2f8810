"""One campaign over many services on a platform whose processes are killed, and what became of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeVar

from bondstone.base.errors import BondError
from bondstone.base.names import parse_service
from bondstone.client.direct.client import DirectClient
from bondstone.model.campaign.run import CampaignDescription
from bondstone.model.ledger import LedgerRecord
from bondstone.model.service import ServiceId
from harness.chaos import campaign_rules, counting
from harness.chaos.counting import AFTER, BEFORE, PROMISE, Effects
from harness.local_platform import LocalPlatform, publish
from harness.waiting import NotInTime, until, until_async

NAME: Final = "chaos"
TEAM: Final = "chaos"
ROOT: Final = Path(__file__).parents[2]
PROVISIONS_AT_ONCE: Final = 20
READS_AT_ONCE: Final = 20
BACK_SECONDS: Final = 120
ENDS_SECONDS: Final = 4 * 3600
"""Only catches what hangs: thousands of targets, and kills meanwhile."""
"""How long everything that was killed may take to run again, on a busy machine."""
LAST_KILL: Final = 0.9
"""No kill is due after this part of the targets: it would come too late to hit anything."""

CAMPAIGN: Final = """\
apiVersion: bondstone.dev/v1
kind: Campaign
metadata: {{name: {name}, reason: chaos}}
spec:
  operation: patch
  promise: {promise}
  to: {to}
  max_concurrent: {at_once}
  budget: {{max_failures: {max_failures}, overshoot: strict}}
  target: {{retries: 0}}
  waves:
    - {{name: first, percent: 10}}
    - {{name: rest, rest: true}}
"""
_T = TypeVar("_T")


class Victim(StrEnum):
    """What is killed, by SIGKILL."""

    CONTROL = "control workers"
    EXECUTOR = "executor worker"
    SERVER = "temporal server"
    ALL = "all at once"


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill."""

    victim: Victim
    after: int
    """Due when so many targets have their effect."""
    delay_seconds: float

    def __str__(self) -> str:
        return f"{self.victim} after {self.after} targets"


@dataclass
class Outcome:
    """What became of it."""

    targets: int
    kills: list[Kill] = field(default_factory=list)
    """Those that hit something."""
    provision_seconds: float = 0
    seconds: float = 0
    """From the start of the campaign to its end."""
    asked_again: int = 0
    """How often the tool was asked once more for what it had been asked for."""
    counts: dict[str, int] = field(default_factory=dict)
    left: campaign_rules.Left | None = None
    broken: dict[str, list[str]] = field(default_factory=dict)
    """What is wrong with what it left behind, by rule."""

    @property
    def sound(self) -> bool:
        """Whether no rule was broken."""
        return bool(self.broken) and not any(self.broken.values())


def planned(seed: int, count: int, targets: int, victims: Iterable[Victim] = Victim) -> list[Kill]:
    """Kills spread over the campaign, in the order in which they are due: the same for the same seed.

    Args:
        seed: The same seed, the same kills.
        count: How many; each victim about as often.
        targets: Of the campaign.
        victims: What may be killed.
    """
    chance = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    kinds = list(victims)
    chosen = [victim for _ in range(-(-count // len(kinds))) for victim in chance.sample(kinds, len(kinds))]
    due = sorted(chance.randrange(int(targets * LAST_KILL)) for _ in range(count))
    return [Kill(victim, after, chance.random()) for victim, after in zip(chosen, due, strict=False)]


class Run:
    """A campaign over `targets` services on a platform of its own.

    Args:
        directory: Where the platform, and the file of effects, go.
        targets: How many.
        at_once: How many of them run at once.
        refusing: Every so many targets one cannot succeed.
        say: Takes progress in words.
    """

    def __init__(
        self, directory: Path, *, targets: int, at_once: int, refusing: int, say: Callable[[str], None]
    ) -> None:
        self._directory = directory
        self._at_once = at_once
        self._say = say
        self._services = [f"{TEAM}/n{number}" for number in range(targets)]
        self._refusing = frozenset(self._services[refusing - 1 :: refusing])
        self._max_failures = len(self._refusing) + max(1, at_once // 2)
        self._effects = Effects(directory / "effects.txt")
        plugin = directory / "plugin"
        counting.install(plugin)
        path = os.pathsep.join([str(plugin), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._platform = LocalPlatform(directory / "data", {"PYTHONPATH": path})
        sys.path.append(str(plugin))  # this process checks the promises that it publishes

    async def outcome(self, kills: list[Kill]) -> Outcome:
        """Do it, with these kills, and look at what it left behind."""
        outcome = Outcome(len(self._services))
        await asyncio.to_thread(self._platform.up)
        try:
            async with self._platform.client() as bond:
                await publish(bond, counting.promise(self._directory, BEFORE))
                began = time.monotonic()
                await self._provision(bond)
                outcome.provision_seconds = time.monotonic() - began
                self._say(f"{outcome.targets} services made in {outcome.provision_seconds:.0f} s")
                await publish(bond, counting.promise(self._directory, AFTER))
                began = time.monotonic()
                ended = await self._campaign(bond, kills, outcome)
                outcome.seconds = time.monotonic() - began
                outcome.counts = ended.counts
                outcome.asked_again = sum(times - 1 for times in self._effects.requests(AFTER).values())
                outcome.left = await self._look(bond, ended)
                outcome.broken = campaign_rules.broken(outcome.left)
        finally:
            await asyncio.to_thread(self._platform.down)
        return outcome

    async def _provision(self, bond: DirectClient) -> None:
        places = asyncio.Semaphore(PROVISIONS_AT_ONCE)

        async def one(service: str) -> None:
            async with places:
                inputs = {"log": str(self._effects.file)}
                inputs |= {"refuses": AFTER} if service in self._refusing else {}
                await (await bond.services.request(PROMISE, service, inputs)).result()

        await asyncio.gather(*map(one, self._services))

    async def _campaign(self, bond: DirectClient, kills: list[Kill], outcome: Outcome) -> CampaignDescription:
        fields = {"name": NAME, "promise": PROMISE, "to": AFTER, "at_once": self._at_once}
        document = CAMPAIGN.format(**fields, max_failures=self._max_failures)
        await bond.campaigns.run(document.encode(), "chaos.yaml")
        striking = asyncio.create_task(self._strike(kills, outcome))

        async def ended() -> CampaignDescription | None:
            if striking.done():
                striking.result()
            description = await _answered(lambda: bond.campaigns.describe(NAME))
            return description if description.status.ended else None

        try:
            return await until_async(ended, "the campaign ends", seconds=ENDS_SECONDS)
        finally:
            striking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await striking

    async def _strike(self, kills: list[Kill], outcome: Outcome) -> None:
        for kill in kills:
            await self._running()

            def enough(after: int = kill.after) -> bool:
                return self._done() >= after

            await until(enough, f"{kill.after} are done", seconds=ENDS_SECONDS)
            await asyncio.sleep(kill.delay_seconds)
            self._platform.kill(*self._victims(kill.victim))
            outcome.kills.append(kill)
            self._say(f"kill {len(outcome.kills)}: {kill}; {self._done()} of {outcome.targets} are done")

    def _victims(self, victim: Victim) -> list[int]:
        match victim:
            case Victim.CONTROL:
                return list(self._platform.workers("control").values())
            case Victim.EXECUTOR:
                return list(self._platform.workers("executor").values())
            case Victim.SERVER:
                return [self._platform.pid("temporal")]
            case Victim.ALL:
                _supervisor, *children = self._platform.everything()
                return children

    async def _running(self) -> None:
        def all_run() -> bool:
            return all(each.alive and each.status == "running" for each in self._platform.state().processes)

        await until(all_run, seconds=BACK_SECONDS, what="every process runs again")

    def _done(self) -> int:
        return len(self._effects.requests(AFTER))

    async def _look(self, bond: DirectClient, ended: CampaignDescription) -> campaign_rules.Left:
        places = asyncio.Semaphore(READS_AT_ONCE)

        async def operations(service: str) -> list[LedgerRecord]:
            async with places:
                history = await (await bond.connection.store()).ledger.history(_id(service))
            return [record for record in history if record.kind == "operation" and record.campaign == NAME]

        await self._running()
        done = await asyncio.gather(*map(operations, self._services))
        return campaign_rules.Left(
            refusing=self._refusing,
            targets=frozenset(self._services),
            versions=self._effects.versions(),
            wanted=(BEFORE, AFTER),
            ended=ended,
            report=await _answered(lambda: bond.campaigns.report(NAME, evidence=False)),
            ledger=await (await bond.connection.store()).campaigns.ledger(NAME),
            state=await (await bond.connection.store()).campaigns.end(NAME),
            operations=dict(zip(self._services, done, strict=True)),
            at_once=self._at_once,
            max_failures=self._max_failures,
        )


def _id(service: str) -> ServiceId:
    team, name = parse_service(service)
    return ServiceId(team=team, name=name)


async def _answered(ask: Callable[[], Awaitable[_T]]) -> _T:
    """Ask until the platform answers: it may be starting again."""
    last: BondError | None = None

    async def answer() -> tuple[_T] | None:
        nonlocal last
        try:
            return (await ask(),)
        except BondError as error:
            if not error.transient:
                raise
            last = error
            return None

    try:
        result = await until_async(answer, seconds=BACK_SECONDS)
    except NotInTime:
        raise AssertionError(f"the platform does not answer any more: {last}") from last
    return result[0]
