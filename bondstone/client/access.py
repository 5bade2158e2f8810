"""`Bondstone.access`: who may do what, by the access document in force."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bondstone.model.identity import AccessDocument
    from bondstone.model.manifest import KeptPlatformManifest
    from bondstone.store.access import AccessRef, PublishedAccess


class AccessRules(ABC):
    """Access documents are numbered; the newest is in force."""

    async def validate(self, source: str, file: str = "access.yaml") -> AccessDocument:
        """Check an access document on this machine. Nothing is sent.

        Args:
            source: The document, YAML or JSON.
            file: Its name, for messages.

        Returns:
            What it says.

        Raises:
            AccessInvalid: with every mistake in its place.
        """
        from bondstone.identity.document import read_access  # noqa: PLC0415 - this verb only

        return read_access(source.encode(), file, needs_admin=False).require()

    @abstractmethod
    async def publish(
        self,
        source: str,
        file: str = "access.yaml",
        *,
        applied: KeptPlatformManifest | None = None,
        expected: int | None = None,
    ) -> tuple[AccessRef, bool]:
        """Check an access document and put it in force; what is in force already changes nothing.

        Args:
            source: The document, YAML or JSON.
            file: Its name, for messages.
            applied: The manifest that it is, for the next `bond apply`.
            expected: The number of the document that must be in force, 0 for none; None for any.

        Returns:
            The document in force, and whether it is new.

        Raises:
            AccessInvalid: with every mistake in its place.
            Refused: another document is in force than the one that was expected.
        """

    @abstractmethod
    async def list(self) -> list[AccessRef]:
        """Every access document, newest first.

        Returns:
            One row for each document.

        Raises:
            Unreachable: the platform does not answer.
        """

    @abstractmethod
    async def get(self, version: int | None = None) -> PublishedAccess:
        """One access document, as it was published.

        Args:
            version: Its number; default: the one in force.

        Returns:
            The document, and its text.

        Raises:
            NotFound: there is none of that number, or none at all.
        """
