"""A policy set against the fleet's last plans: what it would have said, without changing anything."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from bondstone.base.errors import BondError, NotFound
from bondstone.base.redact import known_secrets
from bondstone.campaign.fleet import FleetService
from bondstone.client.documents.policy import CheckedService, CheckedStep, Outcome, PolicyCheck
from bondstone.client.documents.step import DecisionDocument
from bondstone.model.ledger import LedgerRecord
from bondstone.model.plan import Decision, PlanRef
from bondstone.model.secret import refs_in
from bondstone.model.service import OperationKind, RevisionRef, StepStatus
from bondstone.model.step import PolicyCall
from bondstone.policy import Module, document, evaluate
from bondstone.policy.plan_secrets import sensitive_values
from bondstone.store import Store
from bondstone.temporal.fleet import fleet
from bondstone.temporal.service_ids import service_id

if TYPE_CHECKING:
    from bondstone.client.bondstone import Bondstone

SERVICES_AT_ONCE: Final = 4

ALLOWED: Final = ("allow", "warn", "approval")
"""What is no denial; of `unknown` nobody can say."""

_SEVERITY: Final[tuple[Outcome, ...]] = ("allow", "approval", "deny")
_STANDS: Final = frozenset({StepStatus.SUCCEEDED, StepStatus.UNCHANGED})


async def check(
    bond: Bondstone,
    modules: Sequence[Module],
    *,
    on_service: Callable[[int, int], None] = lambda _done, _all: None,
) -> PolicyCheck:
    """Ask a policy set about the last plan of every step of every service.

    The promises' own policies and approval rules are left out: they do not change.

    Args:
        bond: The client.
        modules: The set, as `bondstone.policy.modules.load_valid` reads it.
        on_service: Called with how many services are done, of how many.
    """
    current = await bond.store.policies.current()
    checker = _Checker(bond.store, modules, current.modules() if current else None)
    services = await fleet(bond.temporal)
    limit = asyncio.Semaphore(SERVICES_AT_ONCE)
    done = 0

    async def one(service: FleetService) -> CheckedService:
        nonlocal done
        async with limit:
            checked = await checker.service(service)
        done += 1
        on_service(done, len(services))
        return checked

    found = await asyncio.gather(*map(one, services))
    return PolicyCheck(
        modules=tuple(module.name for module in modules),
        in_force=current.ref.version if current else None,
        counts=dict(Counter(checked.outcome for checked in found)),
        services=tuple(found),
    )


async def each(
    store: Store, modules: Sequence[Module], services: Iterable[FleetService]
) -> AsyncIterator[CheckedService]:
    """What a policy set says of the last plans of some services, as they become known.

    Args:
        store: Where the plans are.
        modules: The set.
        services: Which; in no order.
    """
    checker = _Checker(store, modules, None)
    limit = asyncio.Semaphore(SERVICES_AT_ONCE)

    async def one(service: FleetService) -> CheckedService:
        async with limit:
            return await checker.service(service)

    for checked in asyncio.as_completed(list(map(one, services))):
        yield await checked


class _Checker:
    """Two policy sets, and where the plans are."""

    def __init__(self, store: Store, modules: Sequence[Module], in_force: Sequence[Module] | None) -> None:
        self._store = store
        self._modules = modules
        self._in_force = in_force

    async def service(self, service: FleetService) -> CheckedService:
        """What they say of one service."""
        about: dict[str, Any] = {"service": service.id, "promise": service.promise}
        try:
            history = await self._store.ledger.history(service_id(service.id))
            steps = [await self._step(dict(service.labels), *found) for found in _last_plans(history)]
        except BondError as error:
            return CheckedService(**about, outcome="unknown", newly=False, problem=error.message)
        if not steps:
            return CheckedService(**about, outcome="unknown", newly=False, problem="no plan of it is kept")
        worst = max((step.policy.outcome for step in steps), key=_SEVERITY.index)
        before = max((step.in_force or "allow" for step in steps), key=_SEVERITY.index)
        warned = worst == "allow" and any(step.policy.findings for step in steps)
        return CheckedService(
            **about,
            outcome="warn" if warned else worst,
            newly=_SEVERITY.index(worst) > _SEVERITY.index(before),
            steps=tuple(steps),
        )

    async def _step(self, labels: dict[str, str], call: PolicyCall, executor: str) -> CheckedStep:
        """What they say of one step, asked as it is today."""
        content, changes = await asyncio.gather(
            self._store.plans.document(call.plan), self._store.plans.changes(call.plan)
        )
        call = call.model_copy(update={"labels": labels})
        asked = document(call, content, changes, executor)
        secrets = known_secrets([*await self._revealed(call), *sensitive_values(content)])
        decision = await asyncio.to_thread(evaluate, self._modules, asked, secrets=secrets)
        now: Decision | None = None
        if self._in_force is not None:
            now = await asyncio.to_thread(evaluate, self._in_force, asked, secrets=secrets)
        return CheckedStep(
            step=call.step,
            operation=f"{call.service}/op/{call.operation}",
            plan=call.plan.digest,
            policy=DecisionDocument.of(decision),
            in_force=now.outcome if now else None,
        )

    async def _revealed(self, call: PolicyCall) -> list[Any]:
        """The secrets that messages must not repeat; one that was erased is in no plan that is asked about now."""
        found = []
        refs = {ref.key: ref for tree in (call.inputs, call.before_inputs) for ref in refs_in(tree)}
        for ref in refs.values():
            try:
                found.append(await self._store.secrets.reveal(ref, service=call.service))
            except NotFound:
                continue
        return found


def _last_plans(history: Sequence[LedgerRecord]) -> Iterator[tuple[PolicyCall, str]]:
    """The last plan of each step that stands, as it is asked about, and its executor; newest operations first."""
    seen: set[str] = set()
    for record in reversed(history):
        if record.kind != "operation" or record.dry_run or record.revision_after is None:
            continue
        if record.operation_kind is OperationKind.DECOMMISSION and record.status == "succeeded":
            return  # what was before belonged to another service of that name
        for step in record.steps:
            plan = step.plan
            if plan is None or not plan.key or plan.destroy or step.part or step.id in seen:
                continue
            if step.status in _STANDS:
                seen.add(step.id)
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
