"""From a manifest and the fleet to a frozen campaign: which services, in which waves, and the rules in numbers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Final

from temporalio.client import Client

from bondstone.base.errors import InvalidInput, Refused
from bondstone.campaign.decider import chosen
from bondstone.campaign.document import Flaw, campaign_of, read_campaign, read_strategy
from bondstone.campaign.fleet import FleetService
from bondstone.campaign.waves import Partition, Status, WaveNumbers, partition
from bondstone.documents.yaml_places import read as parse
from bondstone.model.campaign.events import Retry, RollbackTargets
from bondstone.model.campaign.manifest import Campaign, Select, start_rate_of
from bondstone.model.campaign.run import (
    CampaignHeader,
    FreezeCall,
    Frozen,
    Job,
    LeftOut,
    TargetEntry,
)
from bondstone.model.campaign.state import Rules, WaveRules
from bondstone.model.plan import Pins
from bondstone.model.promise import seconds
from bondstone.model.service import Need, OperationKind
from bondstone.store import Store
from bondstone.store.policy_trial import PolicyTrial, ServiceVerdict
from bondstone.store.previews import Previews, check_pinned
from bondstone.temporal.fleet import fleet
from bondstone.temporal.service_ids import service_id

PAGE_SIZE: Final = 250
"""Targets on a page: a run of the workflow reads two or three of them."""

MAX_RECHECKED: Final = 10_000
"""Most targets whose last plans the policies are asked about before a reconcile begins: some 20 ms each."""

RECHECKED_AT_ONCE: Final = 4

Refuse = Callable[[Iterable[Flaw]], InvalidInput]

_BUDGET: Final = ("spec", "budget")
_ANY_NAME: Final = "scheduled"
"""Stands in for a name with a time in it, as schedules make them."""


async def freeze(store: Store, client: Client, call: FreezeCall) -> Frozen:
    """Choose the targets of a campaign and keep them; the same call again gives what is kept.

    Raises:
        CampaignInvalid: the manifest, or what it selects, cannot be.
        AlreadyExists: there was a campaign of that name.
    """
    name = call.name
    header = CampaignHeader(name=name, run_id=call.run_id, start=call.start, at=call.at)
    if await store.campaigns.exists(name):
        kept = await store.campaigns.begin(header)
        if kept.frozen is not None:
            return kept.frozen
    campaign, refuse = _manifest(call, kept=call.start.linked is not None or bool(call.start.schedule))
    services = whole = await fleet(client, store)
    if call.start.linked is not None:
        campaign, services = await _linked(store, call, campaign, services)
    partitioned = partition(campaign, services, await _published(store, campaign), name=name, whole=whole)
    # What a linked campaign has left of the targets may be fewer than the budget of the file allows to fail.
    flaws = [flaw for flaw in partitioned.flaws if call.start.linked is None or flaw.path[:2] != _BUDGET]
    if flaws:
        raise refuse(flaws)
    entries = await _pinned(store, call, campaign, _entries(partitioned))
    await store.campaigns.begin(header)
    digest = await store.campaigns.put_targets(name, entries, _left(partitioned), page_size=PAGE_SIZE)
    frozen = Frozen(
        rules=rules_of(name, campaign, partitioned, requested_by=call.start.requested_by, digest=digest),
        job=_job(campaign, call),
        left_out=_counted(partitioned),
    )
    if campaign.spec.operation == "reconcile":
        frozen = frozen.changed(**await _allowed(store, services, {entry.service for entry in entries}))
    await store.campaigns.update(header.changed(frozen=frozen))
    return frozen


def rules_of(
    name: str, campaign: Campaign, partitioned: Partition, *, requested_by: str, digest: str = ""
) -> Rules:
    """A campaign in numbers."""
    spec = campaign.spec
    count, period = start_rate_of(spec.start_rate) if spec.start_rate else (0, 60)
    return Rules(
        campaign=name,
        requested_by=requested_by,
        targets_digest=digest,
        waves=tuple(map(_wave_rules, partitioned.waves)),
        page_size=PAGE_SIZE,
        max_concurrent=spec.max_concurrent,
        max_concurrent_per_group=spec.per.max_concurrent if spec.per else None,
        start_count=count,
        start_period_seconds=period,
        max_failures=partitioned.max_failures,
        max_consecutive_failures=spec.budget.consecutive,
        overshoot=spec.budget.overshoot,
        on_failure=spec.on_failure,
        retries=spec.target.retries,
        backoff_seconds=seconds(spec.target.backoff),
        timeout_seconds=seconds(spec.target.timeout),
        busy=spec.target.busy,
        unreachable=spec.target.unreachable,
        has_calendar=True,  # there may be a freeze at any time
        window_end=spec.windows.end,
    )


def read(call: FreezeCall) -> Campaign:
    """The manifest that a campaign was started with. A schedule's campaign has another name than its file."""
    return _manifest(call, kept=True)[0]


# Reading -------------------------------------------------------------------------------------------------


def _manifest(call: FreezeCall, *, kept: bool) -> tuple[Campaign, Refuse]:
    """The campaign, and how to make an error of flaws, at their lines.

    Args:
        call: How it was started.
        kept: It began before, or a schedule or another campaign keeps it: it was accepted when it was written.
    """
    start = call.start
    data = start.source.encode() or json.dumps(start.document, indent=1).encode()
    document = parse(data, start.file)
    kind = document.data.get("kind") if isinstance(document.data, dict) else None
    if kind == "Strategy":
        strategy = read_strategy(data, start.file, now=call.at, kept=kept)
        campaign = campaign_of(strategy.require(), name=_ANY_NAME, reason=start.reason)
        refuse: Refuse = strategy.refuse
    else:
        manifest = read_campaign(data, start.file, now=call.at, kept=kept)
        campaign, refuse = manifest.require(), manifest.refuse
    return campaign, refuse


