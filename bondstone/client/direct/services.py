"""Services over Temporal: each is a workflow that is sent updates. `Bondstone.services`."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, Unpack

from temporalio.client import RPCError, WithStartWorkflowOperation
from temporalio.common import WorkflowIDConflictPolicy
from typing_extensions import override

from bondstone.base import names
from bondstone.base.errors import BondError, InvalidInput, NotFound, Refused, Unreachable
from bondstone.client.direct.operation_watch import WatchedOperation, pending_of
from bondstone.client.direct.service_reading import read_ledger, read_state
from bondstone.client.direct.tracing import asking
from bondstone.client.operations import Operation
from bondstone.client.services import Services
from bondstone.model.secret import refs_in, replace_refs
from bondstone.model.service import (
    AbandonCall,
    Accepted,
    KeptManifest,
    LabelsCall,
    OperationKind,
    OperationRecord,
    PauseCall,
    Phase,
    Request,
    RevisionRef,
    ServiceId,
    ServiceState,
)
from bondstone.temporal import calls, listing
from bondstone.temporal.service_ids import service_id, workflow_of

if TYPE_CHECKING:
    from bondstone.client.bondstone import Bondstone
    from bondstone.client.direct.connection import Caller
    from bondstone.client.direct.preparing import Preparation
    from bondstone.client.documents.service import ArchivedDocument, RecordDocument, ServiceDocument
    from bondstone.client.services import RequestOptions
    from bondstone.model.ledger import LedgerRecord
    from bondstone.model.service_row import ServiceRow

START_TRIES: Final = 3
"""A service may end after it was listed and before the request arrives; then it is started again."""

FIRST_POLL_SECONDS: Final = 0.1
SLOWEST_POLL_SECONDS: Final = 1.0


class DirectServices(Services):
    """Services over Temporal and the object store.

    Args:
        caller: Who asks, and by which connection.
        bond: The client, for the handles on operations.
    """

    def __init__(self, caller: Caller, bond: Bondstone) -> None:
        self._caller = caller
        self._bond = bond
        self._connection = caller.connection

    # Reading -----------------------------------------------------------------------------------------------------

    @override
    async def get(self, service: str) -> ServiceDocument:
        return await self._document(await self.read(service))

    async def current(self, service: str) -> tuple[ServiceDocument, ServiceState]:
        """A service, and the state that this is the document of.

        Args:
            service: `TEAM/NAME`.

        Raises:
            NotFound: there is no such service (any more).
        """
        state = await self.read(service)
        return await self._document(state), state

    async def read(self, service: str) -> ServiceState:
        """The whole state of a service as its workflow has it, secrets by reference.

        Args:
            service: `TEAM/NAME`.

        Raises:
            NotFound: there is no such service (any more).
        """
        return await read_state(self._connection, service)

    @override
    async def outputs(self, service: str, *, reveal: bool = False) -> dict[str, Any]:
        from bondstone.client.documents.service import masked  # noqa: PLC0415 - most verbs print no document

        state = await self.read(service)
        if not reveal:
            hidden: dict[str, Any] = masked(state.outputs)
            return hidden
        secrets = (await self._connection.store()).secrets
        values = {ref.key: await secrets.reveal(ref, service=state.service) for ref in refs_in(state.outputs)}
        revealed: dict[str, Any] = replace_refs(state.outputs, lambda ref: values[ref.key])
        return revealed

    @override
    async def history(self, service: str) -> list[RecordDocument]:
        from bondstone.client.documents.service import RecordDocument  # noqa: PLC0415 - as above

        return [RecordDocument.of(record) for record in await self.ledger(service)]

    async def ledger(self, service: str) -> list[LedgerRecord]:
        """The ledger of a service as it is kept, oldest first.

        Args:
            service: `TEAM/NAME`.
        """
        return await read_ledger(self._connection, service)

    @override
    async def list_archive(self, service: str) -> list[ArchivedDocument]:
        from bondstone.client.documents.service import ArchivedDocument  # noqa: PLC0415 - as above

        archive = (await self._connection.store()).archive
        return [ArchivedDocument.of(item) for item in await archive.list(service_id(service))]

    @override
    async def read_archive(self, service: str, name: str) -> bytes:
        return await (await self._connection.store()).archive.read(service_id(service), name)

    @override
    async def wait(
        self, service: str, on_change: Callable[[ServiceDocument], None] | None = None
    ) -> ServiceDocument:
        previous: ServiceState | None = None
        pause = FIRST_POLL_SECONDS
        while True:
            state = await self.read(service)
            if state != previous and on_change is not None:
                on_change(await self._document(state))
            running = next(iter(state.queue), None)
            if running is None:
                return await self._document(state)
            if running.record.status != "queued":
                operation = await self._bond.operations.wait(running.record.id)
                if not operation.status.ended:  # it waits for an approval
                    return await self._document(await self.read(service))
            pause = FIRST_POLL_SECONDS if state != previous else min(pause * 1.5, SLOWEST_POLL_SECONDS)
            previous = state
            await asyncio.sleep(pause)

    @override
    async def list(
        self,
        *,
        team: str = "",
        promise: str = "",
        phase: str = "",
        labels: Mapping[str, str] | None = None,
        ended: bool = False,
    ) -> list[ServiceRow]:
        return await listing.services(
            await self._connection.temporal(), team=team, promise=promise, phase=phase, labels=labels, ended=ended
        )

    # Asking for work ---------------------------------------------------------------------------------------------

    @override
    async def request(
        self,
        promise: str,
        service: str,
        inputs: Mapping[str, Any] | None = None,
        *,
        version: str = "",
        labels: Mapping[str, str] | None = None,
        on_failure: Literal["keep", "destroy"] = "keep",
        **options: Unpack[RequestOptions],
    ) -> Operation:
        prepared = await (await self._preparation()).first_request(
            promise, service, inputs, version=version, labels=dict(labels or {}), on_failure=on_failure, **options
        )
        return self._accepted(await self._start_or_ask(service_id(service), prepared))

    @override
    async def adopt(
        self,
        promise: str,
        service: str,
        states: Mapping[str, bytes],
        inputs: Mapping[str, Any] | None = None,
        *,
        version: str = "",
        labels: Mapping[str, str] | None = None,
        request_id: str | None = None,
        reason: str = "",
    ) -> Operation:
        from bondstone.client.direct.states import by_step, stage, unstage  # noqa: PLC0415 - this verb only

        target = service_id(service)
        preparation = await self._preparation()
        revision = (await preparation.revision(promise, version)).ref
        chosen = by_step(await preparation.manifest(revision), states)
        request = await preparation.first_request(
            promise,
            service,
            inputs,
            version=revision.version,
            request_id=request_id,
            labels=dict(labels or {}),
            ask=True,
            reason=reason,
        )
        store = await self._connection.store()
        adopted = await stage(store, target, chosen)
        try:
            accepted = await self._start_or_ask(target, request.changed(adopt=adopted))
        except Unreachable:
            raise  # it may have been accepted all the same
        except BondError:
            await unstage(store, adopted.values())
            raise
        if accepted.repeated:
            await unstage(store, adopted.values())
        return self._accepted(accepted)

    @override
    async def update(
        self, service: str, inputs: Mapping[str, Any], **options: Unpack[RequestOptions]
    ) -> Operation:
        revision = await self._settled_revision(service)
        sent = dict(inputs)
        if revision:
            sent = await (await self._preparation()).without_secrets(service, inputs, revision)
        return await self._ask(service, OperationKind.UPDATE, inputs=sent, **options)

    @override
    async def patch(self, service: str, *, to: str = "", **options: Unpack[RequestOptions]) -> Operation:
        return await self._ask(service, OperationKind.PATCH, version=to, **options)

    @override
    async def upgrade(
        self,
        service: str,
        *,
        to: str = "",
        inputs: Mapping[str, Any] | None = None,
        **options: Unpack[RequestOptions],
    ) -> Operation:
        sent = dict(inputs or {})
        if sent and (revision := await self._settled_revision(service)):
            # Only the revision it leads to knows which of them are secrets, which must not be sent in plain.
            preparation = await self._preparation()
            target = (await preparation.upgrade_target(revision, to)).ref
            to = target.version
            sent = await preparation.without_secrets(service, sent, target)
        return await self._ask(service, OperationKind.UPGRADE, version=to, inputs=sent, **options)

    @override
    async def rollback(self, service: str, **options: Unpack[RequestOptions]) -> Operation:
        return await self._ask(service, OperationKind.ROLLBACK, **options)

    @override
    async def reconcile(
        self, service: str, *, repair: bool = False, parts: bool = False, **options: Unpack[RequestOptions]
    ) -> Operation:
        return await self._ask(service, OperationKind.RECONCILE, repair=repair, with_parts=parts, **options)

    @override
    async def decommission(self, service: str, **options: Unpack[RequestOptions]) -> Operation:
        return await self._ask(service, OperationKind.DECOMMISSION, **options)

    @override
    async def retry(self, service: str, *, reason: str = "", request_id: str | None = None) -> Operation:
        return await self._ask(service, OperationKind.PROVISION, retry=True, reason=reason, request_id=request_id)

    # Telling it --------------------------------------------------------------------------------------------------

    @override
    async def cancel(self, service: str, *, reason: str = "") -> Operation:
        state = await self.read(service)
        if not state.queue:
            raise Refused(f"no operation of {service} runs or waits", where=service)
        operation = self._bond.operation(state.queue[0].record.id)
        await operation.cancel(reason=reason)
        return operation

    @override
    async def pause(self, service: str, *, reason: str = "") -> ServiceDocument:
        call = PauseCall(requested_by=self._caller.by, reason=reason, expected_state=self._caller.expected_state)
        return await self._tell(service, names.UPDATE_PAUSE, call)

    @override
    async def resume(self, service: str, *, reason: str = "") -> ServiceDocument:
        call = PauseCall(requested_by=self._caller.by, reason=reason, expected_state=self._caller.expected_state)
        return await self._tell(service, names.UPDATE_RESUME, call)

    @override
    async def abandon(self, service: str, *, reason: str) -> ServiceDocument:
        if not reason:
            raise InvalidInput("abandoning a service needs a reason", where=service)
        call = AbandonCall(requested_by=self._caller.by, reason=reason, expected_state=self._caller.expected_state)
        return await self._tell(service, names.UPDATE_ABANDON, call)

    @override
    async def set_labels(
        self,
        service: str,
        labels: Mapping[str, str],
        *,
        remove: Sequence[str] = (),
        applied: KeptManifest | None = None,
    ) -> dict[str, str]:
        call = LabelsCall(
            set=dict(labels), remove=tuple(remove), requested_by=self._caller.by, applied=applied,
            expected_state=self._caller.expected_state,
        )  # fmt: skip
        temporal = await self._connection.temporal()
        return await calls.update(temporal, workflow_of(service), names.UPDATE_SET_LABELS, call, dict[str, str])

    # Helpers -----------------------------------------------------------------------------------------------------

    async def _preparation(self) -> Preparation:
        from bondstone.client.direct.preparing import Preparation  # noqa: PLC0415 - most verbs need no promise

        return Preparation(await self._connection.store(), self._caller.by)

    async def _document(self, state: ServiceState) -> ServiceDocument:
        """A service for programs, with the steps of an operation that runs."""
        from bondstone.client.documents.service import ServiceDocument  # noqa: PLC0415 - as above

        live = await self._live(state)
        if any(record.status.ended for record in live.values()):
            for record in live.values():
                await WatchedOperation(self._connection, record.id).until_committed()
            state = await self.read(str(state.service))
            live = await self._live(state)
        # One that has ended runs until its service has committed it: else the phase and this would differ.
        live = {number: record for number, record in live.items() if not record.status.ended}
        does = {number: await pending_of(self._connection, record) for number, record in live.items()}
        return ServiceDocument.of(state, self._caller.settings, live, does)

    async def _live(self, state: ServiceState) -> dict[int, OperationRecord]:
        """The operations that a service says are at work, as their own workflows know them."""
        running = [pending.record for pending in state.queue if pending.record.status != "queued"]
        return {record.number: await WatchedOperation(self._connection, record.id).record() for record in running}

    async def _settled_revision(self, service: str) -> RevisionRef | None:
        """The revision that a service is on once all that it has accepted has succeeded."""
        state = await self.read(service)
        last = state.queue[-1].resolved if state.queue else state.resolved
        return last.revision if last else None

    async def _tell(self, service: str, update: str, call: PauseCall | AbandonCall) -> ServiceDocument:
        await calls.update(await self._connection.temporal(), workflow_of(service), update, call, type(None))
        return await self.get(service)

    async def _ask(
        self, service: str, kind: OperationKind, *, request_id: str | None = None, **fields: Any
    ) -> Operation:
        request = Request(
            request_id=request_id or f"req-{uuid.uuid4()}", kind=kind, requested_by=self._caller.by,
            expected_state=self._caller.expected_state, **fields,
        )  # fmt: skip
        temporal = await self._connection.temporal()
        with asking(service, request) as traced:
            try:
                accepted = await calls.update(
                    temporal, workflow_of(service), names.UPDATE_REQUEST_OPERATION, traced, Accepted
                )
            except NotFound as error:
                raise await self._gone(service, error) from error
        return self._accepted(accepted)

    async def _gone(self, service: str, error: NotFound) -> NotFound:
        """The same error, with the phase of a service that existed once."""
        try:
            phase = (await self.read(service)).phase
        except NotFound:
            return error
        if phase not in {Phase.DECOMMISSIONED, Phase.ABANDONED}:
            return error
        return NotFound(
            f"{service} is {phase}", hint=f"`bond service history {service}` shows its records; its name is free"
        )

    async def _start_or_ask(self, service: ServiceId, request: Request) -> Accepted:
        """Send a first request: to the service of that name, or to one started for it, in one call."""
        with asking(str(service), request) as traced:
            return await self._start_or_update(service, traced)

    async def _start_or_update(self, service: ServiceId, request: Request) -> Accepted:
        temporal = await self._connection.temporal()
        workflow_id = names.service_workflow_id(service.team, service.name)
        for attempt in range(1, START_TRIES + 1):
            start: WithStartWorkflowOperation[Any, Any] = WithStartWorkflowOperation(
                names.SERVICE_WORKFLOW,
                ServiceState.new(service),
                id=workflow_id,
                task_queue=names.CONTROL_QUEUE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                static_summary=f"service {service}",
                static_details="From its request to its end. Each of its operations is a child workflow.",
            )
            try:
                return await calls.answered(
                    temporal.execute_update_with_start_workflow(
                        names.UPDATE_REQUEST_OPERATION,
                        request,
                        start_workflow_operation=start,
                        result_type=Accepted,
                        rpc_timeout=calls.UPDATE_TIMEOUT,
                    ),
                    workflow_id,
                )
            except NotFound as error:
                ended_meanwhile = isinstance(error.__cause__, RPCError)
                if not ended_meanwhile or attempt == START_TRIES:
                    raise
        raise Unreachable(f"service {service} kept ending before it could take the request", where=workflow_id)

    def _accepted(self, accepted: Accepted) -> Operation:
        return Operation(self._bond, accepted.id, accepted.warnings)
