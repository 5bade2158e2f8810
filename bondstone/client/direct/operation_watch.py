"""One operation, read and waited for: by its service, its own workflow while it runs, or the ledger."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from temporalio.client import WorkflowFailureError
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError

from bondstone.base import names
from bondstone.base.errors import NotFound, Unreachable
from bondstone.client.direct.service_reading import read_ledger, read_state
from bondstone.client.operations import PATIENCE_SECONDS
from bondstone.model.service import OperationRecord, OperationStatus, Phase
from bondstone.temporal import calls

if TYPE_CHECKING:
    from bondstone.client.direct.connection import Connection
    from bondstone.temporal.pending import Pending

STARTS_WITHIN_SECONDS: Final = (0.02, 0.05, 0.1)
"""Pauses in which the workflow of an operation that was accepted just now appears, where nothing else is busy."""
COMMITS_WITHIN_SECONDS: Final = (0.02, 0.03, 0.05, 0.1, 0.2, 0.4)
"""Pauses in which a service commits an operation that has ended, where the ledger is written at once."""
FIRST_POLL_SECONDS: Final = 0.05
SLOWEST_POLL_SECONDS: Final = 1.0

_AT_WORK: Final = frozenset({OperationStatus.RUNNING, OperationStatus.AWAITING_APPROVAL})
_AWAITING: Final = OperationStatus.AWAITING_APPROVAL
_OPERATION: Final = SearchAttributeKey.for_keyword(names.SA_OPERATION)
_PHASE: Final = SearchAttributeKey.for_keyword(names.SA_PHASE)


class WatchedOperation:
    """One operation, read and waited for.

    Args:
        connection: To the platform.
        operation: `TEAM/NAME/op/N`.
    """

    def __init__(self, connection: Connection, operation: str) -> None:
        self._connection = connection
        self.team, self.name, self.number = names.parse_operation(operation)
        self.id = operation
        self.workflow_id = names.operation_workflow_id(self.team, self.name, self.number)

    async def record(self) -> OperationRecord:
        """The operation as it is kept: by its service, its own workflow while it runs, or the ledger.

        Raises:
            NotFound: there never was such an operation.
        """
        record = await self._known()
        if record.status.ended or record.status is OperationStatus.QUEUED:
            return record
        return await self._live(record)

    async def wait(
        self,
        on_change: Callable[[OperationRecord], None] | None,
        *,
        through_approvals: bool,
        patience_seconds: float,
    ) -> OperationRecord:
        """Wait until it has ended, or waits for an approval; see `Operations.wait`."""
        pause = FIRST_POLL_SECONDS
        previous: OperationRecord | None = None
        answered = time.monotonic()
        silent = on_change is None
        ask = self.record
        if silent and await self._close_heard(through_approvals=through_approvals):
            ask = self._known
        async with self._closing() as closing:
            while True:
                try:
                    record = await (self._live(previous) if previous and closing.is_awaited else ask())
                except Unreachable:
                    if time.monotonic() - answered >= patience_seconds:
                        raise
                    await asyncio.sleep(SLOWEST_POLL_SECONDS)
                    continue
                answered = time.monotonic()
                if record != previous and on_change is not None:
                    on_change(record)
                if record.status.ended or (record.status == _AWAITING and not through_approvals):
                    return record
                pause = FIRST_POLL_SECONDS if record != previous else min(pause * 1.5, SLOWEST_POLL_SECONDS)
                previous = record
                if record.status in _AT_WORK:
                    closing.begin()
                if await closing.pause(pause, until_end=silent and through_approvals):
                    pause = FIRST_POLL_SECONDS

    async def ended(self) -> OperationRecord:
        """Wait until it has ended, through every approval."""
        return await self.wait(None, through_approvals=True, patience_seconds=PATIENCE_SECONDS)

    @asynccontextmanager
    async def _closing(self) -> AsyncIterator[_Closing]:
        closing = _Closing(self._closed)
        try:
            yield closing
        finally:
            closing.cancel()

    async def _live(self, known: OperationRecord) -> OperationRecord:
        """A running operation as its own workflow knows it."""
        try:
            live = await calls.query(await self._connection.temporal(), self.workflow_id, OperationRecord)
        except NotFound:  # accepted, and its workflow not started yet
            return known
        return live if live.request_id == known.request_id else known

    async def _known(self) -> OperationRecord:
        """The operation as its service or the ledger knows it: of one that runs, without its steps."""
        record = await self._in_service() or await self._in_ledger()
        if record is None:
            raise NotFound(f"there is no operation {self.id}", hint="see `bond operation list`")
        return record

    async def _in_service(self) -> OperationRecord | None:
        try:
            state = await read_state(self._connection, f"{self.team}/{self.name}")
        except NotFound:
            return None
        pending = (waiting.record for waiting in state.queue)
        known = (*pending, *state.operations)
        return next((record for record in known if record.number == self.number), None)

    async def _in_ledger(self) -> OperationRecord | None:
        for entry in await read_ledger(self._connection, f"{self.team}/{self.name}"):
            if entry.kind == "operation" and entry.operation == self.number and entry.revision_after:
                return OperationRecord(
                    service=entry.service,
                    number=self.number,
                    kind=entry.operation_kind or "provision",
                    status=entry.status or OperationStatus.FAILED,
                    revision=entry.revision_after,
                    before=entry.revision_before,
                    request_id="unknown",
                    requested_by=entry.by,
                    requested_at=entry.requested_at or entry.at,
                    reason=entry.reason,
                    started_at=entry.started_at,
                    finished_at=entry.at,
                    steps=entry.steps,
                    approvals=entry.approvals,
                    dry_run=entry.dry_run,
                    retry_of=entry.retry_of,
                    drift=entry.drift,
                    error=entry.error,
                )
        return None

    async def _close_heard(self, *, through_approvals: bool) -> bool:
        """Hear that it has closed without a query, which costs 10 ms of CPU each time.

        Returns:
            False when it waits for an approval, when its workflow is not there (yet), or Temporal does not answer.
        """
        for pause in STARTS_WITHIN_SECONDS:
            closed = asyncio.create_task(self._closed())
            try:
                if through_approvals:
                    await closed
                else:
                    await self._until_closed_or_awaiting(closed)
                if not closed.done():
                    return False
                if closed.result():
                    await self.until_committed()
                    return True
            finally:
                closed.cancel()
            await asyncio.sleep(pause)
        return False

    async def until_committed(self) -> None:
        """Look at the service's search attributes until they no longer name the operation; soon or not at all."""
        temporal = await self._connection.temporal()
        handle = temporal.get_workflow_handle(names.service_workflow_id(self.team, self.name))
        for pause in COMMITS_WITHIN_SECONDS:
            await asyncio.sleep(pause)
            try:
                described = await handle.describe(rpc_timeout=calls.QUERY_TIMEOUT)
            except RPCError:
                return
            if described.typed_search_attributes.get(_OPERATION) != self.id:
                return

    async def _until_closed_or_awaiting(self, closed: asyncio.Task[bool]) -> None:
        """Look at the workflow's search attributes, which wakes no worker, until it waits for people or closes."""
        pause = FIRST_POLL_SECONDS
        handle = (await self._connection.temporal()).get_workflow_handle(self.workflow_id)
        while not closed.done():
            try:
                described = await handle.describe(rpc_timeout=calls.QUERY_TIMEOUT)
            except RPCError:
                await asyncio.wait({closed}, timeout=SLOWEST_POLL_SECONDS)
                continue
            if described.typed_search_attributes.get(_PHASE) == Phase.AWAITING_APPROVAL:
                return
            await asyncio.wait({closed}, timeout=pause)
            pause = min(pause * 1.5, SLOWEST_POLL_SECONDS)

    async def _closed(self) -> bool:
        """Wait until its workflow has closed, which costs no worker anything; False when nobody could say."""
        temporal = await self._connection.temporal()
        try:
            await temporal.get_workflow_handle(self.workflow_id).result()
        except WorkflowFailureError:
            return True
        except RPCError:
            return False
        return True


