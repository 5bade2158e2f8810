"""The activity that asks the policies about a plan before it is applied."""

from __future__ import annotations

import asyncio

from temporalio import activity

from bondstone.activities.attested import Checks
from bondstone.activities.failures import speaks_failures
from bondstone.activities.rendering import REVISIONS_DIR, reveal_all
from bondstone.base import names
from bondstone.base.redact import known_secrets
from bondstone.base.settings import Settings
from bondstone.base.tracing import spans
from bondstone.model.attestation import basis_digest, json_digest
from bondstone.model.plan import Decision, PlanRef
from bondstone.model.service import RevisionRef
from bondstone.model.step import PolicyCall, StepCall
from bondstone.policy import Module, document, evaluate
from bondstone.policy.plan_secrets import sensitive_values
from bondstone.promise.approval_rules import approvals
from bondstone.promise.policies import policy_modules
from bondstone.rego.choice import engine
from bondstone.rego.engine import Engine
from bondstone.store import Store


class PolicyActivities:
    """What the control worker does with policies.

    Args:
        store: Where revisions, plans and policy sets are.
        settings: Names the work directory that revisions are unpacked in.
        checks: Of permits; by default none are demanded.
    """

    def __init__(self, store: Store, settings: Settings, checks: Checks | None = None) -> None:
        self._store = store
        self._checks = checks or Checks(store)
        self._settings = settings
        self._modules: dict[str, list[Module]] = {}
        self._engine: Engine | None = None

    @activity.defn(name=names.POLICY_CHECK)
    @speaks_failures
    async def check(self, call: PolicyCall) -> Decision:
        """Decide about one plan: the organisation's policies in force, the promise's own, its approval rules."""
        call = await self._checks.policy(call)
        decision = await self._decide(call)
        if self._checks.demanded:
            await self._store.vouched.decide(decision_key(call, call.plan), decision)
        return decision

    async def _decide(self, call: PolicyCall) -> Decision:
        promise, organisation, promise_modules, plan, changes = await asyncio.gather(
            self._store.revisions.promise(call.revision),
            self._store.policies.current(),
            self._promise_modules(call.revision),
            self._store.plans.document(call.plan),
            self._store.plans.changes(call.plan),
        )
        outputs = [output.values for output in call.outputs.values()]
        revealed = await reveal_all(self._store, call.service, (call.inputs, call.before_inputs, *outputs))
        secrets = known_secrets([*revealed.values(), *sensitive_values(plan)])
        modules = [*(organisation.modules() if organisation else ()), *promise_modules]
        executor = next((step.executor for step in promise.spec.steps if step.id == call.step), "")
        # An empty plan changes nothing that people could be asked about.
        further = () if call.plan.empty else tuple(approvals(promise, call, changes))
        if self._engine is None:
            self._engine = await asyncio.to_thread(engine)
        with spans.span("policy.evaluate", {"bond.policy_modules": len(modules)}) as span:
            decision = await asyncio.to_thread(
                evaluate,
                modules,
                document(call, plan, changes, executor),
                secrets=secrets,
                changes=changes,
                further=further,
                deciding=self._engine,
            )
            span.set("bond.decision", decision.outcome)
            return decision

    async def _promise_modules(self, revision: RevisionRef) -> list[Module]:
        if revision.digest not in self._modules:
            promise = await self._store.revisions.promise(revision)
            modules: list[Module] = []
            if promise.spec.policies:
                bundle = await self._store.revisions.materialise(revision, self._settings.work_dir / REVISIONS_DIR)
                modules = await asyncio.to_thread(policy_modules, promise, bundle)
            self._modules[revision.digest] = modules
        return self._modules[revision.digest]


def decision_key(call: StepCall, plan: PlanRef) -> str:
    """What the decision about a plan is kept under: the plan, and what it was made from."""
    return json_digest([plan.key, plan.position, basis_digest(call.revision.digest, call.inputs), call.labels])
