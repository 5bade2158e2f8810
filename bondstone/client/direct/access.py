"""Access documents in the object store. `Bondstone.access`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from bondstone.base.errors import NotFound
from bondstone.client.access import AccessRules

if TYPE_CHECKING:
    from bondstone.client.direct.connection import Caller
    from bondstone.model.manifest import KeptPlatformManifest
    from bondstone.store.access import AccessDocuments, AccessRef, PublishedAccess


class DirectAccess(AccessRules):
    """Access documents in the object store: whoever can write there is trusted.

    Args:
        caller: Who asks, and by which connection.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    @override
    async def publish(
        self,
        source: str,
        file: str = "access.yaml",
        *,
        applied: KeptPlatformManifest | None = None,
        expected: int | None = None,
    ) -> tuple[AccessRef, bool]:
        from bondstone.identity.document import read_access  # noqa: PLC0415 - this verb only

        admins = bool(self._caller.settings.admins)
        document = read_access(source.encode(), file, needs_admin=not admins).require()
        documents = await self._documents()
        return await documents.publish(
            document, source=source, by=self._caller.by, applied=applied, expected=expected
        )

    @override
    async def list(self) -> list[AccessRef]:
        return await (await self._documents()).list()

    @override
    async def get(self, version: int | None = None) -> PublishedAccess:
        documents = await self._documents()
        published = await (documents.current() if version is None else documents.get(version))
        if published is None:
            raise NotFound("no access document is published", hint="`bond access publish FILE` puts one in force")
        return published

    async def _documents(self) -> AccessDocuments:
        return (await self._caller.connection.store()).access
