"""The access document in force, read again every few seconds, so that a request does not ask the store."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from bondstone.identity.access import Access
from bondstone.store.access import AccessDocuments

FRESH_SECONDS: Final = 2.0
"""How long a document may have been replaced before every API process goes by the new one."""


class AccessInForce:
    """What says who may do what, now.

    Args:
        documents: The published access documents.
    """

    def __init__(self, documents: AccessDocuments) -> None:
        self._documents = documents
        self._access = Access()
        self._read_at = -FRESH_SECONDS
        self._reading = asyncio.Lock()

    async def current(self) -> Access:
        """What is in force, at most `FRESH_SECONDS` old.

        Raises:
            StoreUnavailable: it cannot be read again, so nobody may do anything.
        """
        if self._is_fresh():
            return self._access
        async with self._reading:
            if not self._is_fresh():
                published = await self._documents.current()
                self._access = Access(published.document, version=published.ref.version) if published else Access()
                self._read_at = time.monotonic()
        return self._access

    def _is_fresh(self) -> bool:
        return time.monotonic() - self._read_at < FRESH_SECONDS
