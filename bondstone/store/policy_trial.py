"""What a policy set would have said of the plan that each step of a service last applied. Nothing is changed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from bondstone.base.errors import BondError, NotFound
from bondstone.base.redact import known_secrets
from bondstone.model.ledger import LedgerRecord
from bondstone.model.plan import Decision, PlanRef
from bondstone.model.secret import refs_in
from bondstone.model.service import OperationKind, RevisionRef, ServiceId, StepStatus
from bondstone.model.step import PolicyCall
from bondstone.policy import Module, document, evaluate
from bondstone.policy.plan_secrets import sensitive_values
from bondstone.store.store import Store

Outcome = Literal["allow", "approval", "deny"]

_SEVERITY: Final[tuple[Outcome, ...]] = ("allow", "approval", "deny")
_STANDS: Final = frozenset({StepStatus.SUCCEEDED, StepStatus.UNCHANGED})


@dataclass(frozen=True, slots=True)
class StepVerdict:
    """What a policy set says of the last plan of one step."""

    call: PolicyCall
    """As the policies were asked."""
    decision: Decision
    in_force: Outcome | None
    """What the policies in force now say; None when they were not asked."""


@dataclass(frozen=True, slots=True)
class ServiceVerdict:
    """What a policy set says of the last plans of one service."""

    outcome: Literal["allow", "warn", "approval", "deny", "unknown"]
    """The worst of its steps; warn: allowed with a warning; unknown: it has no plan that could be read."""
    newly: bool = False
    """Whether that is worse than what the policies in force now say."""
    steps: tuple[StepVerdict, ...] = ()
    problem: str = ""
    """Why it is unknown."""

    @property
    def allowed(self) -> bool:
        """Whether it is known, and no denial."""
        return self.outcome in {"allow", "warn", "approval"}


class PolicyTrial:
    """Asks a policy set about the last plans of services.

    Args:
        store: Where the plans are.
        modules: The set, as `bondstone.policy.modules.load_valid` reads it.
        in_force: The set in force now, to compare with; None to compare with nothing.
    """

    def __init__(self, store: Store, modules: Sequence[Module], in_force: Sequence[Module] | None = None) -> None:
        self._store = store
        self._modules = modules
        self._in_force = in_force

    async def service(self, service: ServiceId, labels: Mapping[str, str]) -> ServiceVerdict:
        """What the set says of one service.

        Args:
            service: Which.
            labels: As they are today.
        """
        try:
            history = await self._store.ledger.history(service)
            steps = [await self._step(dict(labels), *plan) for plan in _last_plans(history)]
        except BondError as error:
            return ServiceVerdict("unknown", problem=error.message)
        if not steps:
            return ServiceVerdict("unknown", problem="no plan of it is kept")
        worst = max((step.decision.outcome for step in steps), key=_SEVERITY.index)
        before = max((step.in_force or "allow" for step in steps), key=_SEVERITY.index)
        warned = worst == "allow" and any(step.decision.findings for step in steps)
        return ServiceVerdict(
            "warn" if warned else worst,
            newly=_SEVERITY.index(worst) > _SEVERITY.index(before),
            steps=tuple(steps),
        )

    async def _step(self, labels: dict[str, str], call: PolicyCall, executor: str) -> StepVerdict:
        content, changes = await asyncio.gather(
            self._store.plans.document(call.plan), self._store.plans.changes(call.plan)
        )
        call = call.changed(labels=labels)
        question = document(call, content, changes, executor)
        secrets = known_secrets([*await self._revealed(call), *sensitive_values(content)])
        decision = await asyncio.to_thread(evaluate, self._modules, question, secrets=secrets, changes=changes)
        now: Decision | None = None
        if self._in_force is not None:
            now = await asyncio.to_thread(evaluate, self._in_force, question, secrets=secrets, changes=changes)
        return StepVerdict(call, decision, now.outcome if now else None)

    async def _revealed(self, call: PolicyCall) -> list[Any]:
        """The secrets that messages must not repeat; an erased one is in no plan that is asked about now."""
        values = []
        refs = {ref.key: ref for tree in (call.inputs, call.before_inputs) for ref in refs_in(tree)}
        for ref in refs.values():
            try:
                values.append(await self._store.secrets.reveal(ref, service=call.service))
            except NotFound:
                continue
        return values


def _last_plans(history: Sequence[LedgerRecord]) -> Iterator[tuple[PolicyCall, str]]:
    """The last plan of each step that stands, as it is asked about, and its executor; newest operations first."""
    known: set[str] = set()
    for record in reversed(history):
        if record.kind != "operation" or record.dry_run or record.revision_after is None:
            continue
        if record.operation_kind is OperationKind.DECOMMISSION and record.status == "succeeded":
            return  # what was before belonged to another service of that name
        for step in record.steps:
            plan = step.plan
            if plan is None or not plan.key or plan.destroy or step.part or step.id in known:
                continue
            if step.status in _STANDS:
                known.add(step.id)
                yield _call(record, record.revision_after, step.id, plan), step.executor


def _call(record: LedgerRecord, revision: RevisionRef, step: str, plan: PlanRef) -> PolicyCall:
    return PolicyCall(
        service=record.service,
        operation=record.operation or 0,
        kind=record.operation_kind or OperationKind.PROVISION,
        requested_by=record.by,
        revision=revision,
        step=step,
        inputs=record.inputs_after,
        plan=plan,
        before=record.revision_before,
        before_inputs=record.inputs_before,
    )
