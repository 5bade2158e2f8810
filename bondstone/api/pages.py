"""Lists a page at a time: opaque cursors that belong to one list, in one order, with one filter."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Annotated, Any, Final, TypeVar

from fastapi import Query

from bondstone.base.canonical import canonical, digest
from bondstone.base.errors import CursorInvalid

MAX_LIMIT: Final = 500
DEFAULT_LIMIT: Final = 100
_MARK_CHARS: Final = 16
_MAX_CURSOR_CHARS: Final = 2000

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Most items of a page")]
CursorText = Annotated[
    str, Query(alias="cursor", max_length=_MAX_CURSOR_CHARS, description="`next` of the page before")
]

T = TypeVar("T")


class Cursors:
    """The cursors of one list.

    Args:
        of: What tells this list from every other: its name, order and filter.
    """

    def __init__(self, **of: Any) -> None:
        self._mark = digest(canonical(of))[:_MARK_CHARS]

    def encode(self, place: Any) -> str:
        """The cursor for what comes after a place.

        Args:
            place: JSON, of the last item of a page.
        """
        text = json.dumps([self._mark, place], separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    def decode(self, cursor: str) -> Any:
        """The place that a cursor stands for; None for the first page.

        Raises:
            CursorInvalid: no cursor of the API, or one of another list.
        """
        if not cursor:
            return None
        try:
            padded = cursor + "=" * (-len(cursor) % 4)
            mark, place = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        except (ValueError, TypeError, RecursionError, binascii.Error):
            raise CursorInvalid(
                "that is not a cursor of this API", where="cursor", hint="send `next` of the page before, as it is"
            ) from None
        if mark != self._mark:
            raise CursorInvalid(
                "the cursor belongs to another list, order or filter",
                where="cursor",
                hint="send it with the parameters of the page it came from, or start without it",
            )
        return place


def cut(
    items: Iterable[T], limit: int, cursors: Cursors, place: Callable[[T], Any]
) -> tuple[Sequence[T], str | None]:
    """One page of items that come after the cursor, and the next cursor if there is more.

    Args:
        items: After the place of the cursor, in order; read no further than needed.
        limit: Most items.
        cursors: Of the list.
        place: What a cursor remembers of an item.
    """
    page = list(islice(items, limit + 1))
    if len(page) <= limit:
        return page, None
    return page[:limit], cursors.encode(place(page[limit - 1]))
