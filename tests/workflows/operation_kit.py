"""What the tests of operations share: how one is requested, waited for, and voted on."""

from __future__ import annotations

from typing import Any

from fakes import Caller
from temporalio.client import Client, WorkflowHandle

from bondstone.base import names
from bondstone.base.errors import NotFound
from bondstone.model.plan import Decision, Finding
from bondstone.model.service import (
    Accepted,
    Approval,
    OperationKind,
    OperationRecord,
    OperationStatus,
    Phase,
    VoteCall,
)
from bondstone.temporal import calls, listing
from harness.waiting import until_async

ASK = Decision(
    outcome="approval",
    findings=(Finding(level="approval", message="big", roles=("dba", "sre"), count=2),),
)


async def ready(caller: Caller, **request: Any) -> None:
    """A service that is ready, and of what is asked later only that is in the log."""
    accepted = await caller.request(**request)
    record = await caller.ended(accepted.number)
    assert record.status is OperationStatus.SUCCEEDED


def ask(caller: Caller, kind: OperationKind, **fields: Any) -> Any:
    return caller.request(kind=kind, promise="", **fields)


def operation(client: Client, accepted: Accepted) -> WorkflowHandle[Any, Any]:
    return client.get_workflow_handle(f"service/{accepted.id}")


async def waiting(client: Client, accepted: Accepted, step: str = "main") -> Approval:
    """The gate of a step, once it waits."""

    async def gate() -> Approval | None:
        record = await calls.query(client, f"service/{accepted.id}", OperationRecord)
        return next((each for each in record.approvals if (each.step, each.status) == (step, "waiting")), None)

    return await until_async(gate, f"{step} of {accepted.id} waits for people", not_yet=(NotFound,))


async def in_phase(caller: Caller, phase: Phase) -> None:
    """Return once the service says that it is in a phase."""

    async def is_in_it() -> bool:
        return (await caller.state()).phase is phase

    await until_async(is_in_it, f"{caller.id} is {phase}")


async def vote(client: Client, accepted: Accepted, call: VoteCall, *, approve: bool = True) -> Approval:
    name = names.UPDATE_APPROVE if approve else names.UPDATE_REJECT
    return await calls.update(client, f"service/{accepted.id}", name, call, Approval)


async def listed(client: Client, operation: str) -> str:
    """The status of an operation that has ended, as lists say it."""

    async def status() -> str | None:
        rows = await listing.operations(client, service=operation.partition("/op/")[0])
        return next((row.status for row in rows if row.id == operation and row.finished_at), None)

    return await until_async(status, f"lists have seen the end of {operation}")
