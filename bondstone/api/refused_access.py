"""Searching what callers were refused: the same search for the API and the console."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from bondstone.api.state import ApiState
from bondstone.base.errors import InvalidInput
from bondstone.identity.access import Permissions
from bondstone.model.identity import Target
from bondstone.model.refusal import Refusal

VERB: Final = "refusal.read"
FIRST: Final = timedelta(days=1)
"""What is searched unless the search says otherwise."""
MAX_SPAN: Final = timedelta(days=31)


@dataclass(frozen=True, slots=True)
class RefusalSearch:
    """What is looked for; empty for all."""

    by: str = ""
    code: str = ""
    text: str = ""
    """Part of the verb, the target or the message"""

    def matches(self, refusal: Refusal) -> bool:
        """Whether a refusal is looked for."""
        return (
            (not self.by or refusal.by == self.by)
            and (not self.code or refusal.code == self.code)
            and (
                not self.text or any(self.text in part for part in (refusal.verb, refusal.target, refusal.message))
            )
        )


def span(since: datetime | None, until: datetime | None, now: datetime) -> tuple[datetime, datetime]:
    """From when to when a search looks.

    Raises:
        InvalidInput: too long, or it ends before it begins, or a time is beyond the calendar.
    """
    try:
        last = _utc(until or now)
        first = _utc(since) if since else last - FIRST
    except OverflowError:
        raise InvalidInput("that is not a time", where="until", hint="as in 2026-11-30T12:00:00Z") from None
    if first > last:
        raise InvalidInput("the search ends before it begins", where="since", hint="name a `since` before `until`")
    if last - first > MAX_SPAN:
        raise InvalidInput(
            f"a search covers at most {MAX_SPAN.days} days", where="since", hint="name a later time"
        )
    return first, last


async def search(
    state: ApiState, permissions: Permissions, wanted: RefusalSearch, first: datetime, last: datetime
) -> AsyncIterator[Refusal]:
    """The refusals that match and that the caller may see, the newest hour first.

    Args:
        state: Of the process; what it has counted itself is written first.
        permissions: Of the caller: those of a team or a promise see what was about it.
        wanted: What is looked for.
        first: The earliest time.
        last: The latest time.

    Raises:
        Forbidden: the caller may see none at all.
    """
    permissions.require_somewhere(VERB)
    permitted = permissions.filter(VERB)
    await state.refusals.flush()
    async for refusal in state.refusals.kept.between(first, last):
        target = Target(team=refusal.team, promise=refusal.promise, name=refusal.target)
        if wanted.matches(refusal) and permitted(target):
            yield refusal


def _utc(at: datetime) -> datetime:
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
