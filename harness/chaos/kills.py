"""What is killed, and when: the same list for the same seed. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Final


class Side(StrEnum):
    """Who makes the things."""

    BONDSTONE = "bondstone"
    COMPOUND = "bondstone, parent and part"
    """A service made of another one: every second kill is about the part, the others about the parent."""
    LOCAL = "terraform, local state"
    REMOTE = "terraform, locked http state"


class Victim(StrEnum):
    """What is killed, by SIGKILL unless it says otherwise."""

    NOTHING = "nothing"
    """To know what an undisturbed run looks like."""
    WORKER = "worker"
    TERRAFORM = "terraform"
    """With the shim beside it; what a provisioner runs lives on."""
    BOTH = "worker + terraform"
    MACHINE = "machine"
    """Every process of the platform, and everything Terraform had started."""
    PAUSE = "worker stopped"
    """SIGSTOP, and SIGCONT after a while."""
    SERVER = "temporal server"


class Moment(StrEnum):
    """When."""

    NEVER = "-"
    PLAN = "plan"
    APPLY = "apply"
    """A thing is being made."""
    UPLOAD = "state upload"
    """Terraform has just written a state."""
    APPROVAL = "approval wait"
    COMMIT = "commit"
    """All things are made, Terraform has ended, and the operation has perhaps not."""


SPAN_SECONDS: Final[Mapping[Moment, float]] = {
    Moment.NEVER: 0,
    Moment.PLAN: 0.1,
    Moment.APPLY: 0.2,
    Moment.UPLOAD: 0.15,
    Moment.APPROVAL: 0.3,
    Moment.COMMIT: 0.8,
}
"""How long a moment lasts: a kill lands anywhere in it."""

PAUSES_SECONDS: Final = (3.0, 20.0, 45.0)
"""A stopped worker misses nothing, its lease, or a heartbeat (30 s) and its lease's whole term."""

_TERRAFORM_RUNS: Final = (Moment.PLAN, Moment.APPLY, Moment.UPLOAD)
_PLATFORM: Final = tuple(
    (Side.BONDSTONE, victim, moment)
    for victim in (Victim.WORKER, Victim.TERRAFORM, Victim.BOTH, Victim.MACHINE, Victim.PAUSE, Victim.SERVER)
    for moment in (*_TERRAFORM_RUNS, Moment.APPROVAL, Moment.COMMIT)
    if moment in _TERRAFORM_RUNS or victim not in {Victim.TERRAFORM, Victim.BOTH}
)
_COMPOUND: Final = tuple((Side.COMPOUND, victim, moment) for _, victim, moment in _PLATFORM)
_PLAIN: Final = tuple(
    (side, victim, moment)
    for side in (Side.LOCAL, Side.REMOTE)
    for victim in (Victim.TERRAFORM, Victim.MACHINE)
    for moment in _TERRAFORM_RUNS
)


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill."""

    index: int
    side: Side
    victim: Victim
    moment: Moment
    thing: int
    """For `apply` and `upload`: the thing that is being made, or was just made."""
    delay_seconds: float
    """From the first sign of the moment."""
    pause_seconds: float = 0
    """For a stopped worker: how long."""

    @property
    def of_part(self) -> bool:
        """With a parent and its part: whether it is about the part. The approval is the part's always."""
        return self.index % 2 == 0 or self.moment is Moment.APPROVAL

    @property
    def key(self) -> str:
        """Names it among those of its seed."""
        return f"{self.side}/{self.victim}/{self.index}"

    def __str__(self) -> str:
        pause = f" for {self.pause_seconds:.0f} s" if self.pause_seconds else ""
        whose = (" of the part" if self.of_part else " of the parent") if self.side is Side.COMPOUND else ""
        return f"{self.index} ({self.side}): {self.victim}{pause} at {self.moment}{whose}"


def kills(seed: int, count: int, *, things: int) -> list[Kill]:
    """Kills of a platform: every victim at every moment about as often, in an order of the seed's own.

    Args:
        seed: The same seed, the same kills; a longer list begins with the shorter one.
        count: How many.
        things: How many things each run makes.
    """
    return list(islice(_endless(seed, _PLATFORM, things), count))


def compound_kills(seed: int, count: int, *, things: int) -> list[Kill]:
    """Kills of a platform that makes a parent with a part, as `kills`."""
    return list(islice(_endless(seed, _COMPOUND, things), count))


def plain_kills(seed: int, count: int, *, things: int) -> list[Kill]:
    """Kills of plain Terraform, as `kills`."""
    return list(islice(_endless(seed, _PLAIN, things), count))


def undisturbed(count: int, sides: Sequence[Side] = (Side.BONDSTONE, Side.LOCAL, Side.REMOTE)) -> list[Kill]:
    """Runs of each side in which nothing is killed."""
    return [Kill(number, side, Victim.NOTHING, Moment.NEVER, 0, 0) for side in sides for number in range(count)]


def _endless(seed: int, kinds: Sequence[tuple[Side, Victim, Moment]], things: int) -> Iterator[Kill]:
    chance = random.Random(f"{seed}/{kinds[0][0]}")  # noqa: S311 - to be repeated, not to be secret
    index = 0
    while True:
        for side, victim, moment in chance.sample(kinds, len(kinds)):
            thing = chance.randrange(things - 1)
            delay = chance.random() * SPAN_SECONDS[moment]
            pause = chance.choice(PAUSES_SECONDS)
            yield Kill(index, side, victim, moment, thing, delay, pause if victim is Victim.PAUSE else 0)
            index += 1
