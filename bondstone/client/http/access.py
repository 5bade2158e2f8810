"""Access documents over the HTTP API. `Bondstone.access`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from bondstone.client.access import AccessRules
from bondstone.client.http.transport import Transport, segments

if TYPE_CHECKING:
    from bondstone.model.manifest import KeptPlatformManifest
    from bondstone.store.access import AccessRef, PublishedAccess


class HttpAccess(AccessRules):
    """Access documents over the HTTP API.

    Args:
        transport: Connections to the API.
    """

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    @override
    async def publish(
        self,
        source: str,
        file: str = "access.yaml",
        *,
        applied: KeptPlatformManifest | None = None,
        expected: int | None = None,
    ) -> tuple[AccessRef, bool]:
        from bondstone.store.access import AccessRef  # noqa: PLC0415 - few verbs, here and below

        kept = applied.model_dump(mode="json") if applied is not None else None
        answer = await self._http.post("/access", {"source": source, "applied": kept, "expected": expected})
        return AccessRef.model_validate(answer["access"]), answer["published"]

    @override
    async def list(self) -> list[AccessRef]:
        from bondstone.store.access import AccessRef  # noqa: PLC0415

        return [AccessRef.model_validate(row) for row in await self._http.get("/access")]

    @override
    async def get(self, version: int | None = None) -> PublishedAccess:
        from bondstone.store.access import PublishedAccess  # noqa: PLC0415

        path = segments("access", "current" if version is None else str(version))
        return PublishedAccess.model_validate(await self._http.get(path))
