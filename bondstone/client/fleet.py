"""The whole fleet, as visibility knows it, for campaigns and checks: no workflow is woken."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from statistics import median
from typing import Final

from temporalio.client import Client, RPCError
from temporalio.common import SearchAttributeKey

from bondstone import names
from bondstone.campaign.fleet import FleetService
from bondstone.client.listing import keyword
from bondstone.errors import Unreachable
from bondstone.temporal import reason

COUNT_TRIES: Final = 5
"""Visibility lags: the fleet is listed again when a count afterwards says something else."""
COUNT_PAUSE_SECONDS: Final = 0.5
SAMPLES: Final = 500
"""Past operations that durations are taken from: the last ones of each kind."""

_ALIVE: Final = f"WorkflowType = '{names.SERVICE_WORKFLOW}' AND ExecutionStatus = 'Running'"


async def fleet(client: Client) -> list[FleetService]:
    """Every service there is, by id, checked against a count.

    Raises:
        Unreachable: Temporal does not answer.
    """
    found: dict[str, FleetService] = {}
    listed = -1
    for _ in range(COUNT_TRIES):
        found, listed = await _listed(client)
        if listed == await _count(client):
            break
        await asyncio.sleep(COUNT_PAUSE_SECONDS)
    return [found[service] for service in sorted(found)]


async def past_seconds(client: Client, operation: str) -> Mapping[str, tuple[float, int]]:
    """How long operations of one kind that succeeded took: median in seconds and number of them, by promise."""
    workflow = names.OPERATION_WORKFLOWS[operation]
    query = f"WorkflowType = '{workflow}' AND ExecutionStatus = 'Completed'"
    took: dict[str, list[timedelta]] = {}
    try:
        async for execution in client.list_workflows(query, limit=SAMPLES):
            if execution.close_time is not None:
                promise = keyword(execution.typed_search_attributes, names.SA_PROMISE)
                took.setdefault(promise, []).append(execution.close_time - execution.start_time)
    except RPCError as error:
        raise _unreachable(error) from error
    return {promise: (median(each).total_seconds(), len(each)) for promise, each in took.items()}  # type: ignore[type-var] # typeshed wants numbers; durations can be halved too


async def _listed(client: Client) -> tuple[dict[str, FleetService], int]:
    """The services, and how many workflows there were: some are started and have accepted nothing yet."""
    found: dict[str, FleetService] = {}
    workflows = set()
    try:
        async for execution in client.list_workflows(_ALIVE):
            workflows.add(execution.id)
            attributes = execution.typed_search_attributes
            service = keyword(attributes, names.SA_SERVICE)
            if not service:
                continue
            promise, _, version = keyword(attributes, names.SA_REVISION).partition("@")
            labels = attributes.get(SearchAttributeKey.for_keyword_list(names.SA_LABELS)) or []
            found[service] = FleetService(
                id=service,
                promise=promise or keyword(attributes, names.SA_PROMISE),
                version=version,
                phase=keyword(attributes, names.SA_PHASE),
                health=keyword(attributes, names.SA_HEALTH),
                labels=dict(label.split("=", 1) for label in labels),
            )
    except RPCError as error:
        raise _unreachable(error) from error
    return found, len(workflows)


async def _count(client: Client) -> int:
    try:
        return (await client.count_workflows(_ALIVE)).count
    except RPCError as error:
        raise _unreachable(error) from error


def _unreachable(error: RPCError) -> Unreachable:
    return Unreachable(
        f"Temporal did not list the fleet: {reason(error.message)}", hint="`bond status` shows what runs"
    )
