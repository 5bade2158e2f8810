"""The class of the API's routes: a change under an `Idempotency-Key` is carried out once, and answered again.

Requests that start an operation, and verbs of a campaign, hand their key on: the workflow itself knows it, so they
are carried out once even when the process dies in between. For every other change the answer is kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from typing import Any, Final, get_type_hints

import structlog
from fastapi import Depends
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import override

from bondstone.api.session import KEY_HEADER, IdempotencyKey
from bondstone.api.state import caller, state_of
from bondstone.base.canonical import digest
from bondstone.base.names import REQUEST_ID_PATTERN

READS: Final = frozenset({
    "validate_promise", "check_policies", "validate_access", "validate_campaign", "preview_campaign",
})  # fmt: skip
"""Sent by POST for their body alone; they change nothing, so they take no key."""
_NOT_KEPT: Final = frozenset({"content-length", "date", "set-cookie"})
_OF_THE_REQUEST: Final = ("content-type", "if-match")
"""Headers that make another request of the same address and body."""

log = structlog.get_logger(__name__)

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


async def _takes_key(key: IdempotencyKey = "") -> None:
    """Describe the header in the API's description, and refuse a key that is none."""
    del key


class ApiRoute(APIRoute):
    """A route of `/api/v1`; see the module."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        reads = set(options.get("methods") or ("GET",)) == {"GET"} or endpoint.__name__ in READS
        hands_on = IdempotencyKey in get_type_hints(endpoint, include_extras=True).values()
        self.keeps_answers = not reads and not hands_on
        if self.keeps_answers:
            options["dependencies"] = [*(options.get("dependencies") or ()), Depends(_takes_key)]
        super().__init__(path, endpoint, **options)

    @override
    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()

        async def handle_once(request: Request) -> Response:
            key = request.headers.get(KEY_HEADER, "")
            if not self.keeps_answers or not re.fullmatch(REQUEST_ID_PATTERN, key):
                return await handle(request)
            return await _once(request, key, handle)

        return handle_once


async def _once(request: Request, key: str, handle: Handler) -> Response:
    state = state_of(request)
    principal = await caller(request, state)
    headers = [request.headers.get(name, "") for name in _OF_THE_REQUEST]
    parts = [request.method, request.url.path, request.url.query, *headers]
    wanted = digest("\0".join(parts).encode() + b"\0" + await request.body())
    async with state.store.kept_answers.attempt(principal.subject, key, wanted) as attempt:
        if (earlier := attempt.earlier) is not None:
            log.info("answered again", by=principal.subject, method=request.method, path=request.url.path)
            return Response(earlier.content, earlier.status, earlier.headers)
        answer = await handle(request)
        if answer.status_code < 300:  # noqa: PLR2004 - carried out
            kept = {name: value for name, value in answer.headers.items() if name not in _NOT_KEPT}
            attempt.answered(answer.status_code, kept, bytes(answer.body))
        return answer