class _Closing:
    """The end of a workflow, heard in the background while it is polled.

    Args:
        closed: Waits until the workflow has closed; False when nobody could say.
    """

    def __init__(self, closed: Callable[[], Coroutine[None, None, bool]]) -> None:
        self._closed = closed
        self._task: asyncio.Task[bool] | None = None

    @property
    def is_awaited(self) -> bool:
        """Whether the end has not been heard yet, and would be."""
        return self._task is not None and not self._task.done()

    def begin(self) -> None:
        """Wait for the end, unless that is done already; again where nobody could say."""
        if self._task is None or (self._task.done() and not self._task.result()):
            self._task = asyncio.create_task(self._closed())

    async def pause(self, seconds: float, *, until_end: bool) -> bool:
        """Sleep, but not beyond the end; with `until_end` all the time until it. Whether the end was heard."""
        if self._task is None or self._task.done():
            await asyncio.sleep(seconds)
            return False
        await asyncio.wait({self._task}, timeout=None if until_end else seconds)
        return self._task.done()

    def cancel(self) -> None:
        """Wait no longer."""
        if self._task is not None:
            self._task.cancel()


async def pending_of(connection: Connection, record: OperationRecord) -> Pending:
    """What an operation does now, and what it tries again and why; nothing unless it runs.

    Args:
        connection: To the platform.
        record: The operation.
    """
    from bondstone.temporal.pending import Pending, pending  # noqa: PLC0415 - only for those who look

    if record.status is not OperationStatus.RUNNING:
        return Pending()
    return await pending(await connection.temporal(), record.workflow_id)
