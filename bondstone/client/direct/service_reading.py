"""The state of a service as its workflow has it, and its ledger: what several nouns read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bondstone.base.errors import NotFound
from bondstone.model.service import ServiceState
from bondstone.temporal import calls
from bondstone.temporal.service_ids import service_id, workflow_of

if TYPE_CHECKING:
    from bondstone.client.direct.connection import Connection
    from bondstone.model.ledger import LedgerRecord


async def read_state(connection: Connection, service: str) -> ServiceState:
    """The whole state of a service as its workflow has it, secrets by reference.

    Args:
        connection: To the platform.
        service: `TEAM/NAME`.

    Raises:
        NotFound: there is no such service (any more).
    """
    state = await calls.query(await connection.temporal(), workflow_of(service), ServiceState)
    if state.current is None and not state.operations:
        raise NotFound(f"there is no service {service}", hint="its only request was refused")
    return state


async def read_ledger(connection: Connection, service: str) -> list[LedgerRecord]:
    """The ledger of a service, oldest record first.

    Args:
        connection: To the platform.
        service: `TEAM/NAME`.
    """
    return await (await connection.store()).ledger.history(service_id(service))
