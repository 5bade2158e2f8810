"""Published access documents: numbered, each one immutable, the newest in force.

Objects: `access/<00000001>`, each with the document inside. A number is taken by put-if-absent.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Final

from pydantic import ValidationError

from bondstone.base.canonical import canonical, digest
from bondstone.base.errors import NotFound, ObjectCorrupt, ObjectMissing
from bondstone.base.models import Wire
from bondstone.model.identity import AccessDocument
from bondstone.model.manifest import KeptPlatformManifest
from bondstone.store.numbered import require_expected
from bondstone.store.objects import Objects

PREFIX: Final = "access"
_DIGITS: Final = 8


class AccessRef(Wire):
    """One access document, as lists show it."""

    version: int
    digest: str
    """sha256 over its content."""
    published_at: datetime
    published_by: str = "unknown"
    reason: str = ""
    grants: int = 0
    applied: KeptPlatformManifest | None = None
    """The manifest that it was applied from; None when it was published by hand."""


class PublishedAccess(Wire):
    """One access document as it was published."""

    ref: AccessRef
    document: AccessDocument
    source: str = ""
    """The text of the file, with its comments."""


class AccessDocuments:
    """All access documents of one platform.

    Args:
        objects: Where they are kept.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._known: dict[int, PublishedAccess] = {}

    async def publish(
        self,
        document: AccessDocument,
        *,
        source: str = "",
        by: str,
        applied: KeptPlatformManifest | None = None,
        expected: int | None = None,
    ) -> tuple[AccessRef, bool]:
        """Put a document in force; the one that is in force already changes nothing.

        Args:
            document: The document.
            source: Its text.
            by: Who asks.
            applied: The manifest that it is. The one in force is numbered again where it was of another.
            expected: The number of the document that must be in force, 0 for none; None for any.

        Returns:
            The document's reference, and whether it was new.

        Raises:
            Changed: another document is in force than the one that was expected.
        """
        content = _digest(document)
        while True:
            current = await self.current()
            require_expected("access document", current.ref.version if current else 0, expected)
            if current is not None and current.ref.digest == content and applied in (None, current.ref.applied):
                return current.ref, False
            ref = AccessRef(
                version=current.ref.version + 1 if current else 1,
                digest=content,
                published_at=datetime.now(UTC),
                published_by=by,
                reason=document.metadata.reason,
                grants=len(document.spec.grants),
                applied=applied,
            )
            published = PublishedAccess(ref=ref, document=document, source=source)
            if await self._objects.put_if_absent(_key(ref.version), _encode(published)):
                return ref, True

    async def current(self) -> PublishedAccess | None:
        """The document in force; None when none was ever published."""
        newest = max(self._known, default=0)
        later = await self._objects.list(PREFIX, after=_key(newest) if newest else "")
        if later:
            newest = int(later[-1].key.rsplit("/", 1)[1])
        return await self._read(newest) if newest else None

    async def list(self) -> list[AccessRef]:
        """Every document, newest first."""
        infos = await self._objects.list(PREFIX)
        documents = await asyncio.gather(*(self._read(int(info.key.rsplit("/", 1)[1])) for info in infos))
        return [item.ref for item in reversed(documents)]

    async def get(self, version: int) -> PublishedAccess:
        """One document.

        Raises:
            NotFound: when there is none of that number.
        """
        try:
            return await self._read(version)
        except ObjectMissing:
            raise NotFound(
                f"there is no access document {version}", hint="`bond access list` shows the published ones"
            ) from None

    async def _read(self, version: int) -> PublishedAccess:
        known = self._known.get(version)
        if known is None:
            key = _key(version)
            try:
                known = PublishedAccess.model_validate_json(await self._objects.get(key))
            except ValidationError as error:
                raise ObjectCorrupt("the access document cannot be read", where=key) from error
            if _digest(known.document) != known.ref.digest:
                raise ObjectCorrupt(
                    "the access document is not the one that was published",
                    where=key,
                    hint="find out who writes to the object store, and publish the document again",
                )
            self._known[version] = known
        return known


def _key(version: int) -> str:
    return f"{PREFIX}/{version:0{_DIGITS}}"


def _digest(document: AccessDocument) -> str:
    return digest(canonical(document.model_dump(mode="json", by_alias=True)))


def _encode(published: PublishedAccess) -> bytes:
    return published.model_dump_json(by_alias=True).encode()
