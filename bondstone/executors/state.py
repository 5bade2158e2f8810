"""The state of a step as its executor sees it: read it, claim it, append to it. Nothing else of the store.

`bondstone.store.state.log.StateLog` is what stands behind it on a worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from bondstone.base.process_identity import Holder


class StateSnapshot(Protocol):
    """The newest state."""

    @property
    def position(self) -> int:
        """Position of the entry that carries it; 0 when there is none yet."""
        ...

    @property
    def payload(self) -> bytes | None:
        """The state; None when there is none yet."""
        ...


class StateClaim(Protocol):
    """The right to append to a step's state: an async context manager that renews its lease while entered.

    Leave it only when the tool has stopped.
    """

    @property
    def snapshot(self) -> StateSnapshot:
        """The newest state as of the claim."""
        ...

    @property
    def lost(self) -> asyncio.Event:
        """Set when another attempt holds the state, or the lease was not renewed in time: stop the tool NOW."""
        ...

    async def append(self, payload: bytes) -> int:
        """Write a new state; its position.

        Raises:
            Fenced: when another attempt has claimed the state; nothing was written, and nothing can be any more.
            StoreUnavailable: when the store does not answer; call again with the same or a newer state.
        """
        ...

    async def release(self, payload: bytes | None = None) -> int:
        """Give the state back; the position of the newest state.

        Args:
            payload: The last state, when it was not appended before.

        Raises:
            Fenced: as `append`.
            StoreUnavailable: as `append`.
        """
        ...

    async def forget(self) -> None:
        """Give the state back and have none from here on.

        Raises:
            Fenced: as `append`.
            StoreUnavailable: as `append`; forget again.
        """
        ...

    async def __aenter__(self) -> Self:
        """Begin to renew the lease."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop renewing; without a release the next attempt is told that this one has left."""
        ...


class StepState(Protocol):
    """The state log of the step in hand."""

    async def read(self) -> StateSnapshot:
        """The newest state, whoever holds it.

        Raises:
            ObjectMissing: when the log names a state that is not in the store.
            ObjectCorrupt: when it is not readable.
            KeyMissing: when the key that sealed it is not in the ring.
        """
        ...

    async def claim(self, holder: Holder, *, on_wait: Callable[[Holder], None] | None = None) -> StateClaim:
        """Become the only attempt that may append; waits while another holds the state.

        Args:
            holder: Who claims: `Holder.me(attempt, by)`.
            on_wait: Called with who is waited for, about once a second.

        Raises:
            ObjectMissing: as `read`; `ObjectCorrupt` and `KeyMissing` too.
            StoreUnavailable: when the store does not answer.
        """
        ...

    async def attempt_of(self, position: int) -> str:
        """The attempt that wrote the state at a position; empty when no state is kept there any more."""
        ...
