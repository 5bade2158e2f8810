"""`/api/v1/operations` and `/api/v1/approvals`: runs of work on services, and the plans that wait for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import Response

from bondstone.api.events.logs import lines, position_of, reader
from bondstone.api.events.streams import answer, states
from bondstone.api.events.watchers import Seen
from bondstone.api.parameters import (
    Name,
    Number,
    Reason,
    RoleNames,
    Step,
    Team,
    Why,
)
from bondstone.api.repeats import ApiRoute
from bondstone.api.session import Asking, CallSession, IfNoneMatch, LastEventId, WaitSeconds, body_of, tag, tagged
from bondstone.base.models import Manifest
from bondstone.base.names import NAME_PATTERN, SERVICE_PATTERN
from bondstone.client.documents.log import LogDocument
from bondstone.client.documents.service import OperationDocument
from bondstone.client.documents.step import ApprovalDocument, PlanDocument
from bondstone.model.identity import Target
from bondstone.model.rows import OperationRow
from bondstone.model.service import ServiceId

router = APIRouter(tags=["operations"], route_class=ApiRoute)

_OPERATION = "/operations/{team}/{name}/op/{number}"
StepQuery = Annotated[str, Query(pattern=f"^$|{NAME_PATTERN}", description="Of this step only")]


class ApproveBody(Manifest):
    """A vote for one exact plan."""

    digest: str = Field(max_length=80)
    """sha256 of the plan, or at least its first 12 characters"""
    step: Step = ""
    roles: RoleNames = ()
    """In which the caller votes; default: all that count"""
    comment: Reason = ""


class RejectBody(Manifest):
    """A vote against one exact plan."""

    digest: str = Field(max_length=80)
    """sha256 of the plan, or at least its first 12 characters"""
    reason: Reason = ""
    step: Step = ""
    roles: RoleNames = ()


@router.get("/operations")
async def list_operations(
    asking: Asking, service: Annotated[str, Query(pattern=f"^$|{SERVICE_PATTERN}")] = ""
) -> list[OperationRow]:
    """List operations within Temporal's retention, the newest thousand first."""
    permitted = asking.allowed.filter("operation.read")
    rows = await asking.bond.operations.list(service)
    await asking.state.services.ready()
    return [row for row in rows if permitted(_target(asking, row.service, row.revision.partition("@")[0]))]


@router.get(_OPERATION, response_model=OperationDocument)
async def show_operation(
    asking: Asking, team: Team, name: Name, number: Number, *,
    if_none_match: IfNoneMatch = "", wait: WaitSeconds = 0,
    through_approvals: bool = False,
) -> Response:  # fmt: skip
    """Show one operation; with `wait` once it has ended or waits for approval, or the seconds are over."""
    document = await _readable(asking, "operation.read", _id(team, name, number))
    if wait and not document.status.ended:
        waited = await asking.within(
            wait, asking.bond.operations.wait(document.id, through_approvals=through_approvals)
        )
        document = waited or await asking.bond.operations.get(document.id)
    return tagged(document, if_none_match)


@router.get(f"{_OPERATION}/events", response_class=Response)
async def follow_operation(
    asking: Asking, team: Team, name: Name, number: Number, last_event_id: LastEventId = ""
) -> Response:
    """Follow one operation: an event `operation` for each state of it, then `end`."""
    operation = _id(team, name, number)
    await _readable(asking, "operation.read", operation)

    async def read() -> Seen:
        document = await asking.bond.operations.get(operation)
        body = body_of(document)
        return Seen(tag(body).strip('"'), "operation", body.decode(), final=document.status.ended)

    watchers = asking.state.watchers
    return answer(watchers, states(watchers, f"operation/{operation}", read, last_event_id), last_event_id)


@router.get(f"{_OPERATION}/plans")
async def show_plans(
    asking: Asking, team: Team, name: Name, number: Number, step: StepQuery = ""
) -> list[PlanDocument]:
    """Show what each step would change, or changed."""
    operation = _id(team, name, number)
    await _readable(asking, "operation.plan", operation)
    return await asking.bond.operations.plans(operation, step=step)


