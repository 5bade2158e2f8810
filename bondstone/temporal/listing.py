"""Lists, answered by Temporal's visibility alone: no workflow is woken, and what they say may lag a little."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from temporalio.client import Client, RPCError, WorkflowExecution, WorkflowExecutionStatus
from temporalio.common import SearchAttributeKey, TypedSearchAttributes

from bondstone.base import names
from bondstone.base.errors import InvalidInput, Unreachable
from bondstone.model.rows import BOUND_BY, MADE_FOR, OperationRow
from bondstone.model.service import OperationKind, OperationStatus, Phase
from bondstone.model.service_row import ServiceRow

DEFAULT_LIMIT: Final = 1000
_CREATED_AT = SearchAttributeKey.for_datetime(names.SA_CREATED_AT)
_DRIFT = SearchAttributeKey.for_int(names.SA_DRIFT)
_KIND_BY_TYPE = {workflow: OperationKind(kind) for kind, workflow in names.OPERATION_WORKFLOWS.items()}
_STATUS_BY_EXECUTION = {
    WorkflowExecutionStatus.RUNNING: OperationStatus.RUNNING,
    WorkflowExecutionStatus.COMPLETED: OperationStatus.SUCCEEDED,
    WorkflowExecutionStatus.CANCELED: OperationStatus.CANCELLED,
}
"""Any other one is a failure, as the service commits it: also of a workflow that was terminated by hand."""
_ENDS: Final = {str(status): status for status in OperationStatus if status.ended}


async def services(
    client: Client,
    *,
    team: str = "",
    promise: str = "",
    phase: str = "",
    labels: Mapping[str, str] | None = None,
    ended: bool = False,
    limit: int = DEFAULT_LIMIT,
) -> list[ServiceRow]:
    """Services by search attribute, sorted by id; with `ended`, those decommissioned within retention too."""
    if phase and phase not in set(Phase):
        raise InvalidInput(f"{phase!r} is not a phase", hint="one of " + ", ".join(Phase))
    clauses = [f"WorkflowType = '{names.SERVICE_WORKFLOW}'"]
    clauses.append("ExecutionStatus IN ('Running', 'Completed')" if ended else "ExecutionStatus = 'Running'")
    for attribute, value in ((names.SA_TEAM, team), (names.SA_PROMISE, promise), (names.SA_PHASE, phase)):
        if value:
            clauses.append(f"{attribute} = {_quoted(value)}")
    clauses += [f"{names.SA_LABELS} = {_quoted(f'{key}={value}')}" for key, value in (labels or {}).items()]
    rows = [service_row(execution) for execution in await _list(client, clauses, limit)]
    return sorted((row for row in rows if row is not None), key=lambda row: row.id)


async def operations(
    client: Client, *, service: str = "", waiting: bool = False, limit: int = DEFAULT_LIMIT
) -> list[OperationRow]:
    """Operations within retention, newest first; with `waiting` only those that wait for people."""
    types = ", ".join(f"'{name}'" for name in _KIND_BY_TYPE)
    clauses = [f"WorkflowType IN ({types})"]
    if service:
        clauses.append(f"{names.SA_SERVICE} = {_quoted(service)}")
    if waiting:
        clauses.append(f"ExecutionStatus = 'Running' AND {names.SA_PHASE} = '{Phase.AWAITING_APPROVAL}'")
    rows = [_operation_row(execution) for execution in await _list(client, clauses, limit)]
    return sorted(rows, key=lambda row: row.started_at, reverse=True)


@dataclass(frozen=True, slots=True)
class InFlight:
    """What has begun and not ended."""

    count: int
    named: tuple[str, ...]
    """The newest of it, in words: `payments/orders/op/3 (update, awaiting-approval)`, `campaign cve-1`."""


async def in_flight(client: Client, *, limit: int) -> InFlight:
    """The operations and campaigns that have not ended.

    Args:
        client: A connection.
        limit: How many of them are named.

    Raises:
        Unreachable: Temporal does not answer.
    """
    types = ", ".join(f"'{name}'" for name in (*_KIND_BY_TYPE, names.CAMPAIGN_WORKFLOW))
    query = f"WorkflowType IN ({types}) AND ExecutionStatus = 'Running'"
    running = await _list(client, [query], limit)
    if len(running) < limit:
        return InFlight(len(running), tuple(map(_in_words, running)))
    try:
        count = (await client.count_workflows(query)).count
    except RPCError as error:
        raise Unreachable(f"Temporal did not count what runs: {error.message[:200]}") from error
    return InFlight(max(count, len(running)), tuple(map(_in_words, running)))


def _in_words(execution: WorkflowExecution) -> str:
    if execution.workflow_type == names.CAMPAIGN_WORKFLOW:
        return f"campaign {names.campaign_of(execution.id)}"
    row = _operation_row(execution)
    return f"{row.id} ({row.kind}, {row.status})"


async def _list(client: Client, clauses: list[str], limit: int | None) -> list[WorkflowExecution]:
    try:
        return [execution async for execution in client.list_workflows(" AND ".join(clauses), limit=limit)]
    except RPCError as error:
        raise Unreachable(
            f"Temporal did not answer the list: {error.message[:200]}", hint="`bond status` shows what runs"
        ) from error


def service_row(execution: WorkflowExecution) -> ServiceRow | None:
    """A service in a list; None of one that has accepted no request yet."""
    attributes = execution.typed_search_attributes
    service = keyword(attributes, names.SA_SERVICE)
    if not service:
        return None  # started, and no request accepted yet
    team, _, name = service.partition("/")
    labels = attributes.get(SearchAttributeKey.for_keyword_list(names.SA_LABELS)) or []
    parents = attributes.get(SearchAttributeKey.for_keyword_list(names.SA_PARENTS)) or []
    return ServiceRow(
        id=service,
        team=team,
        name=name,
        promise=keyword(attributes, names.SA_PROMISE),
        revision=keyword(attributes, names.SA_REVISION),
        phase=keyword(attributes, names.SA_PHASE),
        health=keyword(attributes, names.SA_HEALTH),
        labels=dict(label.split("=", 1) for label in labels),
        pool=keyword(attributes, names.SA_POOL),
        parent=next((each.removeprefix(MADE_FOR) for each in parents if each.startswith(MADE_FOR)), ""),
        drift=attributes.get(_DRIFT) or 0,
        bound_by=tuple(sorted(each.removeprefix(BOUND_BY) for each in parents if each.startswith(BOUND_BY))),
        operation=keyword(attributes, names.SA_OPERATION) or None,
        changed_at=execution.start_time,
        created_at=attributes.get(_CREATED_AT),
    )


def _operation_row(execution: WorkflowExecution) -> OperationRow:
    attributes = execution.typed_search_attributes
    status = _STATUS_BY_EXECUTION.get(execution.status, OperationStatus.FAILED) if execution.status else ""
    told = keyword(attributes, names.SA_PHASE)
    if status is OperationStatus.RUNNING and told == OperationStatus.AWAITING_APPROVAL:
        status = OperationStatus.AWAITING_APPROVAL
    elif status is OperationStatus.FAILED:
        status = _ENDS.get(told, status)
    return OperationRow(
        id=execution.id.removeprefix("service/"),
        service=keyword(attributes, names.SA_SERVICE),
        kind=_KIND_BY_TYPE[execution.workflow_type],
        status=status,
        revision=keyword(attributes, names.SA_REVISION),
        started_at=execution.start_time,
        finished_at=execution.close_time,
    )


def keyword(attributes: TypedSearchAttributes, name: str) -> str:
    """The value of a search attribute; empty when it has none."""
    value: Any = attributes.get(SearchAttributeKey.for_keyword(name))
    return value or ""


def _quoted(value: str) -> str:
    """A string literal of the visibility query language; what could end it is refused."""
    if not value.isprintable() or any(char in value for char in "'\"\\"):
        raise InvalidInput(f"{value!r} cannot be searched for", hint="leave out quotes and backslashes")
    return f"'{value}'"
