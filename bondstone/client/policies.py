"""`Bondstone.policies`: the organisation's rules, which apply to every promise."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bondstone.client.documents.policy import (
        PolicyCheck,
        PolicySetDocument,
        PolicySetRow,
        PublishedPolicies,
    )
    from bondstone.model.manifest import KeptPlatformManifest


class Policies(ABC):
    """A policy set is numbered; the newest is in force."""

    @abstractmethod
    async def publish(
        self, directory: Path, *, applied: KeptPlatformManifest | None = None, expected: int | None = None
    ) -> PublishedPolicies:
        """Check policies and put them in force as a new set; what is in force already changes nothing.

        Args:
            directory: The folder with `*.rego` files.
            applied: The manifest that they are of, for the next `bond apply`.
            expected: The number of the set that must be in force, 0 for none; None for any.

        Returns:
            The set in force, and whether it is new.

        Raises:
            NotFound: no such folder.
            PolicyInvalid: with every problem, or when there is no policy at all.
            Refused: another set is in force than the one that was expected.
        """

    @abstractmethod
    async def list(self) -> list[PolicySetRow]:
        """Every policy set, newest first.

        Returns:
            One row for each set.

        Raises:
            Unreachable: the platform does not answer.
        """

    @abstractmethod
    async def get(self, version: int | None = None) -> PolicySetDocument:
        """One policy set: its rules and their sources.

        Args:
            version: Number of the set; default: the one in force.

        Returns:
            The set.

        Raises:
            NotFound: there is none of that number, or none at all.
        """

    @abstractmethod
    async def check(
        self, directory: Path | None = None, *, on_service: Callable[[int, int], None] | None = None
    ) -> PolicyCheck:
        """Evaluate policies on the last plan of every service, and change nothing.

        Args:
            directory: The folder with `*.rego` files; default: the set in force.
            on_service: Called with how many services are done, and how many there are.

        Returns:
            What the policies decide for each plan, and which plans they would now deny.

        Raises:
            NotFound: no folder is given and none is in force.
            PolicyInvalid: with every problem.
        """
