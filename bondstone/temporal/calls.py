"""Calls to Temporal as the client makes them: bounded in time, with our errors in place of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import Final, TypeVar

from pydantic import BaseModel
from temporalio.client import (
    Client,
    RPCError,
    RPCTimeoutOrCancelledError,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.service import RPCStatusCode

from bondstone.base import names
from bondstone.base.errors import BondError, NotFound, Unreachable, from_info
from bondstone.temporal.connection import reason
from bondstone.temporal.failures import info_of
from bondstone.temporal.patience import BUSY_SECONDS

QUERY_TIMEOUT: Final = timedelta(seconds=10)
SECOND_QUERY_SECONDS: Final = 2.0
"""A query without an answer is sent once more after this time, within the same bound: the SDK's core drops one
that reaches a worker while it evicts the run ("leftover buffered tasks when evicting run")."""
UPDATE_TIMEOUT: Final = timedelta(seconds=60)

_T = TypeVar("_T")
_M = TypeVar("_M", bound=BaseModel)


async def update(client: Client, workflow_id: str, name: str, call: BaseModel, result: type[_T]) -> _T:
    """Send an update to a workflow that is alive, and return its answer.

    Raises:
        NotFound: there is no such workflow, or it has ended.
        Unreachable: no worker answers in time.
        BondError: as the workflow refused, by its own class.
    """
    handle = client.get_workflow_handle(workflow_id)
    answer: _T = await answered(
        handle.execute_update(name, call, result_type=result, rpc_timeout=UPDATE_TIMEOUT), workflow_id
    )
    return answer


async def query(client: Client, workflow_id: str, result: type[_M], name: str = names.QUERY_DESCRIBE) -> _M:
    """Ask a workflow, alive or ended, for its state.

    Raises:
        NotFound: there is no such workflow.
        Unreachable: no worker answers in time.
    """
    handle = client.get_workflow_handle(workflow_id)

    def send() -> asyncio.Task[_M]:
        call = handle.query(name, result_type=result, rpc_timeout=QUERY_TIMEOUT)
        return asyncio.ensure_future(answered(call, workflow_id))

    sent = [send()]
    try:
        if not (await asyncio.wait(sent, timeout=SECOND_QUERY_SECONDS))[0]:
            sent.append(send())
        done, _ = await asyncio.wait(sent, return_when=asyncio.FIRST_COMPLETED)
        return done.pop().result()
    finally:
        for each in sent:
            each.cancel()


async def answered(call: Awaitable[_T], workflow_id: str) -> _T:
    """Await a call to Temporal; what it raises becomes one of ours."""
    try:
        return await call
    except WorkflowUpdateFailedError as error:
        raise from_info(info_of(error.cause)) from error
    except (WorkflowUpdateRPCTimeoutOrCancelledError, RPCTimeoutOrCancelledError) as error:
        raise _no_worker() from error
    except WorkflowQueryFailedError as error:
        raise Unreachable(f"the query failed: {error.message}", where=workflow_id) from error
    except RPCError as error:
        raise as_ours(error, workflow_id) from error


def as_ours(error: RPCError, workflow_id: str) -> BondError:
    """One of our errors for what Temporal answered."""
    if error.status is RPCStatusCode.NOT_FOUND:
        noun = "campaign" if workflow_id.startswith(names.campaign_workflow_id("")) else "service"
        return NotFound(f"there is no {_named(workflow_id)}", hint=f"`bond {noun} list` shows the existing ones")
    if error.status in {RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED}:
        return _no_worker()
    if error.status is RPCStatusCode.FAILED_PRECONDITION and "no poller" in error.message:
        return _no_worker()
    if error.status is RPCStatusCode.RESOURCE_EXHAUSTED:
        return Unreachable(
            f"Temporal is too busy, even after {BUSY_SECONDS:.0f} s of trying: {reason(error.message)}",
            where=workflow_id,
            hint="try again later, or raise the server's limits (frontend.namespaceRPS and its like)",
        )
    return Unreachable(
        f"Temporal answered {error.status.name}: {reason(error.message)}",
        where=workflow_id,
        hint="`bond status` shows what runs; try again when it is healthy",
    )


def _no_worker() -> Unreachable:
    return Unreachable(
        "no control worker answers",
        hint="`bond status` shows what runs; nothing is lost: what was accepted continues when a worker is back",
    )


def _named(workflow_id: str) -> str:
    match workflow_id.split("/"):
        case ["service", team, name]:
            return f"service {team}/{name}"
        case ["service", team, name, "op", number]:
            return f"operation {team}/{name}/op/{number}"
        case ["campaign", name]:
            return f"campaign {name}"
    return f"workflow {workflow_id}"
