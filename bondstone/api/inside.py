"""The API as a client inside its own process sees it: the same requests, roles and refusals, without a socket."""

from __future__ import annotations

import http.client
import io
from collections.abc import AsyncIterator, Mapping

import httpx2
from starlette.types import ASGIApp
from typing_extensions import override

from bondstone.client.http.address import ApiAddress
from bondstone.client.http.transport import Event, HttpAnswer, Query, Transport, encoded, error_of, next_event

_ADDRESS = "http://127.0.0.1"


class InsideTransport(Transport):
    """Requests to the application of this process.

    Args:
        app: The application.
        authorization: The credential of whoever asks, as its header.
    """

    def __init__(self, app: ASGIApp, authorization: str) -> None:
        super().__init__(ApiAddress(_ADDRESS))
        self._app = app
        self._authorization = {"Authorization": authorization} if authorization else {}

    @override
    async def send(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        key: str | None = "",
    ) -> HttpAnswer:
        keyed = {"Idempotency-Key": key} if key else {}  # without one nothing is lost on the way either
        asgi = httpx2.ASGITransport(self._app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=asgi, base_url=_ADDRESS, timeout=None) as client:
            answer = await client.request(
                method,
                self._prefix + path + encoded(query),
                content=content,
                headers={**self._headers, **self._authorization, **(headers or {}), **keyed},
            )
        message = http.client.HTTPMessage()
        for name, value in answer.headers.items():
            message[name] = value
        read = HttpAnswer(answer.status_code, message, answer.content)
        if answer.status_code >= http.client.BAD_REQUEST:
            raise error_of(read)
        return read

    @override
    async def events(self, path: str, query: Query | None = None, *, last_id: str = "") -> AsyncIterator[Event]:
        """The events of a stream that ends by itself: they come when it has ended."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
        body = io.BytesIO((await self.send("GET", path, query=query, headers=headers)).body)
        while (event := next_event(body)) is not None:
            yield event
