"""Freezes over the HTTP API. `Bondstone.freezes`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from typing_extensions import override

from bondstone.client.documents.campaign import FreezeDocument
from bondstone.client.freezes import Freezes
from bondstone.client.http.transport import Transport, segments

if TYPE_CHECKING:
    from bondstone.model.manifest import KeptPlatformManifest


class HttpFreezes(Freezes):
    """Freezes over the HTTP API.

    Args:
        transport: Connections to the API.
    """

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    @override
    async def create(
        self,
        name: str,
        *,
        reason: str,
        team: str = "",
        exempt: Iterable[str] = (),
        begins_at: datetime | None = None,
        ends_at: datetime | None = None,
        applied: KeptPlatformManifest | None = None,
    ) -> FreezeDocument:
        body = {
            "name": name,
            "reason": reason,
            "team": team,
            "exempt": list(exempt),
            "begins_at": begins_at.isoformat() if begins_at else None,
            "ends_at": ends_at.isoformat() if ends_at else None,
            "applied": applied.model_dump(mode="json") if applied else None,
        }
        return FreezeDocument.model_validate(await self._http.post("/freezes", body))

    @override
    async def update(
        self,
        name: str,
        *,
        reason: str,
        exempt: Iterable[str],
        begins_at: datetime,
        ends_at: datetime | None,
        applied: KeptPlatformManifest | None = None,
        expected: int | None = None,
    ) -> FreezeDocument:
        body = {
            "reason": reason,
            "exempt": list(exempt),
            "begins_at": begins_at.isoformat(),
            "ends_at": ends_at.isoformat() if ends_at else None,
            "applied": applied.model_dump(mode="json") if applied else None,
            "expected": expected,
        }
        return FreezeDocument.model_validate(await self._http.post(segments("freezes", name, "update"), body))

    @override
    async def list(self, *, ended: bool = False) -> list[FreezeDocument]:
        freezes = await self._http.get("/freezes", {"ended": ended})
        return [FreezeDocument.model_validate(freeze) for freeze in freezes]

    @override
    async def get(self, name: str) -> FreezeDocument:
        return FreezeDocument.model_validate(await self._http.get(segments("freezes", name)))

    @override
    async def delete(self, name: str) -> FreezeDocument:
        answer = await self._http.send("DELETE", segments("freezes", name))
        return FreezeDocument.model_validate(answer.json())
