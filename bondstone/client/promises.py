"""`Bondstone.promises`: what the platform offers, as immutable revisions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bondstone.client.documents.promise import (
        CaseDocument,
        PromiseCheck,
        PromiseDocument,
        PromiseRow,
        PromiseTestReport,
        PublishedPromise,
    )


class Promises(ABC):
    """`validate` and `test` need no platform; the rest needs the object store and nothing else."""

    @abstractmethod
    async def validate(self, directory: Path) -> PromiseCheck:
        """Check a promise.

        Args:
            directory: The folder that holds promise.yaml.

        Returns:
            Name, version, digest and warnings.

        Raises:
            PromiseInvalid: with every problem by file, line and column.
        """

    @abstractmethod
    async def test(
        self,
        directory: Path,
        *,
        only: str = "",
        policies: Path | None = None,
        on_case: Callable[[CaseDocument], None] | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> PromiseTestReport:
        """Run the test cases of a promise with the real tools; no platform is touched.

        Args:
            directory: The folder that holds promise.yaml.
            only: Only cases whose name contains this.
            policies: A folder with the organisation's policies; the promise's own always apply.
            on_case: Called with each case that has been run.
            on_line: Called with each line that a tool prints.

        Returns:
            The outcome of each case, with its seconds.

        Raises:
            PromiseInvalid: it cannot be published as it is.
            NotFound: it has no such case, or none at all.
        """

    @abstractmethod
    async def publish(self, directory: Path) -> PublishedPromise:
        """Check a promise and publish it as a revision; the same content again changes nothing.

        Args:
            directory: The folder that holds promise.yaml.

        Returns:
            The revision, and whether it is new.

        Raises:
            PromiseInvalid: with every problem by file, line and column.
            RevisionConflict: that version was published with other content.
        """

    @abstractmethod
    async def list(self, *, every_version: bool = False) -> list[PromiseRow]:
        """Promises by name, each at the version that a request would get.

        Args:
            every_version: Every revision, also deprecated and yanked ones.

        Returns:
            One row for each promise, or for each revision.

        Raises:
            Unreachable: the platform does not answer.
        """

    @abstractmethod
    async def get(self, promise: str, version: str = "") -> PromiseDocument:
        """A revision: what it takes, what it gives, what it does, and its other versions.

        Args:
            promise: Name of the promise.
            version: Exact version; default: the one that a request would get.

        Returns:
            The revision.

        Raises:
            NotFound: no such promise or version.
        """

    @abstractmethod
    async def deprecate(self, promise: str, version: str, *, reason: str) -> PromiseRow:
        """Warn whoever requests a revision; it is no longer chosen by default.

        Args:
            promise: Name of the promise.
            version: Exact version.
            reason: Why; people read it.

        Returns:
            The revision as it is listed then.

        Raises:
            NotFound: no such promise or version.
        """

    @abstractmethod
    async def yank(self, promise: str, version: str, *, reason: str) -> PromiseRow:
        """Accept no new services at a revision; those that are on it stay.

        Args:
            promise: Name of the promise.
            version: Exact version.
            reason: Why; people read it.

        Returns:
            The revision as it is listed then.

        Raises:
            NotFound: no such promise or version.
        """
