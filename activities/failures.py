"""Activities speak errors of ours; Temporal hears failures."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError

from bondstone.base.errors import BondError
from bondstone.temporal.failures import to_failure

_log = structlog.get_logger()
_P = ParamSpec("_P")
_T = TypeVar("_T")

WORKER_SHUTDOWN = "WORKER_SHUTDOWN"
"""Failure type of an activity that stopped because its worker does; another worker takes it at once."""


def speaks_failures(function: Callable[_P, Awaitable[_T]]) -> Callable[_P, Awaitable[_T]]:
    """Turn errors into failures with a stable type, and a worker's shutdown into another try elsewhere."""

    @functools.wraps(function)
    async def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return await function(*args, **kwargs)
        except BondError as error:
            _log.info("activity failed", code=error.code, error=error.message, where=error.where)
            raise to_failure(error) from error
        except asyncio.CancelledError:
            details = activity.cancellation_details()
            if details is not None and details.worker_shutdown and not details.cancel_requested:
                raise ApplicationError("the worker is stopping", type=WORKER_SHUTDOWN) from None
            raise

    return wrapped
