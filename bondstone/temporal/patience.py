"""What a busy Temporal asks to try again later is tried again: for every call of a connection, within a bound.

The SDK's core does so for ten seconds, and only for the calls of its high-level client. A server that limits its
rate (RESOURCE_EXHAUSTED) has done nothing yet, so any call may be repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

BUSY_SECONDS: Final = 60.0
"""How long a call is tried again before its error counts."""
FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 5.0

_NEVER_FITS: Final = "larger than max"
"""In the words of gRPC: a message that is too large has the same status, and stays too large."""

Call = Callable[..., Awaitable[Any]]


def make_patient(client: Client) -> Client:
    """Have every call of a connection wait for a server that is busy.

    Args:
        client: The connection; it is changed, and returned.
    """
    service = client.service_client
    service._rpc_call = patient(service._rpc_call)  # type: ignore[method-assign, assignment] # noqa: SLF001 - all calls pass
    return client


def patient(call: Call, *, seconds: float = BUSY_SECONDS) -> Call:
    """A call that is repeated while the server says that it is busy; once in each call this is logged.

    Args:
        call: What to call.
        seconds: The bound, from the first refusal.
    """

    async def repeated(*args: Any, **options: Any) -> Any:
        loop = asyncio.get_running_loop()
        deadline, pause = 0.0, FIRST_PAUSE_SECONDS
        while True:
            try:
                return await call(*args, **options)
            except RPCError as error:
                if error.status is not RPCStatusCode.RESOURCE_EXHAUSTED or _NEVER_FITS in error.message:
                    raise
                if not deadline:
                    deadline = loop.time() + seconds
                    import structlog  # noqa: PLC0415 - half the imports of a command, for one that has to wait

                    structlog.get_logger(__name__).warning(
                        "Temporal is busy; trying again", seconds=seconds, reason=error.message
                    )
                if loop.time() + pause > deadline:
                    raise
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    return repeated
