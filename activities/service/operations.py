"""Operations that a step asks its part for, by the same updates as people use, and waits for."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from typing import Any, Final

from temporalio.client import Client, WithStartWorkflowOperation
from temporalio.common import WorkflowIDConflictPolicy

from bondstone.activities.service.desired import PartPlan
from bondstone.activities.service.results import never_ran, promise_of, result_within, state_of
from bondstone.base import names
from bondstone.base.canonical import canonical, digest
from bondstone.base.errors import BondError, Changed, NotFound, OperationFailed, PlanStale, Unreachable
from bondstone.executors.protocol import StepContext
from bondstone.model.plan import Change
from bondstone.model.promise import Promise
from bondstone.model.service import (
    Accepted,
    BindCall,
    CancelCall,
    Dependant,
    OperationKind,
    OperationResult,
    OperationStatus,
    Options,
    Phase,
    Request,
    ServiceState,
)
from bondstone.model.sharing import GIVE_LABEL
from bondstone.model.step import Progress
from bondstone.promise.inputs import split_secrets, with_secrets
from bondstone.store import Store, object_keys
from bondstone.temporal import calls
from bondstone.temporal.service_ids import service_id, workflow_of

WAIT_SECONDS: Final = 60.0
"""How long one attempt waits for a part's operation; the next attempt waits for the same one."""
POLL_SECONDS: Final = 1.0
APPROVAL_NOTE: Final = "waits for an approval: `bond approval list`"
LOOKS_SECONDS: Final = (3.0, 12.0)
"""After how long an attempt looks what the part waits for, to say so; later ones wait for the next attempt."""


