"""The client's verbs."""

from __future__ import annotations

import getpass
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict, Unpack

from temporalio.client import Client, RPCError, WithStartWorkflowOperation
from temporalio.common import WorkflowIDConflictPolicy

from bondstone.base import names
from bondstone.base.errors import BondError, InvalidInput, NotFound, Unreachable
from bondstone.base.settings import Settings
from bondstone.client.operation import Operation
from bondstone.client.tracing import asking
from bondstone.model.secret import refs_in, replace_refs
from bondstone.model.service import (
    AbandonCall,
    Accepted,
    CancelCall,
    LabelsCall,
    OperationKind,
    OperationRecord,
    OperationStatus,
    PauseCall,
    Phase,
    Request,
    RevisionRef,
    ServiceId,
    ServiceState,
)
from bondstone.store import Store
from bondstone.temporal import calls, listing
from bondstone.temporal.connection import Poller, connect, pollers
from bondstone.temporal.service_ids import service_id, workflow_of

if TYPE_CHECKING:
    from bondstone.base.process_identity import Holder
    from bondstone.client.builds import Builds
    from bondstone.client.campaigns.campaigns import Campaigns
    from bondstone.client.documents.service import Pushed
    from bondstone.client.freezes import Freezes
    from bondstone.client.preparing import Preparation
    from bondstone.client.schedules.schedules import Schedules
    from bondstone.model.ledger import LedgerRecord

START_TRIES: Final = 3
"""A service may end between being found and being asked (its request was refused): then it is started anew."""


class How(TypedDict, total=False):
    """What every request of an operation may say beside its own arguments."""

    reason: str
    """Why, for the ledger."""
    request_id: str | None
    """The same id again returns the same operation."""
    dry_run: bool
    """Plan and ask the policies, and change nothing."""
    ask: bool
    """Let every plan that changes something wait for somebody's approval."""


MASK: Final = "(secret)"


