"""What a busy Temporal asks to try again later is tried again: for every call of a connection, within a bound.

The SDK's core does so for ten seconds, and only for the calls of its high-level client. A server that limits its
rate (RESOURCE_EXHAUSTED) has done nothing yet, so any call may be repeated. Neither has one that refuses an update
or a query because the workflow's last task failed (FAILED_PRECONDITION): it has the task done again, which helps
where a busy worker took too long for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

BUSY_SECONDS: Final = 60.0
"""How long a call is tried again before its error counts."""
FAILED_TASK_SECONDS: Final = 20.0
"""The same for a workflow whose last task failed: Temporal repeats it at once, then with growing pauses."""
FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 5.0

_NEVER_FITS: Final = "larger than max"
"""In the words of gRPC: a message that is too large has the same status, and stays too large."""
_FAILED_TASK: Final = "workflow task in failed state"
"""In the words of Temporal, of updates and of queries."""

Call = Callable[..., Awaitable[Any]]


def make_patient(client: Client) -> Client:
    """Have every call of a connection wait for a server that is busy.

    Args:
        client: The connection; it is changed, and returned.
    """
    service = client.service_client
    service._rpc_call = patient(service._rpc_call)  # type: ignore[method-assign, assignment] # noqa: SLF001 - all calls pass
    return client


def patient(
    call: Call, *, seconds: float = BUSY_SECONDS, failed_task_seconds: float = FAILED_TASK_SECONDS
) -> Call:
    """A call that is repeated while the server says that it is busy; once in each call this is logged.

    Args:
        call: What to call.
        seconds: The bound, from the first refusal.
        failed_task_seconds: The bound where the workflow's last task failed.
    """

    async def repeated(*args: Any, **options: Any) -> Any:
        loop = asyncio.get_running_loop()
        deadline, pause = 0.0, FIRST_PAUSE_SECONDS
        while True:
            try:
                return await call(*args, **options)
            except RPCError as error:
                if _is_busy(error):
                    bound = seconds
                elif _has_failed_task(error):
                    bound = failed_task_seconds
                else:
                    raise
                if not deadline:
                    deadline = loop.time() + bound
                    import structlog  # noqa: PLC0415 - half the imports of a command, for one that has to wait

                    structlog.get_logger(__name__).warning(
                        "Temporal is busy; trying again", seconds=bound, reason=error.message
                    )
                if loop.time() + pause > deadline:
                    raise
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    return repeated


def _is_busy(error: RPCError) -> bool:
    return error.status is RPCStatusCode.RESOURCE_EXHAUSTED and _NEVER_FITS not in error.message


def _has_failed_task(error: RPCError) -> bool:
    return error.status is RPCStatusCode.FAILED_PRECONDITION and _FAILED_TASK in error.message.lower()
