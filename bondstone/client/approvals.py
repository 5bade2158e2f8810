"""`Bondstone.approvals`: plans that wait for people."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bondstone.client.documents.step import ApprovalDocument

SHORTEST_DIGEST: Final = 12
"""Characters of a digest that are enough to name a plan among those of one step."""


class Approvals(ABC):
    """Votes are about one exact plan, named by its digest."""

    @abstractmethod
    async def list(self) -> list[ApprovalDocument]:
        """The gates that wait for people, the one that waits longest first.

        Returns:
            One document for each gate.

        Raises:
            Unreachable: the platform does not answer.
        """

    @abstractmethod
    async def approve(
        self, operation: str, digest: str, *, step: str = "", roles: Sequence[str] = (), comment: str = ""
    ) -> ApprovalDocument:
        """Approve one exact plan. With enough approvals exactly that plan is applied.

        Args:
            operation: `TEAM/NAME/op/N`.
            digest: sha256 of the plan, or at least its first 12 characters.
            step: Whose plan; may be left out, the digest names it.
            roles: In which you act, as asserted.
            comment: For the record.

        Returns:
            The gate after the vote.

        Raises:
            InvalidInput: that is not a digest, or too few characters of one.
            VoteStale: another plan waits there.
            Refused: nothing waits there, or the vote does not count, with the reason.
        """

    @abstractmethod
    async def reject(
        self, operation: str, digest: str, *, reason: str, step: str = "", roles: Sequence[str] = ()
    ) -> ApprovalDocument:
        """Reject one exact plan. One rejection is enough: the operation ends.

        Args:
            operation: `TEAM/NAME/op/N`.
            digest: sha256 of the plan, or at least its first 12 characters.
            reason: Why; who asked for the operation reads it.
            step: Whose plan; may be left out, the digest names it.
            roles: In which you act, as asserted.

        Returns:
            The gate after the vote.

        Raises:
            InvalidInput: that is not a digest, or too few characters of one.
            VoteStale: another plan waits there.
            Refused: nothing waits there, or the vote does not count, with the reason.
        """
