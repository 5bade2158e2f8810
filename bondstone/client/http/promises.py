"""Promises over the HTTP API; what only reads files asks nothing of it. `Bondstone.promises`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import override

from bondstone.client.documents.promise import PromiseDocument, PromiseRow, PublishedPromise
from bondstone.client.http.transport import Transport, segments
from bondstone.client.promises import Promises

if TYPE_CHECKING:
    from bondstone.client.bondstone import Bondstone
    from bondstone.client.documents.promise import CaseDocument, PromiseCheck, PromiseTestReport


class HttpPromises(Promises):
    """Promises over the HTTP API.

    Args:
        transport: Connections to the API.
        bond: The client, for the verbs that only read files.
    """

    def __init__(self, transport: Transport, bond: Bondstone) -> None:
        self._bond = bond
        self._http = transport

    @override
    async def validate(self, directory: Path) -> PromiseCheck:
        return await self._local().validate(directory)

    @override
    async def test(
        self,
        directory: Path,
        *,
        only: str = "",
        policies: Path | None = None,
        on_case: Callable[[CaseDocument], None] | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> PromiseTestReport:
        local = self._local()
        return await local.test(directory, only=only, policies=policies, on_case=on_case, on_line=on_line)

    @override
    async def publish(self, directory: Path) -> PublishedPromise:
        from bondstone.promise.bundle import pack  # noqa: PLC0415 - this verb only

        check = await self.validate(directory)  # with problems by file and line, before anything is sent
        bundle = await asyncio.to_thread(pack, directory)
        headers = {"Content-Type": "application/x-tar"}
        answer = await self._http.send("POST", "/promises", content=bundle.data, headers=headers)
        # the API's own warnings are about its copy, and its machine runs less than this one
        return PublishedPromise.model_validate(answer.json()).changed(warnings=check.warnings)

    @override
    async def list(self, *, every_version: bool = False) -> list[PromiseRow]:
        rows = await self._http.get("/promises", {"every_version": every_version})
        return [PromiseRow.model_validate(row) for row in rows]

    @override
    async def get(self, promise: str, version: str = "") -> PromiseDocument:
        path = segments("promises", promise, *([version] if version else []))
        return PromiseDocument.model_validate(await self._http.get(path))

    @override
    async def deprecate(self, promise: str, version: str, *, reason: str) -> PromiseRow:
        path = segments("promises", promise, version, "deprecate")
        return PromiseRow.model_validate(await self._http.post(path, {"reason": reason}))

    @override
    async def yank(self, promise: str, version: str, *, reason: str) -> PromiseRow:
        path = segments("promises", promise, version, "yank")
        return PromiseRow.model_validate(await self._http.post(path, {"reason": reason}))

    def _local(self) -> Promises:
        """What needs no platform."""
        from bondstone.client.direct.connection import Caller, Connection  # noqa: PLC0415 - as above
        from bondstone.client.direct.promises import DirectPromises  # noqa: PLC0415 - as above

        return DirectPromises(Caller(Connection(self._bond.settings), self._bond.by))
