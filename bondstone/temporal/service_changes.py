"""Services as visibility lists them, with the moment each was last changed: what an index is kept by."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Final

from temporalio.client import Client, RPCError, WorkflowExecution, WorkflowExecutionStatus
from temporalio.common import SearchAttributeKey

from bondstone.base import names
from bondstone.base.errors import Unreachable
from bondstone.model.rows import ListedService
from bondstone.temporal.connection import reason
from bondstone.temporal.listing import service_row

PAGE: Final = 1000
"""Rows a page: the most that Temporal gives."""

_CHANGED_AT = SearchAttributeKey.for_datetime(names.SA_CHANGED_AT)
_SHOWN: Final = f"WorkflowType = '{names.SERVICE_WORKFLOW}' AND ExecutionStatus IN ('Running', 'Completed')"
_ALIVE: Final = f"WorkflowType = '{names.SERVICE_WORKFLOW}' AND ExecutionStatus = 'Running'"


class ServiceVisibility:
    """What Temporal's visibility says of all services.

    Args:
        client: The connection.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    async def listed(
        self, *, since: datetime | None = None, pause_seconds: float = 0.0
    ) -> AsyncIterator[list[ListedService]]:
        """Every service within retention, or those that changed since a moment, a page at a time.

        Args:
            since: Only those changed at this moment or later; a service that was last changed by a version of
                Bondstone without that mark is in the whole list only.
            pause_seconds: Between two pages, so that Temporal serves others meanwhile.

        Raises:
            Unreachable: Temporal does not answer.
        """
        query = _SHOWN if since is None else f"{_SHOWN} AND {names.SA_CHANGED_AT} >= '{_instant(since)}'"
        pages = self._client.list_workflows(query, page_size=PAGE)
        try:
            while True:
                await pages.fetch_next_page(page_size=PAGE)
                listed = [_listed(execution) for execution in pages.current_page or ()]
                yield [service for service in listed if service is not None]
                if not pages.next_page_token:
                    return
                await asyncio.sleep(pause_seconds)
        except RPCError as error:
            raise Unreachable(
                f"Temporal did not list the services: {reason(error.message)}",
                hint="`bond status` shows what runs",
            ) from error

    async def count_alive(self) -> int:
        """How many services are alive, of those that lists show.

        Raises:
            Unreachable: Temporal does not answer.
        """
        try:
            return (await self._client.count_workflows(f"{_ALIVE} AND {names.SA_SERVICE} IS NOT NULL")).count
        except RPCError as error:
            raise Unreachable(f"Temporal did not count the services: {reason(error.message)}") from error


def _listed(execution: WorkflowExecution) -> ListedService | None:
    row = service_row(execution)
    if row is None:
        return None
    stamp = execution.typed_search_attributes.get(_CHANGED_AT) or execution.start_time
    return ListedService(
        row=row, alive=execution.status is WorkflowExecutionStatus.RUNNING, stamp=stamp.astimezone(UTC)
    )


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
