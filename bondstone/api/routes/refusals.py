"""`/api/v1/refusals`: who was refused what, counted by the hour."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import APIRouter, Query
from pydantic import Field

from bondstone.api.pages import DEFAULT_LIMIT, Cursors, CursorText, Limit, cut
from bondstone.api.refused_access import RefusalSearch, search, span
from bondstone.api.repeats import ApiRoute
from bondstone.api.session import Asking
from bondstone.base.models import WRITTEN_OUT, Document
from bondstone.model.refusal import Refusal

router = APIRouter(prefix="/refusals", tags=["access"], route_class=ApiRoute)

CODE_PATTERN: Final = "^[A-Z_]{0,48}$"
Time = Annotated[datetime | None, WRITTEN_OUT, Query(description="RFC 3339; UTC where it names no offset")]


class RefusalDocument(Document):
    """Refusals of one kind to one caller within one hour."""

    hour: datetime
    """When the hour began"""
    by: str
    """The caller; empty for one that the platform does not know"""
    means: str = ""
    """How the caller proved who it is"""
    verb: str
    """As in service.update; where no verb was reached, method and route"""
    target: str = ""
    """As in payments/orders"""
    code: str
    """Of the error: docs/reference/errors.md lists them"""
    message: str
    """Of the last one; empty for a caller that the platform does not know"""
    count: int
    first_at: datetime
    last_at: datetime

    @classmethod
    def of(cls, refusal: Refusal) -> RefusalDocument:
        """From what is kept."""
        return cls(**refusal.model_dump(exclude={"team", "promise"}))


class RefusalPage(Document):
    """A page of refusals."""

    items: tuple[RefusalDocument, ...]
    next: str | None = Field(default=None)
    """Cursor of the next page; null on the last"""


@router.get("")
async def list_refusals(
    asking: Asking,
    *,
    by: Annotated[str, Query(max_length=200, description="Of this caller only")] = "",
    code: Annotated[str, Query(pattern=CODE_PATTERN, description="Of this error only")] = "",
    text: Annotated[str, Query(max_length=100, description="Part of verb, target or message")] = "",
    since: Time = None,
    until: Time = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = "",
) -> RefusalPage:
    """List who was refused what, the newest hour first; by default of the last day, at most of 31 days."""
    cursors = Cursors(list="refusals", by=by, code=code, text=text, since=str(since), until=str(until))
    after = cursors.decode(cursor)
    first, last = span(since, until, datetime.now(UTC))
    rows: list[Refusal] = []
    passed = after is None
    async for refusal in search(asking.state, asking.allowed, RefusalSearch(by, code, text), first, last):
        if not passed:
            passed = list(refusal.key) == after
            continue
        rows.append(refusal)
        if len(rows) > limit:
            break
    page, following = cut(rows, limit, cursors, lambda refusal: list(refusal.key))
    return RefusalPage(items=tuple(map(RefusalDocument.of, page)), next=following)