@router.get(f"{_OPERATION}/logs")
async def list_logs(
    asking: Asking, team: Team, name: Name, number: Number, step: StepQuery = ""
) -> list[LogDocument]:
    """List the logs of an operation."""
    operation = _id(team, name, number)
    await _readable(asking, "operation.logs", operation)
    return await asking.bond.logs.list(operation, step=step)


@router.get(f"{_OPERATION}/logs/events", response_class=Response)
async def follow_logs(
    asking: Asking, team: Team, name: Name, number: Number, *, last_event_id: LastEventId = "", follow: bool = True
) -> Response:
    """Read the logs of an operation from the beginning; with `follow` until it has ended."""
    operation = _id(team, name, number)
    await _readable(asking, "operation.logs", operation)
    ended_before = last_event_id.endswith(":end")
    position = [] if ended_before else position_of(last_event_id)

    async def ended() -> bool:
        return not follow or (await asking.bond.operations.get(operation)).status.ended

    read = reader(asking.state.store.logs, ServiceId(team=team, name=name), number, ended)
    watchers = asking.state.watchers
    events = lines(watchers, asking.state.chunks, f"log/{operation}/{follow}", read, position)
    return answer(watchers, events, last_event_id)


@router.post(f"{_OPERATION}/cancel")
async def cancel_operation(asking: Asking, team: Team, name: Name, number: Number, body: Why) -> OperationDocument:
    """Cancel an operation that runs or waits."""
    operation = _id(team, name, number)
    await _readable(asking, "service.cancel", operation)
    return await asking.bond.operations.cancel(operation, reason=body.reason)


@router.post(f"{_OPERATION}/approve")
async def approve_plan(
    asking: Asking, team: Team, name: Name, number: Number, body: ApproveBody
) -> ApprovalDocument:
    """Approve one exact plan, named by its digest."""
    operation = _id(team, name, number)
    roles = await _voting(asking, "approval.approve", operation, body.roles)
    return await asking.bond.approvals.approve(
        operation, body.digest, step=body.step, roles=roles, comment=body.comment
    )


@router.post(f"{_OPERATION}/reject")
async def reject_plan(
    asking: Asking, team: Team, name: Name, number: Number, body: RejectBody
) -> ApprovalDocument:
    """Reject one exact plan: the operation ends."""
    operation = _id(team, name, number)
    roles = await _voting(asking, "approval.reject", operation, body.roles)
    return await asking.bond.approvals.reject(
        operation, body.digest, reason=body.reason, step=body.step, roles=roles
    )


@router.get("/approvals", tags=["approvals"])
async def list_approvals(asking: Asking) -> list[ApprovalDocument]:
    """List the plans that wait for approval, the longest wait first."""
    permitted = asking.allowed.filter("approval.read")
    gates = await asking.bond.approvals.list()
    await asking.state.services.ready()
    return [
        gate
        for gate in gates
        if permitted(_target(asking, gate.operation.partition("/op/")[0], gate.revision.partition("@")[0]))
    ]


# Helpers ----------------------------------------------------------------------------------------------------


def _id(team: str, name: str, number: int) -> str:
    return f"{team}/{name}/op/{number}"


def _target(asking: CallSession, service: str, promise: str) -> Target:
    """A service as access documents see it, once the index is ready: it has the labels a role is granted for."""
    entry = asking.state.services.get(service)
    if entry is not None:
        return entry.target
    return Target(team=service.partition("/")[0], promise=promise, name=service)


async def _readable(asking: CallSession, verb: str, operation: str) -> OperationDocument:
    document = await asking.bond.operations.get(operation)
    await asking.state.services.ready()
    asking.require(verb, _target(asking, document.service, document.revision.partition("@")[0]))
    return document


async def _voting(asking: CallSession, verb: str, operation: str, roles: Sequence[str]) -> tuple[str, ...]:
    document = await asking.bond.operations.get(operation)
    await asking.state.services.ready()
    target = _target(asking, document.service, document.revision.partition("@")[0])
    return asking.votes(asking.require(verb, target), roles)
