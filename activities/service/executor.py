"""The executor `service`: what the rest of Bondstone sees of parts.

It runs on control workers, because it speaks to Temporal. A part is asked for operations by the same updates as
people use, with a request id that follows from the plan: an attempt that was killed asks for the same operation
again. An attempt waits for a bounded time and is then retried, so that a part that waits for people holds no slot.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

from temporalio.client import Client, WithStartWorkflowOperation
from temporalio.common import WorkflowIDConflictPolicy

from bondstone.activities.service.desired import PartPlan, plan_for, plan_to_let_go
from bondstone.activities.service.results import never_ran, result_within
from bondstone.activities.service.section import ServiceSection
from bondstone.base import names
from bondstone.base.canonical import canonical, digest
from bondstone.base.errors import (
    BondError,
    Changed,
    NotFound,
    OperationFailed,
    PlanStale,
    Unreachable,
)
from bondstone.base.models import Manifest
from bondstone.base.redact import MASK
from bondstone.executors.protocol import Drifted, Executor, Outcome, Output, Planned, SectionReport, StepContext
from bondstone.model.plan import Action, Change
from bondstone.model.promise import Promise
from bondstone.model.secret import as_ref, refs_in, replace_refs
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
    ServiceId,
    ServiceState,
)
from bondstone.model.sharing import GIVE_LABEL
from bondstone.model.step import Progress
from bondstone.promise.inputs import fill_defaults, secret_paths, split_secrets, with_secrets
from bondstone.promise.versions import in_range
from bondstone.store import Store, object_keys
from bondstone.temporal import calls
from bondstone.temporal.service_ids import service_id, workflow_of

WAIT_SECONDS: Final = 60.0
"""How long one attempt waits for a part's operation; the next attempt waits for the same one."""
POLL_SECONDS: Final = 1.0
COMMIT_SECONDS: Final = 0.2
"""From the end of an operation until its service has committed it, where the ledger is written at once."""
APPROVAL_NOTE: Final = "waits for an approval: `bond approval list`"
LOOKS_SECONDS: Final = (3.0, 12.0)
"""After how long an attempt looks what the part waits for, to say so; later ones wait for the next attempt."""

_ACTIONS: Final[Mapping[str, Action]] = {
    "provision": "create", "retry": "update", "update": "update", "move": "update", "refresh": "update",
    "bind": "update", "adopt": "update", "decommission": "delete", "release": "update",
}  # fmt: skip

_STANDING: Final = frozenset({"nothing", "bind", "update", "move"})
"""What is planned for a part that stands: such a part can be reconciled."""


