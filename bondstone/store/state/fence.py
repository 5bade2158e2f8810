"""The rules of the state log, as functions of what was read: who may claim, and what may be pruned.

An entry is written once, at the next free position, or not at all. What follows from that:

- A claim belongs to whoever got its position. Whoever held the state before and did not know about it finds the
  position after its own last entry taken: it is fenced.
- That stays true only while the position is *kept* taken. So when a claim takes over from one that was not
  released, its own position and the one before it are **fences**: they are never pruned. Every entry carries the
  list. Nothing else needs to be kept but the newest state, and the newest entry.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from pydantic import ValidationError

from bondstone.base.errors import ObjectCorrupt
from bondstone.base.models import Wire
from bondstone.base.process_identity import Holder

MAX_FENCES: Final = 128
"""The last 64 takeovers. A writer that slept through more of them is stopped by its lease alone."""


UNREADABLE: Final = "(its entry cannot be read)"
"""Attempt of the holder of an entry that nobody can read."""


class Kind(StrEnum):
    """What an entry says."""

    CLAIM = "claim"
    STATE = "state"
    RELEASE = "release"


class StateEntry(Wire):
    """One entry of the log, without its payload."""

    position: int
    kind: Kind
    claim: int
    """Position of the claim it was written under; a claim's own."""
    token: str
    """Random for each claim: tells an entry of one's own from another's."""
    holder: Holder
    at: datetime
    """By the writer's clock: for people, never to decide by."""
    state: int = 0
    """Position of the newest state as of this entry: its own when it carries one, 0 before any."""
    fences: tuple[int, ...] = ()
    term_seconds: float = 30
    """For how long the claim's lease may stand still before others may take over."""
    size: int = 0
    """Bytes of its payload."""

    @property
    def unreadable(self) -> bool:
        """Whether it only stands in for an entry that cannot be read."""
        return self.holder.attempt == UNREADABLE

    @property
    def carries_state(self) -> bool:
        """Whether its payload is a state. A release may carry the last one."""
        return self.state == self.position


class Lease(Wire):
    """Sign of life of one claim, overwritten every few seconds."""

    token: str
    beat: int = 0
    left: bool = False
    """The holder has stopped its tool and goes, without a release."""


@dataclass(frozen=True, slots=True)
class LeaseTerms:
    """The times of a lease, in seconds."""

    term_seconds: float = 30
    """A lease that has not moved for so long, by the waiter's clock, may be taken over."""
    renew_seconds: float = 5
    stop_seconds: float = 15
    """A holder that has not renewed for so long counts as lost: the rest of the term is for stopping its tool."""
    poll_seconds: float = 1
    """How often a waiter looks."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What a waiter last saw of a holder, and when that was new."""

    position: int
    beat: int
    since: float


@dataclass(frozen=True, slots=True)
class ClaimVerdict:
    """What a claimant may do now."""

    go: bool
    takes_over: bool = False
    reason: str = ""
    observation: Observation | None = None


def judge(
    head: StateEntry | None, lease: Lease | None, earlier: Observation | None, *, now: float, holder_is_dead: bool
) -> ClaimVerdict:
    """Whether the state may be claimed now.

    Args:
        head: The newest entry.
        lease: The sign of life of the claim it was written under, if there is one.
        earlier: What this same waiter saw when it looked last.
        now: Seconds of the waiter's own monotonic clock.
        holder_is_dead: Whether the head's holder is provably dead.
    """
    if head is None or head.kind is Kind.RELEASE:
        return ClaimVerdict(go=True)
    if holder_is_dead:
        return ClaimVerdict(go=True, takes_over=True, reason="its process is dead")
    mine = lease if lease is not None and lease.token == head.token else None
    if mine is not None and mine.left:
        return ClaimVerdict(go=True, takes_over=True, reason="it stopped without a release")
    beat = mine.beat if mine is not None else 0
    if earlier is None or (earlier.position, earlier.beat) != (head.position, beat):
        return ClaimVerdict(go=False, observation=Observation(head.position, beat, now))
    if now - earlier.since >= head.term_seconds:
        return ClaimVerdict(go=True, takes_over=True, reason=f"its lease stood still for {head.term_seconds:g} s")
    return ClaimVerdict(go=False, observation=earlier)


def fences_after(head: StateEntry | None, *, position: int, takes_over: bool) -> tuple[int, ...]:
    """The fences that a claim at `position` carries on."""
    fences = head.fences if head is not None else ()
    if head is not None and takes_over:
        # The old holder may not know whether its last entry arrived, so it may try that position or the next.
        fences = (*fences, head.position, position)
    return fences[-MAX_FENCES:]


def unreadable(position: int, before: StateEntry | None, *, at: datetime, term_seconds: float) -> StateEntry:
    """What stands in for a newest entry that cannot be read, so that it can be taken over from.

    It may be anybody's and of any kind, so it counts as held: by whoever wrote the entry before for as long as his
    lease moves, and for a whole term by somebody in any case.

    Args:
        position: Where it stands.
        before: The last entry that can be read.
        at: Now, by the wall clock.
        term_seconds: For how long to wait for a sign of life.
    """
    return StateEntry(
        position=position,
        kind=Kind.CLAIM,
        claim=before.claim if before is not None else position,
        token=before.token if before is not None else "",
        holder=Holder(attempt=UNREADABLE),
        at=at,
        fences=before.fences if before is not None else (),
        term_seconds=term_seconds,
    )


def beyond_bound(positions: Iterable[int], head: StateEntry, *, bound: int) -> Sequence[int]:
    """The positions to prune, so that about `bound` entries stay.

    Args:
        positions: Everything in the log.
        head: The newest entry that the pruner knows of.
        bound: How many of the newest to keep; fences and the newest state come on top.
    """
    old = sorted(positions)[:-bound]
    kept = {head.state, *head.fences}
    return [position for position in old if position < head.position and position not in kept]


def encode(entry: StateEntry, payload: bytes | None) -> bytes:
    """An entry as it is stored (before it is sealed): one line of JSON, then the payload."""
    return entry.model_dump_json().encode() + b"\n" + (payload or b"")


def decode(data: bytes, *, position: int, key: str) -> tuple[StateEntry, bytes]:
    """Read what `encode` wrote.

    Raises:
        ObjectCorrupt: when it is not that, or not at its own position.
    """
    header, _, payload = data.partition(b"\n")
    try:
        entry = StateEntry.model_validate(json.loads(header))
    except (ValueError, ValidationError):
        entry = None
    if entry is None or entry.position != position or entry.size != len(payload):
        raise ObjectCorrupt(
            "an entry of the state log is not valid",
            where=key,
            hint="restore it from a backup of the store; `bond state log` shows the entries around it",
        )
    return entry, payload
