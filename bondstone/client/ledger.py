"""`Bondstone.ledger`: the permanent record of what was done."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bondstone.client.documents.ledger import LedgerAnchor, LedgerVerification


class Ledger(ABC):
    """Chains of records, one for each service and each campaign."""

    @abstractmethod
    async def verify(self, chain: str = "") -> LedgerVerification:
        """Walk every chain, prove who asked and who approved, and name the first break of each.

        Args:
            chain: `TEAM/NAME` or `campaign/NAME`; empty for all.

        Returns:
            How many chains and records there are, how many are proved, and each break.

        Raises:
            StoreError: the object store cannot be read.
        """

    @abstractmethod
    async def anchor(self) -> LedgerAnchor:
        """Write down the last record of every chain.

        Returns:
            The digest to keep elsewhere.

        Raises:
            StoreError: the object store cannot be read or written.
        """

    @abstractmethod
    async def export(self, chain: str) -> bytes:
        """One chain and what proves it, as a tar that holds an object store: what verifies it elsewhere.

        Args:
            chain: `TEAM/NAME` or `campaign/NAME`.

        Returns:
            The tar.

        Raises:
            NotFound: there is no record of that name.
            Refused: the chain is too long to be handed out at once.
        """
