"""Following one thing by its events, across restarts of the API."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, TypeVar

from bondstone.base.errors import ErrorInfo, Unreachable, from_info
from bondstone.client.http.transport import Transport
from bondstone.client.operations import PATIENCE_SECONDS

PAUSE_SECONDS: Final = 0.5

T = TypeVar("T")


async def follow(
    http: Transport,
    path: str,
    kind: str,
    read: Callable[[Any], T],
    *,
    patience_seconds: float = PATIENCE_SECONDS,
) -> AsyncIterator[T]:
    """Each state of a thing, until nothing will change any more.

    Args:
        http: The transport.
        path: Of the stream.
        kind: Of the events that carry states.
        read: Makes the state of an event's JSON.
        patience_seconds: How long the API may not answer.

    Raises:
        Unreachable: it did not answer for that long.
        BondError: as the API refused.
    """
    last_id = ""
    answered = time.monotonic()
    while True:
        try:
            async for event in http.events(path, last_id=last_id):
                answered = time.monotonic()
                last_id = event.id or last_id
                if event.kind == "end":
                    return
                if event.kind == "problem":
                    problem = json.loads(event.data)
                    raise from_info(ErrorInfo.model_validate({**problem, "message": problem["detail"]}))
                if event.kind == kind:
                    yield read(json.loads(event.data))
            answered = time.monotonic()
        except Unreachable:
            if time.monotonic() - answered >= patience_seconds:
                raise
        await asyncio.sleep(PAUSE_SECONDS)
