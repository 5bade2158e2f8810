"""A policy set against the fleet's last plans: what it would have said, without changing anything."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from temporalio.client import Client

from bondstone.campaign.fleet import FleetService
from bondstone.client.documents.policy import CheckedService, CheckedStep, PolicyCheck
from bondstone.client.documents.step import DecisionDocument
from bondstone.policy import Module
from bondstone.store import Store
from bondstone.store.policy_trial import PolicyTrial, ServiceVerdict
from bondstone.temporal.fleet import fleet
from bondstone.temporal.service_ids import service_id

SERVICES_AT_ONCE: Final = 4


async def check(
    store: Store,
    temporal: Client,
    modules: Sequence[Module],
    *,
    on_service: Callable[[int, int], None] = lambda _done, _all: None,
) -> PolicyCheck:
    """Ask a policy set about the last plan of every step of every service.

    The promises' own policies and approval rules are left out: they do not change.

    Args:
        store: The platform's stores.
        temporal: The connection to Temporal.
        modules: The set, as `bondstone.policy.modules.load_valid` reads it.
        on_service: Called with how many services are done, of how many.
    """
    current = await store.policies.current()
    trial = PolicyTrial(store, modules, current.modules() if current else None)
    services = await fleet(temporal, store)
    limit = asyncio.Semaphore(SERVICES_AT_ONCE)
    done = 0

    async def one(service: FleetService) -> CheckedService:
        nonlocal done
        async with limit:
            verdict = await trial.service(service_id(service.id), service.labels)
        done += 1
        on_service(done, len(services))
        return _document(service, verdict)

    checked = await asyncio.gather(*map(one, services))
    return PolicyCheck(
        modules=tuple(module.name for module in modules),
        in_force=current.ref.version if current else None,
        counts=dict(Counter(each.outcome for each in checked)),
        services=tuple(checked),
    )


def _document(service: FleetService, verdict: ServiceVerdict) -> CheckedService:
    return CheckedService(
        service=service.id,
        promise=service.promise,
        outcome=verdict.outcome,
        newly=verdict.newly,
        steps=tuple(
            CheckedStep(
                step=step.call.step,
                operation=f"{step.call.service}/op/{step.call.operation}",
                plan=step.call.plan.digest,
                policy=DecisionDocument.of(step.decision),
                in_force=step.in_force,
            )
            for step in verdict.steps
        ),
        problem=verdict.problem,
    )
