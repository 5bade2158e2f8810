"""`Bondstone.workers`: builds of the control workers, and who polls which queue."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bondstone.client.documents.worker import BuildDocument, EvictedDocument, QueueDocument


class Workers(ABC):
    """A build is what `BOND_BUILD_ID` names; one build gets new work, others finish what they hold."""

    @abstractmethod
    async def promote(self, build: str, *, percent: float | None = None) -> list[BuildDocument]:
        """Give a build all new work, or a part of it. Waits until Temporal has seen its workers poll.

        Args:
            build: The build. The current one takes back what a ramping one had.
            percent: The part of new services, in percent, while another build stays current; default: all.

        Returns:
            Every build, as `list` does.

        Raises:
            InvalidInput: the percentage is out of range.
            NotFound: no worker of that build has ever polled.
            Refused: its workers do not poll now, or not for all that is needed.
        """

    @abstractmethod
    async def evict(self, build: str) -> EvictedDocument:
        """Move all that a build holds to the current one, while it runs: the build's workers can stop at once.

        The current build replays what the other did. Where it cannot, the workflow waits for its old build to come
        back, and nothing is lost.

        Args:
            build: The build.

        Returns:
            How much was moved, and to which build.

        Raises:
            NotFound: no worker of that build has ever polled.
            Refused: it is the current one, or there is none.
        """

    @abstractmethod
    async def queues(self, pools: Sequence[str]) -> list[QueueDocument]:
        """Who polls the control queue and the queue of each pool now.

        Args:
            pools: Names of pools.

        Returns:
            One document for each queue, the control queue first.

        Raises:
            Unreachable: the platform does not answer.
        """

    @abstractmethod
    async def list(self) -> list[BuildDocument]:
        """Every build and what it holds, oldest first; workers without a build before them, where they matter.

        Returns:
            One document for each build.

        Raises:
            Unreachable: the platform does not answer.
        """
