"""What a parent's activity learns of a part: its state, its promise, and how an operation ended."""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.service import RPCError, RPCStatusCode

from bondstone.base.errors import NotFound, OperationCancelled
from bondstone.model.promise import Promise
from bondstone.model.service import Accepted, OperationResult, OperationStatus, ServiceState
from bondstone.store import Store
from bondstone.temporal import calls
from bondstone.temporal.failures import info_of
from bondstone.temporal.service_ids import workflow_of


async def state_of(temporal: Client, part: str) -> ServiceState | None:
    """The state of the part `TEAM/NAME`; None when there is no such service."""
    try:
        return await calls.query(temporal, workflow_of(part), ServiceState)
    except NotFound:
        return None


async def promise_of(stores: Store, promise: str, version: str) -> Promise:
    """One version of a promise, as it was published."""
    info = await stores.revisions.get(promise, version)
    return await stores.revisions.promise(info.ref)


async def result_within(handle: WorkflowHandle[Any, OperationResult], seconds: float) -> OperationResult | None:
    """How an operation ended; None when it has not yet, or has not begun."""
    try:
        async with asyncio.timeout(max(seconds, 0.1)):
            return await handle.result()
    except TimeoutError:
        return None
    except WorkflowFailureError as error:
        return result_of(error.cause)
    except RPCError as error:
        if error.status in {RPCStatusCode.NOT_FOUND, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED}:
            return None
        raise calls.as_ours(error, handle.id) from error


def never_ran(accepted: Accepted, state: ServiceState | None) -> OperationResult | None:
    """The end of an operation that was cancelled before it began, so that it has no workflow."""
    for record in state.operations if state is not None else ():
        if record.number == accepted.number and record.status.ended and record.started_at is None:
            return OperationResult(status=record.status, error=record.error)
    return None


def result_of(error: BaseException) -> OperationResult:
    """What a failed operation workflow had to say."""
    if isinstance(error, ApplicationError) and len(error.details) > 1:
        return OperationResult.model_validate(error.details[1])
    info = info_of(error)
    cancelled = info.code == OperationCancelled.code or isinstance(error, CancelledError)
    return OperationResult(status=OperationStatus.CANCELLED if cancelled else OperationStatus.FAILED, error=info)