async def _linked(
    store: Store, call: FreezeCall, campaign: Campaign, services: list[FleetService]
) -> tuple[Campaign, list[FleetService]]:
    """The campaign over those targets of another that a verb chooses, as they stood when that one began."""
    linked = call.start.linked
    if linked is None:
        return campaign, services
    state = await store.campaigns.end(linked.campaign)
    if state is None:
        raise Refused(
            f"campaign {linked.campaign} has not ended",
            where=f"campaign {call.name}",
            hint=f"`bond campaign {linked.verb} {linked.campaign}` does it there",
        )
    who = {"request_id": "linked", "by": call.start.requested_by, "which": linked.which}
    verb = Retry.model_validate(who) if linked.verb == "retry" else RollbackTargets.model_validate(who)
    targets = await store.campaigns.targets(linked.campaign)
    wanted = {targets[index].service: targets[index] for index in chosen(state, verb)}
    of_linked = [service for service in services if service.id in wanted]
    changes: dict[str, object] = {"select": Select(), "source": None}
    if linked.verb == "retry":
        # One that got half-way is listed at the version it was to get, and is to be tried again all the same.
        of_linked = [replace(service, version=wanted[service.id].version) for service in of_linked]
    else:
        back = campaign.spec.on_failure.startswith("rollback")
        changes |= {"operation": "rollback", "to": None, "inputs": {}}
        changes |= {"on_failure": "pause"} if back else {}
    return campaign.changed(spec=campaign.spec.changed(**changes)), of_linked


async def _published(store: Store, campaign: Campaign) -> dict[str, Status]:
    if campaign.spec.promise is None:
        return {}
    return {info.ref.version: info.status for info in await store.revisions.list(campaign.spec.promise)}


# Writing -------------------------------------------------------------------------------------------------


def _entries(partitioned: Partition) -> list[TargetEntry]:
    return [
        TargetEntry(
            service=target.service,
            group=target.group,
            version=target.version,
            to=target.to,
            pool=target.pool,
            why=target.why,
            parts=target.parts,
        )
        for target in partitioned.targets
    ]


async def _pinned(
    store: Store, call: FreezeCall, campaign: Campaign, entries: list[TargetEntry]
) -> list[TargetEntry]:
    """The targets with the plans that they are to keep to; one that the preview does not know has none of them."""
    if not call.start.pinned:
        return entries
    preview = await Previews(store.sealed).get(call.start.pinned)
    check_pinned(preview, campaign)
    known = {(target.service, target.to): target.plans() for target in preview.targets}
    return [
        entry.changed(pins=Pins(preview=call.start.pinned, plans=known.get((entry.service, entry.to), {})))
        for entry in entries
    ]


async def _allowed(store: Store, services: Iterable[FleetService], targets: AbstractSet[str]) -> dict[str, object]:
    """How the fleet stood with the policies in force, by the last plans of the targets."""
    current = await store.policies.current()
    if current is None or len(targets) > MAX_RECHECKED:
        return {}
    trial, limit = PolicyTrial(store, current.modules()), asyncio.Semaphore(RECHECKED_AT_ONCE)

    async def verdict(service: FleetService) -> ServiceVerdict:
        async with limit:
            return await trial.service(service_id(service.id), service.labels)

    verdicts = await asyncio.gather(*(verdict(service) for service in services if service.id in targets))
    return {"policy_set": str(current.ref.version), "allowed": sum(verdict.allowed for verdict in verdicts)}


def _left(partitioned: Partition) -> list[LeftOut]:
    return [LeftOut(service=item.service, kind=item.kind, reason=item.reason) for item in partitioned.left]


def _counted(partitioned: Partition) -> dict[str, int]:
    counts: dict[str, int] = {}
    for item in partitioned.left:
        if item.kind == "skipped":
            counts[item.reason] = counts.get(item.reason, 0) + 1
    return counts


def _wave_rules(wave: WaveNumbers) -> WaveRules:
    needs: tuple[Need, ...] = ()
    expires = 0
    if wave.gate is not None:
        approval = wave.gate.approval
        needs = (Need(roles=approval.roles, count=approval.count, reason=f"the gate of wave {wave.name}"),)
        expires = seconds(approval.expires) if approval.expires else 0
    return WaveRules(
        name=wave.name,
        size=wave.size,
        max_concurrent=wave.max_concurrent,
        max_failures=wave.max_failures,
        soak_seconds=wave.soak_seconds,
        needs=needs,
        expires_seconds=expires,
    )


def _job(campaign: Campaign, call: FreezeCall) -> Job:
    spec, linked = campaign.spec, call.start.linked
    return Job(
        operation=OperationKind(spec.operation),
        promise=spec.promise or "",
        to=spec.to or "",
        unit=spec.unit,
        inputs=spec.inputs,
        repair=spec.repair,
        owner=campaign.metadata.owner,
        reason=call.start.reason or campaign.metadata.reason,
        change=campaign.metadata.change,
        undoes=linked.campaign if linked and linked.verb == "rollback" else "",
    )
