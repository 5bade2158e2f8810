"""`Bondstone.freezes`: times in which campaigns start nothing, on the whole platform or in a team."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bondstone.client.documents.campaign import FreezeDocument
    from bondstone.model.manifest import KeptPlatformManifest


class Freezes(ABC):
    """A freeze holds up everything that has not started; targets that run finish."""

    @abstractmethod
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
        """Let campaigns start nothing.

        Args:
            name: Of the freeze; names are never used twice.
            reason: Why, for the record.
            team: Whose services; empty for the whole platform.
            exempt: Classes of changes that continue: `EMG` exempts a campaign whose change is `EMG-17`.
            begins_at: Default: now.
            ends_at: Default: when it is deleted.
            applied: The manifest that it is of, for the next `bond apply`.

        Returns:
            The freeze.

        Raises:
            InvalidInput: it would end before it begins; or the reason is empty.
            AlreadyExists: there was one of that name.
        """

    @abstractmethod
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
        """Say anew when a freeze is and whom it exempts; its team never changes.

        Args:
            name: Of the freeze.
            reason: Why, for the record.
            exempt: Classes of changes that continue, all of them.
            begins_at: When it begins.
            ends_at: When it ends; None for when it is deleted.
            applied: The manifest that it is of, for the next `bond apply`.
            expected: `changes` of what the caller has read; None changes the freeze as it is now.

        Returns:
            The freeze as it is then.

        Raises:
            Changed: somebody changed it since, also at the same moment.
            NotFound: there is none of that name.
            Refused: it has ended already; names are never used twice.
            InvalidInput: it would end before it is in force; or the reason is empty.
        """

    @abstractmethod
    async def list(self, *, ended: bool = False) -> list[FreezeDocument]:
        """Freezes that are in force or planned, by name.

        Args:
            ended: Also those that have ended.

        Returns:
            One document for each freeze.

        Raises:
            Unreachable: the platform does not answer.
        """

    @abstractmethod
    async def get(self, name: str) -> FreezeDocument:
        """One freeze, also one that has ended.

        Args:
            name: Of the freeze.

        Returns:
            The freeze.

        Raises:
            NotFound: there never was one of that name.
        """

    @abstractmethod
    async def delete(self, name: str) -> FreezeDocument:
        """End a freeze now; the record of it stays and says when it ended.

        Args:
            name: Of the freeze.

        Returns:
            The freeze, with the time at which it ended.

        Raises:
            NotFound: there is none of that name.
            Refused: it has ended already.
        """
