"""One operation, as a client holds it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from temporalio.client import WorkflowFailureError
from temporalio.service import RPCError

from bondstone.base import names
from bondstone.base.errors import NotFound, OperationFailed, Unreachable, from_info
from bondstone.model.plan import Change, PlanRef
from bondstone.model.service import Approval, OperationRecord, OperationStatus, StepRecord, VoteCall
from bondstone.temporal import calls

if TYPE_CHECKING:
    from bondstone.client.bondstone import Bondstone
    from bondstone.temporal.retries import Retrying

STARTS_WITHIN_SECONDS: Final = (0.02, 0.05, 0.1)
"""Pauses in which the workflow of an operation that was accepted just now appears, where nothing else is busy."""
FIRST_POLL_SECONDS: Final = 0.05
SLOWEST_POLL_SECONDS: Final = 1.0
PATIENCE_SECONDS: Final = 180.0
"""How long a platform that does not answer is waited for."""


_AT_WORK = frozenset({OperationStatus.RUNNING, OperationStatus.AWAITING_APPROVAL})


class Operation:
    """A handle on one operation; it need not exist, or may have ended long ago.

    Args:
        bond: The client it belongs to.
        operation_id: `TEAM/NAME/op/N`.
    """

    def __init__(self, bond: Bondstone, operation_id: str) -> None:
        self._bond = bond
        self.team, self.name, self.number = names.parse_operation(operation_id)
        self.warnings: tuple[str, ...] = ()
        """What the platform remarked when it accepted the request."""

    @property
    def id(self) -> str:
        """`TEAM/NAME/op/N`."""
        return f"{self.team}/{self.name}/op/{self.number}"

    @property
    def workflow_id(self) -> str:
        """The workflow that runs it."""
        return names.operation_workflow_id(self.team, self.name, self.number)

    async def record(self) -> OperationRecord:
        """The operation as it stands: from its service, its own workflow while it runs, or the ledger.

        Raises:
            NotFound: there never was such an operation.
        """
        found = await self._found()
        if found.status.ended or found.status is OperationStatus.QUEUED:
            return found
        return await self._live(found)

    async def retrying(self) -> list[Retrying]:
        """What it tries again and why, while it runs; empty when everything goes on.

        Raises:
            Unreachable: Temporal does not answer.
        """
        from bondstone.temporal.retries import retrying  # noqa: PLC0415 - only for those who look

        return await retrying(self._bond.temporal, self.workflow_id)

    async def result(self, on_change: Callable[[OperationRecord], None] | None = None) -> OperationRecord:
        """Wait until it has ended and is committed.

        Args:
            on_change: Called with the record whenever it has changed, for live views.

        Raises:
            OperationFailed: or whichever error it failed with, of `bondstone.base.errors`.
        """
        record = await self.wait(on_change)
        if record.status is OperationStatus.SUCCEEDED:
            return record
        if record.error is None:
            raise OperationFailed(f"the operation ended {record.status}", where=self.id)
        raise from_info(record.error.changed(where=record.error.where or self.id))

    async def wait(
        self,
        on_change: Callable[[OperationRecord], None] | None = None,
        *,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> OperationRecord:
        """Wait until it has ended, however it ended; a platform that restarts meanwhile is waited for.

        Args:
            on_change: Called with the record whenever it has changed, for live views.
            patience_seconds: How long the platform may not answer.

        Raises:
            Unreachable: it did not answer for so long; the operation goes on when it is back.
        """
        pause = FIRST_POLL_SECONDS
        seen: OperationRecord | None = None
        answered = time.monotonic()
        closed: asyncio.Task[bool] | None = None
        ask = self.record
        if on_change is None and await self._heard_closing():
            ask = self._found
        try:
            while True:
                going = seen if closed is not None and not closed.done() else None
                try:
                    record = await (self._live(going) if going else ask())
                except Unreachable:
                    if time.monotonic() - answered >= patience_seconds:
                        raise
                    await asyncio.sleep(SLOWEST_POLL_SECONDS)
                    continue
                answered = time.monotonic()
                if record != seen and on_change is not None:
                    on_change(record)
                if record.status.ended:
                    return record
                pause = FIRST_POLL_SECONDS if record != seen else min(pause * 1.5, SLOWEST_POLL_SECONDS)
                seen = record
                if record.status in _AT_WORK and (closed is None or _failed(closed)):
                    closed = asyncio.create_task(self._closed())
                if closed is None or closed.done():
                    await asyncio.sleep(pause)
                else:
                    await asyncio.wait({closed}, timeout=None if on_change is None else pause)
                    pause = FIRST_POLL_SECONDS if closed.done() else pause
        finally:
            if closed is not None:
                closed.cancel()

    async def step(self, step: str = "") -> StepRecord:
        """One step's record; the only one when `step` is empty and there is just one.

        Raises:
            NotFound: naming the steps there are.
        """
        record = await self.record()
        steps = {found.id: found for found in record.steps}
        if not step and len(steps) == 1:
            return next(iter(steps.values()))
        if step not in steps:
            raise NotFound(
                f"{self.id} has no step {step!r}" if step else "say which step",
                where=self.id,
                hint="its steps are " + (", ".join(steps) or "not known yet"),
            )
        return steps[step]

    async def plan(self, step: str = "") -> tuple[PlanRef, list[Change]]:
        """A step's plan and its change set, sensitive values masked.

        Raises:
            NotFound: the step has no plan (yet).
        """
        record = await self.step(step)
        if record.plan is None or not record.plan.key:
            raise NotFound(f"step {record.id} of {self.id} has no plan", hint=f"the step is {record.status}")
        return record.plan, await self._bond.store.plans.changes(record.plan)

    async def _live(self, found: OperationRecord) -> OperationRecord:
        """A running operation as its own workflow knows it."""
        try:
            live = await calls.query(self._bond.temporal, self.workflow_id, OperationRecord)
        except NotFound:  # accepted, and its workflow not started yet
            return found
        return live if live.request_id == found.request_id else found

    async def approve(self, step: str, digest: str, *, roles: Sequence[str] = (), comment: str = "") -> Approval:
        """Give one's word for the plan of a step, named by its digest.

        Raises:
            Refused: the vote does not count, in words why.
        """
        return await self._vote(names.UPDATE_APPROVE, step, digest, roles, comment)

    async def reject(self, step: str, digest: str, *, reason: str, roles: Sequence[str] = ()) -> Approval:
        """Give one's word against the plan of a step: the operation ends."""
        return await self._vote(names.UPDATE_REJECT, step, digest, roles, reason)

    async def _vote(self, update: str, step: str, digest: str, roles: Sequence[str], comment: str) -> Approval:
        call = VoteCall(step=step, digest=digest, by=self._bond.by, roles=tuple(roles), comment=comment)
        return await calls.update(self._bond.temporal, self.workflow_id, update, call, Approval)

    async def _found(self) -> OperationRecord:
        """The operation as its service or the ledger knows it: of one that runs, without its steps."""
        found = await self._in_service()
        if found is None:
            found = await self._in_ledger()
        if found is None:
            raise NotFound(f"there is no operation {self.id}", hint="see `bond operation list`")
        return found

    async def _in_service(self) -> OperationRecord | None:
        try:
            state = await self._bond.service(f"{self.team}/{self.name}")
        except NotFound:
            return None
        pending = (waiting.record for waiting in state.queue)
        known = (*pending, *state.operations)
        return next((record for record in known if record.number == self.number), None)

    async def _in_ledger(self) -> OperationRecord | None:
        for entry in await self._bond.history(f"{self.team}/{self.name}"):
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

    async def _heard_closing(self) -> bool:
        """For whoever watches no steps: hear that it closed. A query would cost 10 ms of CPU each time."""
        for pause in STARTS_WITHIN_SECONDS:
            if await self._closed():
                await asyncio.sleep(FIRST_POLL_SECONDS)  # the service commits it meanwhile
                return True
            await asyncio.sleep(pause)
        return False

    async def _closed(self) -> bool:
        """Wait until its workflow has closed, which costs no worker anything; False when nobody could say."""
        handle = self._bond.temporal.get_workflow_handle(self.workflow_id)
        try:
            await handle.result()
        except WorkflowFailureError:
            return True
        except RPCError:
            return False
        return True


def _failed(closed: asyncio.Task[bool]) -> bool:
    return closed.done() and not closed.result()
