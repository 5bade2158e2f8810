"""`Bondstone.state`: the Terraform state of a step, and the log that it is kept in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bondstone.client.documents.state import HolderDocument, Pushed, StateEntryDocument, StateFile


class State(ABC):
    """A step may be left out where a service has one with a state; `NotFound` names the steps otherwise."""

    @abstractmethod
    async def pull(self, service: str, *, step: str = "") -> StateFile:
        """The newest state of a step, as Terraform reads it. It holds secrets in plain.

        Of a service that is gone it is the last state, from the archive.

        Args:
            service: `TEAM/NAME`.
            step: Whose state.

        Returns:
            The state file, in plain, and whose it is.

        Raises:
            NotFound: there is no such service, no such step, or no state of it.
            Refused: the step keeps its own state.
        """

    @abstractmethod
    async def push(
        self,
        service: str,
        state: bytes,
        *,
        step: str = "",
        force: bool = False,
        force_lineage: bool = False,
        reason: str = "",
        on_wait: Callable[[HolderDocument], None] | None = None,
    ) -> Pushed:
        """Replace a step's Terraform state; waits for an operation that holds it.

        A plan that was made before is stale then: it is made again, and asks people again unless it is covered.

        Args:
            service: `TEAM/NAME`.
            state: The state file.
            step: Whose state.
            force: Accept a state that is not newer than the current one, or when that one cannot be read.
            force_lineage: Accept the state of another lineage.
            reason: Why, for the ledger.
            on_wait: Called with who holds the state, about once a second.

        Returns:
            Whose state it is, and whether the push changed it.

        Raises:
            NotFound: there is no such service or step.
            InvalidInput: it is not a Terraform state; or a reason is missing.
            ObjectMissing: the current one is lost and `force` is not set; `ObjectCorrupt`: it cannot be read.
            Refused: it does not continue the current one, or the step keeps its own state.
        """

    @abstractmethod
    async def log(self, service: str, *, step: str = "") -> list[StateEntryDocument]:
        """The state log of a step: who claimed it, wrote states and released it, and when.

        Args:
            service: `TEAM/NAME`.
            step: Whose state.

        Returns:
            One document for each entry, oldest first.

        Raises:
            NotFound: there is no such service or step.
        """
