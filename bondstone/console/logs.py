"""The log of a step: by ranges, its tail first, with search; and live while the operation runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Annotated, Final

from fastapi import APIRouter, Header, Query
from fastapi.sse import format_sse_event
from markupsafe import Markup
from starlette.responses import Response

from bondstone.api.events.logs import lines, position_of, reader
from bondstone.api.events.streams import END, answer
from bondstone.api.state import State
from bondstone.base.printable import visible
from bondstone.console.pages import View, shown
from bondstone.console.services import operation_target
from bondstone.console.session import Visit, Visitor
from bondstone.model.service import ServiceId
from bondstone.store.logs import LogInfo

LOG_LINES: Final = 1000
"""Lines on a page."""
MAX_LINE: Final = 4000
MAX_CHARACTERS: Final = 90_000
"""Of all lines of a page, so that it stays small."""

StepName = Annotated[str, Query(max_length=48)]
Words = Annotated[str, Query(max_length=200)]

router = APIRouter(include_in_schema=False)


@router.get("/services/{team}/{name}/operations/{number}/log")
async def log(
    visitor: Visit,
    state: State,
    team: str,
    name: str,
    number: int,
    *,
    step: StepName = "",
    search: Words = "",
    start: Annotated[int | None, Query(alias="from", ge=0)] = None,
) -> Response:
    """A range of a step's log, its tail first; lines are never all in one page."""
    operation_id = f"{team}/{name}/op/{number}"
    ended = await _readable(visitor, operation_id)
    written = await state.store.logs.chunks(ServiceId(team=team, name=name), number)
    total = matching = 0
    kept: deque[str] = deque(maxlen=LOG_LINES)
    attempts: dict[str, None] = {}
    for info, keys in written:
        if step not in {"", info.step}:
            continue
        attempts[f"{info.verb} {info.attempt}"] = None
        for key in keys:
            for text in await state.chunks.lines(key):
                total += 1
                if search and search not in text:
                    continue
                matching += 1
                if start is None or start < matching <= start + LOG_LINES:
                    kept.append(text[:MAX_LINE])
    texts = fitting(list(kept), from_end=start is None)
    first = matching - len(texts) if start is None else min(start, matching)
    view = View(
        "log.html", "/services", operation=operation_id, step=step, search=search, total=total, matching=matching,
        first=first + 1 if texts else 0, last=first + len(texts), lines=texts, attempts=list(attempts),
        earlier=max(first - LOG_LINES, 0) if first else None,
        later=first + len(texts) if first + len(texts) < matching else None,
        ended=ended, follows=not ended and start is None,
        position=".".join(str(len(keys)) for _, keys in written),
    )  # fmt: skip
    return shown(view, visitor)


@router.get("/services/{team}/{name}/operations/{number}/log/live")
async def live(
    visitor: Visit,
    state: State,
    team: str,
    name: str,
    number: int,
    *,
    step: StepName = "",
    search: Words = "",
    position: Annotated[str, Query(max_length=2000)] = "",
    last_event_id: Annotated[str, Header(alias="Last-Event-ID", max_length=2000)] = "",
) -> Response:
    """What the log gets from a position on; a browser that comes back continues where it was, and reads that."""
    operation_id = f"{team}/{name}/op/{number}"
    await _readable(visitor, operation_id)
    begin = position_of("" if last_event_id.endswith(END) else last_event_id or position)
    resumed = bool(last_event_id)

    async def ended() -> bool:
        return (await visitor.bond.operations.get(operation_id)).status.ended

    def encode(info: LogInfo, texts: list[str], now_at: str) -> Iterator[bytes]:
        nonlocal resumed
        matching = [text for text in texts if step in {"", info.step} and search in text]
        notice = (
            Markup('<span class="dim">the connection was lost; it continues here</span>\n')
            if resumed
            else Markup()
        )
        resumed = False
        html = notice + Markup().join(Markup("{}\n").format(visible(text[:MAX_LINE])) for text in matching)
        yield format_sse_event(data_str=str(html), id=now_at)

    read = reader(state.store.logs, ServiceId(team=team, name=name), number, ended)
    events = lines(state.watchers, state.chunks, f"logs/{operation_id}/True", read, begin, encode=encode)
    return answer(state.watchers, events, last_event_id)


def fitting(texts: list[str], *, from_end: bool) -> list[str]:
    """As many of some lines as a page has room for.

    Args:
        texts: In their order.
        from_end: Keep the last ones; else the first.
    """
    size = 0
    for number, text in enumerate(reversed(texts) if from_end else texts):
        size += len(text) + 1
        if size > MAX_CHARACTERS:
            return texts[len(texts) - number :] if from_end else texts[:number]
    return texts


async def _readable(visitor: Visitor, operation: str) -> bool:
    """Whether an operation has ended, whose logs the visitor may read.

    Raises:
        Forbidden: they may not.
    """
    document = await visitor.bond.operations.get(operation)
    visitor.permissions.decide("operation.logs", await operation_target(visitor, document)).require()
    return document.status.ended