class PartOperations:
    """What one step asks of its part.

    Args:
        context: Of the step.
        temporal: Asks the part, and waits for its operations.
        stores: Take the secrets of its inputs, and have the plans and reports of its operations.
    """

    def __init__(self, context: StepContext, temporal: Client, stores: Store) -> None:
        self._context = context
        self._temporal = temporal
        self._stores = stores

    async def run(self, plan: PartPlan) -> OperationResult:
        """Ask for the operation of a plan, and wait until it has succeeded.

        Raises:
            PlanStale: the part stands on another revision than when the plan was made.
            OperationFailed: the operation failed; its words are in the message.
            Unreachable: it has not ended yet; the next attempt waits on.
        """
        request = await self._request(plan, dry_run=False)
        if plan.stands:
            state = await state_of(self._temporal, plan.part)
            current = state.resolved.revision if state is not None and state.resolved else None
            moved = current is not None and str(current) != plan.stands
            if moved and (state is None or request.request_id not in state.seen_requests):
                raise PlanStale(f"{plan.part} stands on {current} now", where=plan.part)
        return await self._succeeded(await self._ask(plan, request))

    async def dry_run(self, plan: PartPlan) -> list[Change]:
        """What the part's own steps would change.

        Raises:
            OperationFailed: the dry run failed; its words are in the message.
            Unreachable: it has not ended yet; the next attempt waits on.
        """
        request = await self._request(plan, dry_run=True)
        accepted = await self._ask(plan, request)
        result = await self.ended(accepted)
        if result.error is not None:
            raise OperationFailed(f"{accepted.id}: {result.error.message}", where=f"part {plan.part}")
        changes: list[Change] = []
        for step in result.steps:
            if step.plan is not None:
                part_changes = await self._stores.plans.changes(step.plan)
                changes += [change.changed(address=f"{plan.part}: {change.address}") for change in part_changes]
        return changes

    async def reconcile(self, options: Options, part: str) -> list[Change]:
        """Have the part reconciled as its parent is, and return the drift that is left.

        The request names no parent: where a repair changes what the part gives, its parent hears of it like all
        others, and updates itself afterwards.
        """
        cause = f"{self._context.service}/op/{self._context.operation}"
        request = Request(
            request_id=f"part-{digest(cause.encode())[:16]}-reconcile-{self._context.step}",
            kind=OperationKind.RECONCILE,
            requested_by=self._context.requested_by,
            reason=f"part `{self._context.step}` of {self._context.service}",
            cause=cause,
            **options.changed(
                ask=options.repair and service_id(part).team != self._context.service.team
            ).options(),
        )
        accepted = await calls.update(
            self._temporal, workflow_of(part), names.UPDATE_REQUEST_OPERATION, request, Accepted
        )
        result = await self._succeeded(accepted)
        changes: list[Change] = []
        for step in result.steps:
            if step.drift:
                key = object_keys.drift_report(accepted.service, accepted.number, step.id)
                report = json.loads(await self._stores.sealed.get(key))
                drifted = [Change.model_validate(each) for each in report]
                changes += [change.changed(address=f"{part}: {change.address}") for change in drifted]
        return changes

    async def bind(self, plan: PartPlan) -> None:
        """Tell the part that its parent uses it, owns it, or uses it no more.

        Raises:
            PlanStale: the part was changed since the plan was made.
        """
        if plan.parent is None:
            return
        update = names.UPDATE_RELEASE if plan.verb == "release" else names.UPDATE_BIND
        if plan.verb == "adopt" and await self._is_taken(plan.part, plan.parent):
            return  # by an attempt before this one
        call = BindCall(parent=plan.parent, requested_by=self._context.requested_by, expected_state=plan.state)
        with contextlib.suppress(NotFound) if plan.verb == "release" else contextlib.nullcontext():
            try:
                await calls.update(self._temporal, workflow_of(plan.part), update, call, dict)
            except Changed as error:
                raise PlanStale(f"{plan.part} was changed since the plan was made", where=plan.part) from error

    async def ended(self, accepted: Accepted) -> OperationResult:
        """The result of the part's operation, waited for as long as one attempt does.

        Raises:
            Unreachable: it has not ended yet; the next attempt waits on.
        """
        operation = names.operation_workflow_id(accepted.service.team, accepted.service.name, accepted.number)
        self._context.heartbeat(Progress(address=accepted.id, note="has not ended yet"))
        self._context.log(f"waits for {accepted.id}, which {accepted.kind}s {accepted.revision}")
        handle = self._temporal.get_workflow_handle(operation, result_type=OperationResult)
        deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
        looks = iter(LOOKS_SECONDS)
        while asyncio.get_running_loop().time() < deadline:
            left = deadline - asyncio.get_running_loop().time()
            result = await result_within(handle, min(left, next(looks, left)))
            if result is not None:
                return result
            state = await state_of(self._temporal, str(accepted.service))
            ended = never_ran(accepted, state)
            if ended is not None:
                return ended
            if state is not None and state.phase is Phase.AWAITING_APPROVAL:
                self._context.heartbeat(Progress(address=accepted.id, note=APPROVAL_NOTE))
            await asyncio.sleep(POLL_SECONDS)
        raise Unreachable(
            f"{accepted.id} has not ended yet",
            where=f"part {accepted.service}",
            hint=f"bond operation show {accepted.id}",
        )

    # Helpers ----------------------------------------------------------------------------------------------------

    async def _succeeded(self, accepted: Accepted) -> OperationResult:
        """The result of the part's operation once it has succeeded; when the step is cancelled, so is the part."""
        try:
            result = await self.ended(accepted)
        except asyncio.CancelledError:
            await self._cancel(accepted)
            raise
        if result.status is not OperationStatus.SUCCEEDED:
            error = result.error
            message = error.message if error else f"it ended {result.status}"
            raise OperationFailed(
                f"{accepted.id} ended {result.status}: {message}",
                where=f"part {accepted.service}",
                hint=(error.hint if error and error.hint else f"look at it: bond operation show {accepted.id}"),
            )
        return result

    async def _request(self, plan: PartPlan, *, dry_run: bool) -> Request:
        inputs = dict(plan.inputs)
        if inputs:
            version = plan.version or plan.stands.rpartition("@")[2]
            inputs = await self._with_references(
                plan.part, await promise_of(self._stores, plan.promise, version), inputs
            )
        kind = plan.kind or OperationKind.UPDATE
        retry = plan.verb == "retry"
        moves = kind in {OperationKind.PROVISION, OperationKind.PATCH, OperationKind.UPGRADE} and not retry
        what = digest(canonical({"plan": plan.model_dump(mode="json"), "dry": dry_run}))[:24]
        cause = f"{self._context.service}/op/{self._context.operation}"
        return Request(
            request_id=f"part-{digest(cause.encode())[:16]}-{what}",
            kind=kind,
            promise=plan.promise if kind is OperationKind.PROVISION and not retry else "",
            version=plan.version if moves else "",
            inputs={} if retry else inputs,
            labels=_for_part(self._context.labels) if kind is OperationKind.PROVISION and not retry else {},
            retry=retry,
            dry_run=dry_run,
            # Another team's service changes for this one only when somebody of theirs has seen the plan.
            ask=service_id(plan.part).team != self._context.service.team and not retry,
            requested_by=self._context.requested_by,
            reason=f"part `{plan.parent.alias if plan.parent else ''}` of {self._context.service}",
            parent=plan.parent,
            cause=cause,
        )

    async def _with_references(self, part: str, promise: Promise, inputs: dict[str, Any]) -> dict[str, Any]:
        target = service_id(part)
        public, values = split_secrets(promise, inputs)
        refs = {
            path: await self._stores.secrets.put(target, f"inputs/{path}", value) for path, value in values.items()
        }
        return with_secrets(public, refs)

    async def _ask(self, plan: PartPlan, request: Request) -> Accepted:
        workflow_id = workflow_of(plan.part)
        if request.kind is not OperationKind.PROVISION or request.retry:
            return await calls.update(
                self._temporal, workflow_id, names.UPDATE_REQUEST_OPERATION, request, Accepted
            )
        start: WithStartWorkflowOperation[Any, Any] = WithStartWorkflowOperation(
            names.SERVICE_WORKFLOW,
            ServiceState.new(service_id(plan.part)),
            id=workflow_id,
            task_queue=names.CONTROL_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            static_summary=f"service {plan.part}",
            static_details=f"{request.promise}, a part. Each of its operations is a child workflow.",
        )
        accepted: Accepted = await calls.answered(
            self._temporal.execute_update_with_start_workflow(
                names.UPDATE_REQUEST_OPERATION,
                request,
                start_workflow_operation=start,
                result_type=Accepted,
                rpc_timeout=calls.UPDATE_TIMEOUT,
            ),
            workflow_id,
        )
        return accepted

    async def _is_taken(self, part: str, parent: Dependant) -> bool:
        state = await state_of(self._temporal, part)
        return any(each.service == parent.service and each.owns for each in state.dependants) if state else False

    async def _cancel(self, accepted: Accepted) -> None:
        call = CancelCall(
            number=accepted.number,
            requested_by=self._context.requested_by,
            reason=f"{self._context.service} was cancelled",
        )
        with contextlib.suppress(BondError, asyncio.CancelledError):
            workflow_id = workflow_of(str(accepted.service))
            await calls.update(self._temporal, workflow_id, names.UPDATE_CANCEL_OPERATION, call, dict)


def _for_part(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels that a part is made with: its parent's, but for whom the parent was given to."""
    return {key: value for key, value in labels.items() if key != GIVE_LABEL}
