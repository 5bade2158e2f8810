"""Policy sets over the HTTP API. `Bondstone.policies`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import override

from bondstone.client.documents.policy import PolicyCheck, PolicySetDocument, PolicySetRow, PublishedPolicies
from bondstone.client.http.transport import Transport, segments
from bondstone.client.policies import Policies

if TYPE_CHECKING:
    from bondstone.model.manifest import KeptPlatformManifest


class HttpPolicies(Policies):
    """Policy sets over the HTTP API.

    Args:
        transport: Connections to the API.
    """

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    @override
    async def publish(
        self, directory: Path, *, applied: KeptPlatformManifest | None = None, expected: int | None = None
    ) -> PublishedPolicies:
        body = {
            "files": await asyncio.to_thread(_files, directory),
            "applied": applied.model_dump(mode="json") if applied is not None else None,
            "expected": expected,
        }
        return PublishedPolicies.model_validate(await self._http.post("/policies", body))

    @override
    async def list(self) -> list[PolicySetRow]:
        return [PolicySetRow.model_validate(row) for row in await self._http.get("/policies")]

    @override
    async def get(self, version: int | None = None) -> PolicySetDocument:
        path = segments("policies", "current" if version is None else str(version))
        return PolicySetDocument.model_validate(await self._http.get(path))

    @override
    async def check(
        self, directory: Path | None = None, *, on_service: Callable[[int, int], None] | None = None
    ) -> PolicyCheck:
        body = {"files": await asyncio.to_thread(_files, directory) if directory is not None else {}}
        report = PolicyCheck.model_validate(await self._http.post("/policies/check", body))
        if on_service is not None:
            on_service(len(report.services), len(report.services))
        return report


def _files(directory: Path) -> dict[str, str]:
    """The policies of a folder, checked before anything is sent."""
    from bondstone.policy.modules import load_valid  # noqa: PLC0415 - few verbs

    return {module.name: module.source for module in load_valid(directory)}