class Bondstone:
    """A connection to one platform. Make one with `connect`.

    Args:
        temporal: The connection to Temporal.
        store: The platform's stores.
        settings: What both came from.
        by: Who asks; recorded as asserted.
    """

    def __init__(self, temporal: Client, store: Store, settings: Settings, by: str) -> None:
        self.temporal = temporal
        self.store = store
        self.settings = settings
        self.by = by

    @classmethod
    @asynccontextmanager
    async def connect(cls, settings: Settings | None = None, *, by: str | None = None) -> AsyncIterator[Bondstone]:
        """Connect to the platform that the settings name.

        Args:
            settings: Default: from the environment, see `bondstone.base.settings`.
            by: Who asks; default: the operating system's user.

        Raises:
            Unreachable: Temporal does not answer.
            StoreError: the object store or the key ring cannot be opened.
        """
        settings = settings or Settings.load()
        temporal = await connect(settings)  # first: without a platform there is no key ring either
        yield cls(temporal, await Store.open(settings), settings, by or getpass.getuser())

    # Services ------------------------------------------------------------------------------------------------

    async def request(
        self,
        promise: str,
        service: str,
        inputs: Mapping[str, Any] | None = None,
        *,
        version: str = "",
        labels: Mapping[str, str] | None = None,
        request_id: str | None = None,
        on_failure: Literal["keep", "destroy"] = "keep",
        dry_run: bool = False,
        ask: bool = False,
        reason: str = "",
    ) -> Operation:
        """Ask for a service; returns when the request is accepted, `Operation.result()` waits for the rest.

        Args:
            promise: Name of the promise.
            service: `TEAM/NAME`.
            inputs: As the promise's schema says; secrets in plain, they are stored before anything is sent.
            version: Exact version; default: the newest.
            labels: Labels of the service.
            request_id: The same id again returns the same operation.
            on_failure: Keep what was made when it fails, or destroy it.
            dry_run: Plan and ask the policies, and make nothing.
            ask: Let every plan that changes something wait for somebody's approval.
            reason: Why, for the ledger.

        Raises:
            InputsInvalid: with each field named; nothing was started.
            AlreadyExists: the name is taken.
            NotFound: no such promise or version.
        """
        request = await self._preparation.first_request(
            promise,
            service,
            inputs,
            version=version,
            request_id=request_id,
            labels=dict(labels or {}),
            on_failure=on_failure,
            dry_run=dry_run,
            ask=ask,
            reason=reason,
        )
        return self._accepted(await self._start_or_ask(service_id(service), request))

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
        """Ask for a new service that begins with existing Terraform states; what is there becomes its own.

        The first plan must be empty, or it waits for somebody's approval. If it is rejected the service stays,
        failed: `abandon` lets go of what it adopted, `decommission` destroys it. A request that is refused leaves
        nothing behind.

        Args:
            promise: Name of the promise.
            service: `TEAM/NAME`, which must not exist.
            states: State files by step; under the empty name that of the only Terraform step.
            inputs: As for `request`; those that the states were made with.
            version: As for `request`, and the rest too.
            labels: Labels of the service.
            request_id: The same id again returns the same operation.
            reason: Why, for the ledger.

        Raises:
            InvalidInput: a file is no state, or belongs to no step.
            AlreadyExists: the name is taken.
        """
        from bondstone.client.states import by_step, stage, unstage  # noqa: PLC0415 - only this verb and the next

        target = service_id(service)
        found = await self._preparation.revision(promise, version)
        chosen = by_step(await self._preparation.manifest(found.ref), states)
        request = await self._preparation.first_request(
            promise,
            service,
            inputs,
            version=found.ref.version,
            request_id=request_id,
            labels=dict(labels or {}),
            ask=True,
            reason=reason,
        )
        adopted = await stage(self.store, target, chosen)
        try:
            accepted = await self._start_or_ask(target, request.changed(adopt=adopted))
        except Unreachable:
            raise  # it may have been accepted all the same
        except BondError:
            await unstage(self.store, adopted.values())
            raise
        if accepted.repeated:
            await unstage(self.store, adopted.values())
        return self._accepted(accepted)

    async def push_state(
        self,
        service: str,
        step: str,
        raw: bytes,
        *,
        force: bool = False,
        force_lineage: bool = False,
        reason: str = "",
        on_wait: Callable[[Holder], None] | None = None,
    ) -> Pushed:
        """Put a Terraform state in the place of a step's own; waits for an operation that holds it.

        A plan that was made before is stale then: it is made anew, and asks people again unless it is covered.

        Args:
            service: `TEAM/NAME`.
            step: Whose state.
            raw: The state file.
            force: Take a state that is not newer than the one that is there.
            force_lineage: Take the state of another lineage.
            reason: Why, for the ledger.
            on_wait: Called with who is waited for, about once a second.

        Raises:
            NotFound: there is no such service.
            InvalidInput: it is no Terraform state; or a reason is missing.
            ObjectMissing: the one that is there is lost, and `force` was not said; `ObjectCorrupt`: not readable.
            Refused: it does not continue the one that is there.
        """
        from bondstone.client.states import push, refuse_own, tell  # noqa: PLC0415 - only this verb and the last

        target = service_id(service)
        current = (await self.service(service)).current
        if current is not None:
            refuse_own(await self.store.revisions.promise(current.revision), step)
        pushed = await push(
            self.store,
            target,
            step,
            raw,
            by=self.by,
            force=force,
            force_lineage=force_lineage,
            reason=reason,
            on_wait=on_wait,
        )
        if pushed.changed:
            await tell(self.temporal, pushed, target, by=self.by, reason=reason)
        return pushed

    async def update(self, service: str, inputs: Mapping[str, Any], **how: Unpack[How]) -> Operation:
        """Change inputs at the same revision; objects are merged, null goes back to the default.

        Raises:
            InputsInvalid: with each field named; nothing was started.
        """
        there = await self._stands_on(service)
        given = await self._preparation.without_secrets(service, inputs, there) if there else dict(inputs)
        return await self._ask(service, OperationKind.UPDATE, inputs=given, **how)

    async def patch(self, service: str, *, to: str = "", **how: Unpack[How]) -> Operation:
        """Move to a newer revision of the same major and minor version; default: the newest."""
        return await self._ask(service, OperationKind.PATCH, version=to, **how)

    async def upgrade(
        self, service: str, *, to: str = "", inputs: Mapping[str, Any] | None = None, **how: Unpack[How]
    ) -> Operation:
        """Move to a newer minor or major version; its own transformation makes the inputs, `inputs` override.

        Raises:
            InputsInvalid: the inputs do not fit the new schema; with each field named, nothing was started.
        """
        given = dict(inputs or {})
        if given and (there := await self._stands_on(service)):
            # Only the revision it leads to knows which of them are secrets, which must not be sent in plain.
            found = await self._preparation.upgrade_target(there, to)
            to = found.ref.version
            given = await self._preparation.without_secrets(service, given, found.ref)
        return await self._ask(service, OperationKind.UPGRADE, version=to, inputs=given, **how)

    async def rollback(self, service: str, **how: Unpack[How]) -> Operation:
        """Go back to the last revision and inputs that were healthy."""
        return await self._ask(service, OperationKind.ROLLBACK, **how)

    async def reconcile(self, service: str, *, repair: bool = False, **how: Unpack[How]) -> Operation:
        """Look for drift; with `repair`, undo it."""
        return await self._ask(service, OperationKind.RECONCILE, repair=repair, **how)

    async def decommission(self, service: str, **how: Unpack[How]) -> Operation:
        """Take a service down; its name is free again once the operation has succeeded."""
        return await self._ask(service, OperationKind.DECOMMISSION, **how)

    async def retry(self, service: str, *, reason: str = "", request_id: str | None = None) -> Operation:
        """Run the last failed operation again, from the step that failed."""
        return await self._ask(service, OperationKind.PROVISION, retry=True, reason=reason, request_id=request_id)

    async def pause(self, service: str, *, reason: str = "") -> None:
        """Let the service start nothing by itself; what people ask for still runs."""
        call = PauseCall(requested_by=self.by, reason=reason)
        await calls.update(self.temporal, workflow_of(service), names.UPDATE_PAUSE, call, type(None))

    async def resume(self, service: str, *, reason: str = "") -> None:
        """Let the service work by itself again."""
        call = PauseCall(requested_by=self.by, reason=reason)
        await calls.update(self.temporal, workflow_of(service), names.UPDATE_RESUME, call, type(None))

    async def abandon(self, service: str, *, reason: str) -> None:
        """Forget the service and destroy nothing; the ledger keeps what stood."""
        if not reason:
            raise InvalidInput("abandoning a service needs a reason", where=service)
        call = AbandonCall(requested_by=self.by, reason=reason)
        await calls.update(self.temporal, workflow_of(service), names.UPDATE_ABANDON, call, type(None))

    async def cancel(self, operation: str, *, reason: str = "") -> OperationRecord:
        """Cancel an operation that waits or runs; returns its record as it was."""
        team, name, number = names.parse_operation(operation)
        call = CancelCall(number=number, requested_by=self.by, reason=reason)
        workflow_id = names.service_workflow_id(team, name)
        return await calls.update(self.temporal, workflow_id, names.UPDATE_CANCEL_OPERATION, call, OperationRecord)

    async def set_labels(
        self, service: str, labels: Mapping[str, str], remove: Sequence[str] = ()
    ) -> dict[str, str]:
        """Set and remove labels; returns all that the service has then."""
        call = LabelsCall(set=dict(labels), remove=tuple(remove), requested_by=self.by)
        return await calls.update(
            self.temporal, workflow_of(service), names.UPDATE_SET_LABELS, call, dict[str, str]
        )

    async def services(
        self,
        *,
        team: str = "",
        promise: str = "",
        phase: str = "",
        labels: Mapping[str, str] | None = None,
        ended: bool = False,
    ) -> list[listing.ServiceRow]:
        """Services by search attribute, sorted by id."""
        return await listing.services(
            self.temporal, team=team, promise=promise, phase=phase, labels=labels, ended=ended
        )

    async def service(self, service: str) -> ServiceState:
        """The whole state of one service, secrets by reference.

        Raises:
            NotFound: there is no such service (any more); `history` may still know it.
        """
        state = await calls.query(self.temporal, workflow_of(service), ServiceState)
        if state.current is None and not state.operations:
            raise NotFound(f"there is no service {service}", hint="its only request was refused")
        return state

    async def outputs(self, service: str, *, reveal: bool = False) -> dict[str, Any]:
        """A service's outputs; secret ones masked, or fetched from the secret store with `reveal`."""
        state = await self.service(service)
        if not reveal:
            masked: dict[str, Any] = replace_refs(state.outputs, lambda _: MASK)
            return masked
        values = {
            ref.key: await self.store.secrets.reveal(ref, service=state.service) for ref in refs_in(state.outputs)
        }
        revealed: dict[str, Any] = replace_refs(state.outputs, lambda ref: values[ref.key])
        return revealed

    async def history(self, service: str) -> list[LedgerRecord]:
        """The ledger of a service, oldest first, also when it is long gone."""
        return await self.store.ledger.history(service_id(service))

    # Operations ----------------------------------------------------------------------------------------------

    def operation(self, operation_id: str) -> Operation:
        """A handle on an operation by its id, `TEAM/NAME/op/N`."""
        return Operation(self, operation_id)

    async def operations(self, service: str = "") -> list[listing.OperationRow]:
        """Operations within Temporal's retention, newest first."""
        if service:
            service_id(service)
        return await listing.operations(self.temporal, service=service)

    async def waiting_approvals(self) -> list[OperationRecord]:
        """Operations that wait for people, the one that waits longest first."""
        rows = await listing.operations(self.temporal, waiting=True)
        records = [await self.operation(row.id).record() for row in rows]
        return [record for record in records[::-1] if record.status is OperationStatus.AWAITING_APPROVAL]

    async def pool_pollers(self, pool: str) -> list[Poller]:
        """The executor workers that polled a pool in the last minutes."""
        return await pollers(self.temporal, names.pool_queue(pool))

    # Campaigns -----------------------------------------------------------------------------------------------

    @cached_property
    def campaigns(self) -> Campaigns:
        """One operation over a selected fleet: started, watched, told, reported."""
        from bondstone.client.campaigns.campaigns import Campaigns  # noqa: PLC0415 - most commands need none

        return Campaigns(self)

    @cached_property
    def builds(self) -> Builds:
        """Builds of the control workers: what each holds, which gets new work."""
        from bondstone.client.builds import Builds  # noqa: PLC0415 - most commands need none

        return Builds(self)

    @cached_property
    def freezes(self) -> Freezes:
        """Times in which campaigns start nothing."""
        from bondstone.client.freezes import Freezes  # noqa: PLC0415 - most commands need none

        return Freezes(self)

    @cached_property
    def schedules(self) -> Schedules:
        """Campaigns that are started again and again."""
        from bondstone.client.schedules.schedules import Schedules  # noqa: PLC0415 - most commands need none

        return Schedules(self)

    # How -------------------------------------------------------------------------------------------------------

    @cached_property
    def _preparation(self) -> Preparation:
        from bondstone.client.preparing import Preparation  # noqa: PLC0415 - most verbs need no promise

        return Preparation(self.store, self.by)

    async def _stands_on(self, service: str) -> RevisionRef | None:
        """The revision that a service stands on once all that it has accepted has succeeded."""
        state = await self.service(service)
        last = state.queue[-1].resolved if state.queue else state.resolved
        return last.revision if last else None

    async def _ask(
        self,
        service: str,
        kind: OperationKind,
        *,
        request_id: str | None = None,
        **fields: Any,
    ) -> Operation:
        request = Request(
            request_id=request_id or f"req-{uuid.uuid4()}", kind=kind, requested_by=self.by, **fields
        )
        with asking(service, request) as traced:
            try:
                accepted = await calls.update(
                    self.temporal, workflow_of(service), names.UPDATE_REQUEST_OPERATION, traced, Accepted
                )
            except NotFound as error:
                raise await self._gone(service, error) from error
        return self._accepted(accepted)

    async def _gone(self, service: str, error: NotFound) -> NotFound:
        """The same, saying that the service was there once, where it was."""
        try:
            phase = (await self.service(service)).phase
        except NotFound:
            return error
        if phase not in {Phase.DECOMMISSIONED, Phase.ABANDONED}:
            return error
        return NotFound(
            f"{service} is {phase}", hint=f"`bond service history {service}` knows it; its name is free"
        )

    async def _start_or_ask(self, service: ServiceId, request: Request) -> Accepted:
        """Send a first request: to the service that is there, or to one started for it, in one call."""
        with asking(str(service), request) as traced:
            return await self._start_or_update(service, traced)

    async def _start_or_update(self, service: ServiceId, request: Request) -> Accepted:
        workflow_id = names.service_workflow_id(service.team, service.name)
        for attempt in range(1, START_TRIES + 1):
            start: WithStartWorkflowOperation[Any, Any] = WithStartWorkflowOperation(
                names.SERVICE_WORKFLOW,
                ServiceState(service=service),
                id=workflow_id,
                task_queue=names.CONTROL_QUEUE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                static_summary=f"service {service}",
            )
            try:
                return await calls.answered(
                    self.temporal.execute_update_with_start_workflow(
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
        raise Unreachable(f"service {service} kept ending while it was asked", where=workflow_id)

    def _accepted(self, accepted: Accepted) -> Operation:
        operation = self.operation(accepted.id)
        operation.warnings = accepted.warnings
        return operation
