"""The executor `service`: what the rest of Bondstone sees of parts.

It runs on control workers, because it speaks to Temporal. A part is asked for operations by the same updates as
people use, with a request id that follows from the plan: an attempt that was killed asks for the same operation
again. An attempt waits for a bounded time and is then retried, so that a part that waits for people holds no slot.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

from temporalio.client import Client

from bondstone.activities.service.desired import PartPlan, plan_for, plan_to_let_go
from bondstone.activities.service.operations import PartOperations
from bondstone.activities.service.results import promise_of, state_of
from bondstone.activities.service.section import ServiceSection
from bondstone.base import names
from bondstone.base.canonical import canonical, digest
from bondstone.base.errors import (
    OperationFailed,
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
    Dependant,
    OperationKind,
    ServiceId,
    ServiceState,
)
from bondstone.promise.inputs import fill_defaults, secret_paths
from bondstone.promise.versions import in_range
from bondstone.store import Store
from bondstone.temporal.service_ids import service_id

COMMIT_SECONDS: Final = 0.2
"""From the end of an operation until its service has committed it, where the ledger is written at once."""
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
        state = await self._provisioned(context, section, await state_of(self._temporal, section.service))
        plan = await self._plan(context, section, state)
        if plan.verb == "nothing" and state is not None and await self._outputs_differ(context, state):
            plan = plan.changed(verb="refresh", stands=str(state.resolved.revision) if state.resolved else "")
        changes = [self._change(plan, state)] if plan.verb != "nothing" else []
        if context.dry_run and plan.kind is not None:
            changes += await self._operations(context).dry_run(plan)
        return _planned(plan, changes)

    async def plan_destroy(self, context: StepContext) -> Planned:
        """Take the part down if it was made for this parent; else let go of it."""
        section: ServiceSection = context.section
        if context.trial:
            return _stand_in(section, _parent(context, section), "decommission")
        state = await state_of(self._temporal, section.service)
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
            await self._operations(context).bind(plan)
        result = await self._operations(context).run(plan) if plan.kind is not None else None
        if plan.verb in {"decommission", "release"}:
            return Outcome(outputs={})
        if result is not None:  # the part commits it a moment later
            return Outcome(outputs=await self._outputs(service_id(plan.part), result.outputs))
        state = await state_of(self._temporal, plan.part)
        if state is None:
            raise OperationFailed(f"the part {plan.part} is gone", where=plan.part, hint="`bond service retry`")
        return Outcome(outputs=await self._outputs(state.service, state.outputs))

    async def detect_drift(self, context: StepContext) -> Drifted:
        """A part drifts when it is gone, was changed away from what its parent wants, or is not healthy."""
        section: ServiceSection = context.section
        state = await state_of(self._temporal, section.service)
        plan = await self._plan(context, section, state)
        changes = [self._change(plan, state)] if plan.verb != "nothing" else []
        if context.reconcile is not None and plan.verb in _STANDING and plan.parent and plan.parent.owns:
            changes += await self._operations(context).reconcile(context.reconcile, section.service)
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
        await self._operations(context).ended(accepted)
        await asyncio.sleep(COMMIT_SECONDS)
        state = await state_of(self._temporal, section.service)
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
            promise = await promise_of(self._stores, section.promise, newest if moves else at)
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

    def _operations(self, context: StepContext) -> PartOperations:
        return PartOperations(context, self._temporal, self._stores)

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
