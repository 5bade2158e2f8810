"""Being the only attempt at a step: a claim on its state log, waited for without falling silent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

from bondstone.activities.tooling.heartbeat import Pulse, Stop
from bondstone.executors.protocol import StepContext

if TYPE_CHECKING:
    from bondstone.base.process_identity import Holder
    from bondstone.executors.state import StateClaim, StepState


class AtWork(Protocol):
    """One verb at work."""

    context: StepContext
    pulse: Pulse
    stop: Stop


@asynccontextmanager
async def claimed(session: AtWork, log: StepState) -> AsyncIterator[StateClaim]:
    """A claim on the step's state, its lease renewed meanwhile; waits for living holders, and says for whom."""
    from bondstone.base.process_identity import Holder as HolderModel  # noqa: PLC0415 - loads the whole store

    def on_wait(holder: Holder) -> None:
        session.pulse.note(f"waiting for {holder} to release the state")

    holder = HolderModel.me(session.context.attempt, f"{session.context.service}/op/{session.context.operation}")
    claim = await session.stop.unless(log.claim(holder, on_wait=on_wait))
    session.pulse.note("")
    async with claim:
        yield claim
