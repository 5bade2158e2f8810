"""Step logs over the HTTP API. `Bondstone.logs`."""

from __future__ import annotations

from collections.abc import AsyncIterator

from typing_extensions import override

from bondstone.client.documents.log import LogDocument, LogLine
from bondstone.client.http.follow import follow as _events
from bondstone.client.http.transport import Transport, operation_path
from bondstone.client.logs import Logs


class HttpLogs(Logs):
    """Logs over the HTTP API.

    Args:
        transport: Connections to the API.
    """

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    @override
    async def list(self, operation: str, *, step: str = "") -> list[LogDocument]:
        logs = await self._http.get(operation_path(operation, "logs"), {"step": step})
        return [LogDocument.model_validate(log) for log in logs]

    @override
    async def read(self, operation: str, *, step: str = "", follow: bool = False) -> AsyncIterator[LogLine]:
        if step:
            await self.list(operation, step=step)  # names the steps there are
        path = operation_path(operation, "logs", "events") + ("" if follow else "?follow=false")
        async for event in _events(self._http, path, "log", dict):
            if step in {"", event["step"]}:
                for text in event["lines"]:
                    yield LogLine(step=event["step"], verb=event["verb"], attempt=event["attempt"], text=text)
