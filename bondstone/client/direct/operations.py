"""Operations over Temporal: workflows, which the service and the ledger outlive. `Bondstone.operations`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from temporalio.client import WorkflowFailureError
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError
from typing_extensions import override

from bondstone.base import names
from bondstone.base.errors import NotFound, Unreachable
from bondstone.client.operations import PATIENCE_SECONDS, OnChange, Operations
from bondstone.model.service import CancelCall, OperationRecord, OperationStatus, Phase
from bondstone.temporal import calls, listing
from bondstone.temporal.service_ids import service_id

if TYPE_CHECKING:
    from bondstone.client.direct.client import DirectClient
    from bondstone.client.documents.service import OperationDocument
    from bondstone.client.documents.step import PlanDocument
    from bondstone.model.rows import OperationRow
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


class DirectOperations(Operations):
    """Operations over Temporal and the object store.

    Args:
        bond: The client.
    """

    def __init__(self, bond: DirectClient) -> None:
        self._bond = bond
        self._connection = bond.connection

    @override
    async def get(self, operation: str) -> OperationDocument:
        record = await self.record(operation)
        return await self._document(record)

    async def record(self, operation: str) -> OperationRecord:
        """The operation as it is kept: by its service, its own workflow while it runs, or the ledger.

        Args:
            operation: `TEAM/NAME/op/N`.

        Raises:
            NotFound: there never was such an operation.
        """
        return await _Watched(self._bond, operation).record()

    @override
    async def plans(self, operation: str, *, step: str = "") -> list[PlanDocument]:
        record = await self.record(operation)
        plans = await self._plans(record, step)
        if not plans:
            states = ", ".join(f"{each.id}: {each.status}" for each in record.steps)
            if step and step not in {each.id for each in record.steps}:
                raise NotFound(f"{operation} has no step {step!r}", hint=states or "its steps are not known yet")
            message = f"step {step} of {operation} has no plan" if step else f"no step of {operation} has a plan"
            raise NotFound(message, hint=states or "its steps are not known yet")
        return [*plans]

    @override
    async def cancel(self, operation: str, *, reason: str = "") -> OperationDocument:
        team, name, number = names.parse_operation(operation)
        call = CancelCall(
            number=number, requested_by=self._bond.by, reason=reason, expected_state=self._bond.expected_state
        )
        workflow_id = names.service_workflow_id(team, name)
        temporal = await self._connection.temporal()
        record = await calls.update(temporal, workflow_id, names.UPDATE_CANCEL_OPERATION, call, OperationRecord)
        return await self._document(record)

    @override
    async def wait(
        self,
        operation: str,
        on_change: OnChange | None = None,
        *,
        through_approvals: bool = False,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> OperationDocument:
        from bondstone.client.documents.service import OperationDocument  # noqa: PLC0415 - loads while the platform works

        def changed(record: OperationRecord) -> None:
            if on_change is not None:
                on_change(OperationDocument.of(record, self._bond.settings))

        watched = _Watched(self._bond, operation)
        record = await watched.wait(
            None if on_change is None else changed,
            through_approvals=through_approvals,
            patience_seconds=patience_seconds,
        )
        return await self._document(record, live=False)

    async def ended(self, operation: str) -> OperationRecord:
        """Wait until an operation has ended, through every approval; as it is kept.

        Args:
            operation: `TEAM/NAME/op/N`.
        """
        watched = _Watched(self._bond, operation)
        return await watched.wait(None, through_approvals=True, patience_seconds=PATIENCE_SECONDS)

    async def pending(self, record: OperationRecord) -> Pending:
        """What an operation does now, and what it tries again and why; nothing unless it runs.

        Args:
            record: The operation.
        """
        from bondstone.temporal.pending import Pending, pending  # noqa: PLC0415 - only for those who look

        if record.status is not OperationStatus.RUNNING:
            return Pending()
        return await pending(await self._connection.temporal(), record.workflow_id)

    @override
    async def list(self, service: str = "") -> list[OperationRow]:
        if service:
            service_id(service)
        return await listing.operations(await self._connection.temporal(), service=service)

    # Helpers -----------------------------------------------------------------------------------------------------

    async def _document(self, record: OperationRecord, *, live: bool = True) -> OperationDocument:
        """An operation for programs: of a dry run with its plans, of one that runs with what it does now."""
        from bondstone.client.documents.service import OperationDocument  # noqa: PLC0415 - most verbs print none

        plans = await self._plans(record) if record.dry_run and record.status.ended else []
        pending = await self.pending(record) if live else None
        return OperationDocument.of(record, self._bond.settings, plans, pending)

    async def _plans(self, record: OperationRecord, step: str = "") -> Sequence[PlanDocument]:
        """The plans that are kept of an operation, or of one of its steps, in the order of its steps."""
        from bondstone.client.documents.step import PlanDocument  # noqa: PLC0415 - as above

        planned = [(each, each.plan) for each in record.steps if each.plan is not None and each.plan.key]
        if not planned:
            return []
        kept = (await self._connection.store()).plans
        return [
            PlanDocument.of(record, each, plan, await kept.changes(plan))
            for each, plan in planned
            if not step or each.id == step
        ]


class _Watched:
    """One operation, read and waited for.

    Args:
        bond: The client.
        operation: `TEAM/NAME/op/N`.
    """

    def __init__(self, bond: DirectClient, operation: str) -> None:
        self._bond = bond
        self.team, self.name, self.number = names.parse_operation(operation)
        self.id = operation
        self.workflow_id = names.operation_workflow_id(self.team, self.name, self.number)

    async def record(self) -> OperationRecord:
        """As it stands."""
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
            live = await calls.query(await self._bond.connection.temporal(), self.workflow_id, OperationRecord)
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
            state = await self._bond.services.read(f"{self.team}/{self.name}")
        except NotFound:
            return None
        pending = (waiting.record for waiting in state.queue)
        known = (*pending, *state.operations)
        return next((record for record in known if record.number == self.number), None)

    async def _in_ledger(self) -> OperationRecord | None:
        for entry in await self._bond.services.ledger(f"{self.team}/{self.name}"):
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
                    await self._until_committed()
                    return True
            finally:
                closed.cancel()
            await asyncio.sleep(pause)
        return False

    async def _until_committed(self) -> None:
        """Look at the service's search attributes until they no longer name the operation; soon or not at all."""
        temporal = await self._bond.connection.temporal()
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
        handle = (await self._bond.connection.temporal()).get_workflow_handle(self.workflow_id)
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
        temporal = await self._bond.connection.temporal()
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
