"""The whole fleet, as visibility knows it, for campaigns and checks: no workflow is woken."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from statistics import median
from typing import Final

from temporalio.client import Client, RPCError

from bondstone.base import names
from bondstone.base.errors import Unreachable
from bondstone.campaign.fleet import FleetService
from bondstone.model.service import Phase
from bondstone.store import Store
from bondstone.temporal import listing
from bondstone.temporal.connection import reason
from bondstone.temporal.fleet_list import KeptFleet, alive_services
from bondstone.temporal.service_changes import ServiceVisibility

SAMPLES: Final = 500
"""Past operations that durations are taken from: the last ones of each kind."""

_NEVER_STOOD: Final = frozenset({Phase.REQUESTED, Phase.PROVISIONING})
"""The revision that lists show of these is the one they are to get first."""


async def fleet(client: Client, store: Store) -> list[FleetService]:
    """Every service there is, by id, checked against a count.

    Args:
        client: The connection to Temporal.
        store: Where the last list is kept, so that only what has changed since is listed.

    Raises:
        Unreachable: Temporal does not answer, or list and count would not agree.
    """
    return [
        FleetService(
            id=row.id,
            promise=row.promise,
            version="" if row.phase in _NEVER_STOOD else row.revision.partition("@")[2],
            phase=row.phase,
            health=row.health,
            labels=row.labels,
            pool=row.pool,
            parent=row.parent,
            bound_by=row.bound_by,
            drift=row.drift,
        )
        for row in await alive_services(ServiceVisibility(client), KeptFleet(store))
    ]


async def past_seconds(client: Client, operation: str) -> Mapping[str, tuple[float, int]]:
    """How long operations of one kind that succeeded took: median in seconds and number of them, by promise.

    Dry runs are not among them: they change nothing, and so take less.
    """
    workflow = names.OPERATION_WORKFLOWS[operation]
    query = f"WorkflowType = '{workflow}' AND ExecutionStatus = 'Completed'"
    took: dict[str, list[timedelta]] = {}
    try:
        async for execution in client.list_workflows(query, limit=SAMPLES):
            if execution.close_time is not None and names.MEMO_DRY_RUN not in execution.raw_info.memo.fields:
                promise = listing.keyword(execution.typed_search_attributes, names.SA_PROMISE)
                took.setdefault(promise, []).append(execution.close_time - execution.start_time)
    except RPCError as error:
        raise Unreachable(
            f"Temporal did not list past operations: {reason(error.message)}", hint="`bond status` shows what runs"
        ) from error
    return {promise: (median(each).total_seconds(), len(each)) for promise, each in took.items()}  # type: ignore[type-var] # typeshed wants numbers; durations can be halved too