class ServiceExecutor(Executor):
    """Parts of a service.

    Args:
        client: A connection to Temporal; only `check` works without.
        store: The platform's stores; only `check` works without.
    """

    kind: ClassVar[str] = names.SERVICE_EXECUTOR
    section: ClassVar[type[Manifest]] = ServiceSection

    def __init__(self, client: Client | None = None, store: Store | None = None) -> None:
        self._client = client
        self._store = store

    def check(self, section: Any, promise: Path) -> SectionReport:
        """Nothing can be told without the catalogue; `bond promise publish` looks at it."""
        del section, promise
        return SectionReport()

    async def plan(self, context: StepContext) -> Planned:
        """Compare the part with how its parent wants it. A dry run asks the part for a dry run of its own."""
        section: ServiceSection = context.section
        if context.trial:
            return _stand_in(section, _parent(context, section), "provision")
        state = await self._provisioned(context, section, await self._state(section.service))
        plan = await self._plan(context, section, state)
        if plan.verb == "nothing" and state is not None and await self._outputs_differ(context, state):
            plan = plan.changed(verb="refresh", stands=str(state.resolved.revision) if state.resolved else "")
        changes = [self._change(plan, state)] if plan.verb != "nothing" else []
        if context.dry_run and plan.kind is not None:
            changes += await self._dry_run(context, plan)
        return _planned(plan, changes)

    async def plan_destroy(self, context: StepContext) -> Planned:
        """Take the part down if it was made for this parent; else let go of it."""
        section: ServiceSection = context.section
        if context.trial:
            return _stand_in(section, _parent(context, section), "decommission")
        state = await self._state(section.service)
        plan = plan_to_let_go(section, _parent(context, section), state)
        return _planned(plan, [self._change(plan, state)] if plan.verb != "nothing" else [])

    async def apply(self, context: StepContext, artefact: bytes, position: int) -> Outcome:
        """Ask the part for the operation of the plan, wait for its end, and return what the part gives.

        Raises:
            PlanStale: the part stands on another revision than when the plan was made.
            OperationFailed: the part's operation failed; its words are in the message.
            Unreachable: it has not ended yet; the next attempt waits on.
        """
        del position
        plan = PartPlan.model_validate_json(artefact)
        if context.trial:
            return Outcome(outputs={name: Output(value) for name, value in context.given_outputs.items()})
        if plan.verb in {"adopt", "bind", "release"}:
            await self._bind(plan, context)
        result = await self._operate(context, plan) if plan.kind is not None else None
        if plan.verb in {"decommission", "release"}:
            return Outcome(outputs={})
        if result is not None:  # the part commits it a moment later
            return Outcome(outputs=await self._outputs(service_id(plan.part), result.outputs))
        state = await self._state(plan.part)
        if state is None:
            raise OperationFailed(f"the part {plan.part} is gone", where=plan.part, hint="`bond service retry`")
        return Outcome(outputs=await self._outputs(state.service, state.outputs))

    async def detect_drift(self, context: StepContext) -> Drifted:
        """A part drifts when it is gone, was changed away from what its parent wants, or is not healthy."""
        section: ServiceSection = context.section
        state = await self._state(section.service)
        plan = await self._plan(context, section, state)
        changes = [self._change(plan, state)] if plan.verb != "nothing" else []
        if context.reconcile is not None and plan.verb in _STANDING and plan.parent and plan.parent.owns:
            changes += await self._reconcile(context, context.reconcile, section.service)
        return Drifted(changes=changes)

    # What the part is, and what is requested of it --------------------------------------------------------------

    async def _provisioned(
        self, context: StepContext, section: ServiceSection, state: ServiceState | None
    ) -> ServiceState | None:
        """A shared service that is being provisioned, once that has ended: it was requested just before its user.

        Raises:
            Unreachable: it has not ended yet; the next attempt waits on.
        """
        record = state.queue[0].record if state is not None and state.queue else None
        if not section.bind or state is None or record is None or record.kind is not OperationKind.PROVISION:
            return state
        accepted = Accepted(
            service=state.service, number=record.number, kind=record.kind, revision=record.revision
        )
        await self._ended(context, accepted)
        await asyncio.sleep(COMMIT_SECONDS)
        state = await self._state(section.service)
        if state is not None and any(waiting.record.number == record.number for waiting in state.queue):
            raise Unreachable(f"{accepted.id} is not committed yet", where=f"part {accepted.service}")
        return state

    async def _plan(self, context: StepContext, section: ServiceSection, state: ServiceState | None) -> PartPlan:
        newest = await self._newest(section)
        at = state.resolved.revision.version if state is not None and state.resolved else newest
        moves = state is not None and bool(at) and not in_range(at, section.version)
        differing: dict[str, Any] = dict(section.inputs)
        hidden: tuple[str, ...] = ()
        if not section.bind and at:
            promise = await self._promise(section.promise, newest if moves else at)
            hidden = tuple(sorted({path.partition(".")[0] for path in secret_paths(promise)}))
            if state is not None and state.current is not None:
                differing = await self._differing(promise, section.inputs, state)
        plan = plan_for(section, _parent(context, section), state, newest=newest, inputs=differing)
        return plan.changed(hidden=hidden)

    async def _differing(self, promise: Promise, inputs: Mapping[str, Any], state: ServiceState) -> dict[str, Any]:
        """The inputs that are other than the parent wants them; null where the parent wants the default."""
        current = state.resolved.inputs if state.resolved else {}
        known = await self._revealed(current, state.service)
        wanted = fill_defaults(promise.spec.inputs, inputs)
        changes = {name: value for name, value in wanted.items() if known.get(name) != value}
        return changes | {name: None for name in known if name not in wanted}

    async def _newest(self, section: ServiceSection) -> str:
        revisions = await self._stores.revisions.list(section.promise)
        fitting = [
            each for each in revisions if each.status == "active" and in_range(each.ref.version, section.version)
        ]
        from bondstone.store.revisions import chosen  # noqa: PLC0415 - only here

        best = chosen(fitting)
        return best.ref.version if best else ""

    async def _promise(self, promise: str, version: str) -> Promise:
        info = await self._stores.revisions.get(promise, version)
        return await self._stores.revisions.promise(info.ref)

    async def _state(self, part: str) -> ServiceState | None:
        try:
            return await calls.query(self._temporal, workflow_of(part), ServiceState)
        except NotFound:
            return None

    async def _outputs_differ(self, context: StepContext, state: ServiceState) -> bool:
        """Whether the part gives something else than its parent remembers."""
        prefix = f"steps.{context.step}.outputs."
        known = {
            name.removeprefix(prefix): value
            for name, value in context.variables.items()
            if name.startswith(prefix)
        }
        gives = {name: each.value for name, each in (await self._outputs(state.service, state.outputs)).items()}
        return bool(known) and known != gives

    async def _outputs(self, part: ServiceId, outputs: Mapping[str, Any]) -> dict[str, Output]:
        values = await self._revealed(outputs, part)
        return {
            name: Output(values[name], sensitive=any(True for _ in refs_in({"it": value})))
            for name, value in outputs.items()
        }

    async def _revealed(self, tree: Mapping[str, Any], service: ServiceId) -> dict[str, Any]:
        refs = {ref.key: ref for ref in refs_in(tree)}
        values = {key: await self._stores.secrets.reveal(ref, service=service) for key, ref in refs.items()}
        revealed: dict[str, Any] = replace_refs(dict(tree), lambda ref: values[ref.key])
        return revealed

    # Asking the part -----------------------------------------------------------------------------------------

    async def _operate(self, context: StepContext, plan: PartPlan) -> OperationResult:
        request = await self._request(context, plan, dry_run=False)
        if plan.stands:
            state = await self._state(plan.part)
            current = state.resolved.revision if state is not None and state.resolved else None
            moved = current is not None and str(current) != plan.stands
            if moved and (state is None or request.request_id not in state.seen_requests):
                raise PlanStale(f"{plan.part} stands on {current} now", where=plan.part)
        return await self._succeeded(context, await self._ask(plan, request))

    async def _succeeded(self, context: StepContext, accepted: Accepted) -> OperationResult:
        """The result of the part's operation once it has succeeded; when the step is cancelled, so is the part."""
        try:
            result = await self._ended(context, accepted)
        except asyncio.CancelledError:
            await self._cancel(context, accepted)
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

    async def _reconcile(self, context: StepContext, options: Options, part: str) -> list[Change]:
        """Have the part reconciled as its parent is, and return the drift that is left.

        The request names no parent: where a repair changes what the part gives, its parent hears of it like all
        others, and updates itself afterwards.
        """
        cause = f"{context.service}/op/{context.operation}"
        request = Request(
            request_id=f"part-{digest(cause.encode())[:16]}-reconcile-{context.step}",
            kind=OperationKind.RECONCILE,
            requested_by=context.requested_by,
            reason=f"part `{context.step}` of {context.service}",
            cause=cause,
            **options.changed(ask=options.repair and service_id(part).team != context.service.team).options(),
        )
        accepted = await calls.update(
            self._temporal, workflow_of(part), names.UPDATE_REQUEST_OPERATION, request, Accepted
        )
        result = await self._succeeded(context, accepted)
        changes: list[Change] = []
        for step in result.steps:
            if step.drift:
                key = object_keys.drift_report(accepted.service, accepted.number, step.id)
                report = json.loads(await self._stores.sealed.get(key))
                drifted = [Change.model_validate(each) for each in report]
                changes += [change.changed(address=f"{part}: {change.address}") for change in drifted]
        return changes

    async def _dry_run(self, context: StepContext, plan: PartPlan) -> list[Change]:
        request = await self._request(context, plan, dry_run=True)
        accepted = await self._ask(plan, request)
        result = await self._ended(context, accepted)
        if result.error is not None:
            raise OperationFailed(f"{accepted.id}: {result.error.message}", where=f"part {plan.part}")
        changes: list[Change] = []
        for step in result.steps:
            if step.plan is not None:
                part_changes = await self._stores.plans.changes(step.plan)
                changes += [change.changed(address=f"{plan.part}: {change.address}") for change in part_changes]
        return changes

    async def _request(self, context: StepContext, plan: PartPlan, *, dry_run: bool) -> Request:
        inputs = dict(plan.inputs)
        if inputs:
            version = plan.version or plan.stands.rpartition("@")[2]
            inputs = await self._with_references(plan.part, await self._promise(plan.promise, version), inputs)
        kind = plan.kind or OperationKind.UPDATE
        retry = plan.verb == "retry"
        moves = kind in {OperationKind.PROVISION, OperationKind.PATCH, OperationKind.UPGRADE} and not retry
        what = digest(canonical({"plan": plan.model_dump(mode="json"), "dry": dry_run}))[:24]
        cause = f"{context.service}/op/{context.operation}"
        return Request(
            request_id=f"part-{digest(cause.encode())[:16]}-{what}",
            kind=kind,
            promise=plan.promise if kind is OperationKind.PROVISION and not retry else "",
            version=plan.version if moves else "",
            inputs={} if retry else inputs,
            labels=_for_part(context.labels) if kind is OperationKind.PROVISION and not retry else {},
            retry=retry,
            dry_run=dry_run,
            # Another team's service changes for this one only when somebody of theirs has seen the plan.
            ask=service_id(plan.part).team != context.service.team and not retry,
            requested_by=context.requested_by,
            reason=f"part `{plan.parent.alias if plan.parent else ''}` of {context.service}",
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

    async def _bind(self, plan: PartPlan, context: StepContext) -> None:
        if plan.parent is None:
            return
        update = names.UPDATE_RELEASE if plan.verb == "release" else names.UPDATE_BIND
        if plan.verb == "adopt" and await self._is_taken(plan.part, plan.parent):
            return  # by an attempt before this one
        call = BindCall(parent=plan.parent, requested_by=context.requested_by, expected_state=plan.state)
        with contextlib.suppress(NotFound) if plan.verb == "release" else contextlib.nullcontext():
            try:
                await calls.update(self._temporal, workflow_of(plan.part), update, call, dict)
            except Changed as error:
                raise PlanStale(f"{plan.part} was changed since the plan was made", where=plan.part) from error

    async def _is_taken(self, part: str, parent: Dependant) -> bool:
        state = await self._state(part)
        return any(each.service == parent.service and each.owns for each in state.dependants) if state else False

    async def _ended(self, context: StepContext, accepted: Accepted) -> OperationResult:
        """The result of the part's operation, waited for as long as one attempt does."""
        operation = names.operation_workflow_id(accepted.service.team, accepted.service.name, accepted.number)
        context.heartbeat(Progress(address=accepted.id, note="has not ended yet"))
        context.log(f"waits for {accepted.id}, which {accepted.kind}s {accepted.revision}")
        handle = self._temporal.get_workflow_handle(operation, result_type=OperationResult)
        deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
        looks = iter(LOOKS_SECONDS)
        while asyncio.get_running_loop().time() < deadline:
            left = deadline - asyncio.get_running_loop().time()
            result = await result_within(handle, min(left, next(looks, left)))
            if result is not None:
                return result
            state = await self._state(str(accepted.service))
            ended = never_ran(accepted, state)
            if ended is not None:
                return ended
            if state is not None and state.phase is Phase.AWAITING_APPROVAL:
                context.heartbeat(Progress(address=accepted.id, note=APPROVAL_NOTE))
            await asyncio.sleep(POLL_SECONDS)
        raise Unreachable(
            f"{accepted.id} has not ended yet",
            where=f"part {accepted.service}",
            hint=f"bond operation show {accepted.id}",
        )

    async def _cancel(self, context: StepContext, accepted: Accepted) -> None:
        call = CancelCall(
            number=accepted.number, requested_by=context.requested_by, reason=f"{context.service} was cancelled"
        )
        with contextlib.suppress(BondError, asyncio.CancelledError):
            workflow_id = workflow_of(str(accepted.service))
            await calls.update(self._temporal, workflow_id, names.UPDATE_CANCEL_OPERATION, call, dict)

    def _change(self, plan: PartPlan, state: ServiceState | None) -> Change:
        current = state.resolved if state is not None else None
        gone = plan.verb == "decommission"
        before: dict[str, Any] | None = None
        if current is not None:
            changing = {name: value for name, value in current.inputs.items() if gone or name in plan.inputs}
            before = {"revision": str(current.revision), **({"inputs": _shown(changing)} if changing else {})}
        after = {"revision": f"{plan.promise}@{plan.version}"} if plan.version else {"revision": plan.stands}
        inputs = {name: MASK if name in plan.hidden else value for name, value in plan.inputs.items()}
        wanted: dict[str, Any] = {**after, **({"inputs": inputs} if inputs else {}), "does": plan.verb}
        return Change(
            address=f"service/{plan.part}",
            action=_ACTIONS[plan.verb],
            type=plan.promise,
            before=before,
            after=None if gone else wanted,
            fingerprints={}
            if gone
            else {"inputs": digest(canonical(plan.inputs)), "version": plan.version, "verb": plan.verb},
        )

    @property
    def _temporal(self) -> Client:
        if self._client is None:
            raise Unreachable("parts need a platform", hint="`bond up` starts one")
        return self._client

    @property
    def _stores(self) -> Store:
        if self._store is None:
            raise Unreachable("parts need a platform", hint="`bond up` starts one")
        return self._store


def _for_part(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels that a part is made with: its parent's, but for whom the parent was given to."""
    return {key: value for key, value in labels.items() if key != GIVE_LABEL}


def _parent(context: StepContext, section: ServiceSection) -> Dependant:
    return Dependant(service=context.service, alias=context.step, versions=section.version, owns=not section.bind)


def _stand_in(section: ServiceSection, parent: Dependant, verb: Literal["provision", "decommission"]) -> Planned:
    """The plan of a part in a test of its parent's promise, where there is no platform."""
    plan = PartPlan(verb=verb, part=section.service, promise=section.promise, parent=parent)
    change = Change(
        address=f"service/{section.service}",
        action=_ACTIONS[verb],
        type=section.promise,
        after={"inputs": section.inputs} if verb == "provision" else None,
    )
    return _planned(plan, [change])


def _planned(plan: PartPlan, changes: list[Change]) -> Planned:
    document = {
        "service": plan.part,
        "promise": plan.promise,
        "version": plan.version,
        "action": plan.verb,
        "changes": [change.model_dump(mode="json", exclude={"fingerprints"}) for change in changes],
    }
    return Planned(
        artefact=plan.model_dump_json().encode(),
        document=json.loads(json.dumps(document)),
        changes=changes,
        empty=plan.verb == "nothing",
        position=0,
        tool="service",
    )


def _shown(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: MASK if as_ref(value) is not None else value for name, value in inputs.items()}
