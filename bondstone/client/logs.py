"""`Bondstone.logs`: what the tools printed, without secrets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bondstone.client.documents.log import LogDocument, LogLine


class Logs(ABC):
    """Each attempt of a step has a log of its own."""

    @abstractmethod
    async def list(self, operation: str, *, step: str = "") -> list[LogDocument]:
        """The logs of an operation, oldest first.

        Args:
            operation: `TEAM/NAME/op/N`.
            step: Of this step only.

        Returns:
            One document for each attempt of each step.

        Raises:
            NotFound: there is no such operation or step.
        """

    @abstractmethod
    def read(self, operation: str, *, step: str = "", follow: bool = False) -> AsyncIterator[LogLine]:
        """The lines of an operation's logs, one log after the other; an async iterator.

        Args:
            operation: `TEAM/NAME/op/N`.
            step: Of this step only.
            follow: Give lines as they come, of all logs at once, until the operation has ended.

        Returns:
            The lines, secrets masked, each with its step and attempt.

        Raises:
            NotFound: there is no such operation or step.
        """
