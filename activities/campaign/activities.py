"""The control activities of campaigns: what their workflow cannot know by itself."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

from temporalio import activity
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from bondstone.activities.attested import Checks
from bondstone.activities.campaign.selection import freeze, read
from bondstone.activities.failures import speaks_failures
from bondstone.activities.health import HealthActivities
from bondstone.activities.tooling.heartbeat import Pulse
from bondstone.base import names
from bondstone.base.errors import AttestationInvalid, BondError, NotFound
from bondstone.campaign.windows import Freeze, Windows
from bondstone.model.campaign.events import Found
from bondstone.model.campaign.run import (
    AskedService,
    CalendarCall,
    FreezeCall,
    FreezeRecord,
    Frozen,
    LedgerBatch,
    PageCall,
    Sightings,
    SightingsCall,
    TargetPage,
    UnhealthyTargets,
)
from bondstone.model.campaign.state import Calendar, FreezeOn
from bondstone.model.ledger import LedgerEntry
from bondstone.model.notification import EventSource
from bondstone.model.service import (
    Health,
    OperationKind,
    OperationRecord,
    OperationStatus,
    Phase,
    ServiceState,
)
from bondstone.model.step import HealthCall
from bondstone.store import Store
from bondstone.store.ledger_signatures import sign_record
from bondstone.store.signing import Signer
from bondstone.temporal import calls
from bondstone.temporal.announcing import Announcer
from bondstone.temporal.connection import POLLER_FRESH_SECONDS, pollers

CALENDAR_SECONDS: Final = 300
"""Longest time until freezes are looked at again: whoever makes one tells running campaigns, but may fail to."""

LOOKS_AT_ONCE: Final = 10

_LEFT: Final = frozenset({Phase.DECOMMISSIONED, Phase.ABANDONED})


class CampaignActivities:
    """What the control worker does for campaigns.

    Args:
        store: Where campaigns, freezes and promises are.
        client: For lists, and to ask services.
        health: Probes.
        checks: Of attestations; by default none are demanded.
        signer: Signs the campaign's ledger; None where attestations are not demanded.
        announcer: Tells subscribers; None for nobody.
    """

    def __init__(
        self,
        store: Store,
        client: Client,
        health: HealthActivities,
        checks: Checks | None = None,
        signer: Signer | None = None,
        *,
        announcer: Announcer | None = None,
    ) -> None:
        self._signer = signer
        self._announcer = announcer
        self._store = store
        self._checks = checks or Checks(store)
        self._client = client
        self._health = health

    @activity.defn(name=names.CAMPAIGN_FREEZE)
    @speaks_failures
    async def freeze(self, call: FreezeCall) -> Frozen:
        """Choose the targets, put them into waves, keep them; refuse in words what cannot be."""
        if self._checks.demanded:
            await self._checks.campaign(call)
        async with Pulse(activity.heartbeat):
            return await freeze(self._store, self._client, call)

    @activity.defn(name=names.CAMPAIGN_PAGE)
    @speaks_failures
    async def page(self, call: PageCall) -> TargetPage:
        """A page of the frozen list."""
        return TargetPage(targets=await self._store.campaigns.page(call.campaign, call.page))

    @activity.defn(name=names.CAMPAIGN_CALENDAR)
    @speaks_failures
    async def calendar(self, call: CalendarCall) -> Calendar:
        """What windows and freezes say at this moment."""
        now = datetime.now(UTC)
        header = await self._store.campaigns.header(call.campaign)
        campaign = read(FreezeCall(name=header.name, run_id=header.run_id, start=header.start, at=header.at))
        freezes = [freeze for freeze in await self._store.campaigns.freezes(at=now) if freeze.binds(call.change)]
        return calendar_at(
            now, Windows(campaign.spec.windows), freezes, cancels=campaign.spec.windows.end == "cancel"
        )

    @activity.defn(name=names.CAMPAIGN_DESCRIBE)
    @speaks_failures
    async def describe(self, call: SightingsCall) -> Sightings:
        """What overdue targets are doing."""
        limit = asyncio.Semaphore(LOOKS_AT_ONCE)
        unmanned = await self._unmanned({pool for target in call.targets for pool in _pools(target)})

        async def one(target: AskedService) -> Found | None:
            async with limit:
                sighting = await self._sight(call.campaign, target)
            idle = unmanned.intersection(_pools(target))
            if sighting is None or sighting.what != "alive" or not idle:
                return sighting
            return sighting.changed(stalled=f"no worker serves pool {', '.join(sorted(idle))}")

        sightings = await asyncio.gather(*map(one, call.targets))
        left = [
            target.target for target, sighting in zip(call.targets, sightings, strict=True) if sighting is None
        ]
        return Sightings(found=tuple(sighting for sighting in sightings if sighting is not None), left=tuple(left))

    @activity.defn(name=names.CAMPAIGN_PROBE)
    @speaks_failures
    async def probe(self, call: SightingsCall) -> UnhealthyTargets:
        """Whether targets still stand in health on what the campaign gave them."""
        limit = asyncio.Semaphore(LOOKS_AT_ONCE)

        async def one(target: AskedService) -> str:
            async with limit:
                return await self._unhealthy(target)

        async with Pulse(activity.heartbeat):
            reasons = await asyncio.gather(*map(one, call.targets))
        return UnhealthyTargets(
            unhealthy={target.target: why for target, why in zip(call.targets, reasons, strict=True) if why}
        )

    @activity.defn(name=names.CAMPAIGN_RECORD)
    @speaks_failures
    async def record(self, batch: LedgerBatch) -> LedgerEntry:
        """Append to the campaign's ledger; the same again changes nothing."""
        if self._signer is not None:
            batch = await self._signed(batch, self._signer)
        entry = await self._store.campaigns.record(batch)
        if self._announcer is not None and batch.final is not None:
            ended = EventSource(
                kind="campaign",
                id=f"campaign/{batch.campaign}",
                ledger_key=entry.key,
                campaign=batch.campaign,
                at=batch.final.ended_at,
            )
            await self._announcer.announce(ended, "")
        return entry

    async def _signed(self, batch: LedgerBatch, signer: Signer) -> LedgerBatch:
        """The batch with our signature; the first one says who started the campaign."""
        header = await self._store.campaigns.header(batch.campaign)
        if header.frozen is None or header.start.attestation is None:
            raise AttestationInvalid("no attestation says who started this campaign", where=batch.campaign)
        return sign_record(
            batch.changed(attestation=header.start.attestation if batch.number == 1 else None), signer
        )

    # How -------------------------------------------------------------------------------------------------

    async def _state(self, service: str) -> ServiceState:
        workflow_id = names.service_workflow_id(*names.parse_service(service))
        return await calls.query(self._client, workflow_id, ServiceState)

    async def _sight(self, campaign: str, target: AskedService) -> Found | None:
        """What one target is doing; None when its service has left for good."""
        sighting = Found(target=target.target, attempt=target.attempt, what="silent")
        request_id = names.campaign_request_id(campaign, target.target, target.attempt)
        try:
            state = await self._state(target.service)
            return seen_in(state, request_id, sighting, alive=await self._alive(target.service))
        except NotFound:
            return sighting.changed(what="gone")
        except BondError:
            return sighting

    async def _unmanned(self, pools: set[str]) -> set[str]:
        """Those of the pools that no worker has polled of late."""
        fresh = datetime.now(UTC) - timedelta(seconds=POLLER_FRESH_SECONDS)
        unmanned = set()
        for pool in pools:
            try:
                recent = await pollers(self._client, names.pool_queue(pool))
            except RPCError:
                continue  # then nobody can say
            if all(poller.last_seen < fresh for poller in recent):
                unmanned.add(pool)
        return unmanned

    async def _alive(self, service: str) -> bool:
        handle = self._client.get_workflow_handle(names.service_workflow_id(*names.parse_service(service)))
        try:
            return (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise calls.as_ours(error, handle.id) from error

    async def _unhealthy(self, target: AskedService) -> str:
        """What is wrong with one target; empty when nothing is."""
        try:
            state = await self._state(target.service)
            if state.resolved is None or state.phase in _LEFT:
                return f"the service is {state.phase}"
            if target.to and state.resolved.revision.version != target.to:
                return f"it stands on {state.resolved.revision} and not on {target.to}"
            if not state.resolved.health_seconds:
                return "" if state.health is not Health.UNHEALTHY else "its last probes failed"
            call = _health_call(state)
            await self._checks.standing(call)
            report = await self._health.look(call)
        except BondError as error:
            if error.transient:
                raise
            return error.message
        return "" if report.health is Health.HEALTHY else report.message or "it is not healthy"


def calendar_at(now: datetime, windows: Windows, freezes: list[FreezeRecord], *, cancels: bool) -> Calendar:
    """What windows and freezes say of one moment, and until when.

    Args:
        now: The moment.
        windows: Of the campaign.
        freezes: Those that bind it.
        cancels: What still runs at a window's end is cancelled; that a freeze begins cancels nothing.
    """
    platform = [_as_freeze(freeze) for freeze in freezes if not freeze.team]
    teams = [freeze for freeze in freezes if freeze.team]
    opening = windows.at(now, platform)
    on = sorted({freeze.team for freeze in teams if freeze.begins_at <= now})
    changes = [freeze.begins_at if freeze.begins_at > now else freeze.ends_at for freeze in teams]
    times = [at for at in (*changes, opening.until, now + timedelta(seconds=CALENDAR_SECONDS)) if at is not None]
    return Calendar(
        open=opening.open,
        until=min(times),
        window_ends_at=windows.at(now).ends_at if cancels else None,
        frozen_teams=tuple(on),
        why=opening.why,
        opens_at=None if opening.open else opening.until,
        freezes=tuple(
            FreezeOn(name=freeze.name, team=freeze.team, ends_at=freeze.ends_at)
            for freeze in freezes
            if freeze.begins_at <= now
        ),
    )


def seen_in(state: ServiceState, request_id: str, sighting: Found, *, alive: bool) -> Found | None:
    """What a service's state says of one submission; None when the service has left and never heard of it."""
    known = next((each for each in state.submissions if each.request_id == request_id), None)
    if known is not None and known.status is not None:
        changes = {"what": "ended", "status": known.status, "error": known.error, "evidence": known.evidence}
        return sighting.changed(**changes, operation=known.number)
    if not alive:
        return None if state.phase in _LEFT else sighting.changed(what="gone")
    if known is not None:
        record = next((each.record for each in state.queue if each.record.number == known.number), None)
        awaiting = record is not None and record.status is OperationStatus.AWAITING_APPROVAL
        return sighting.changed(what="alive", operation=known.number, awaiting=awaiting)
    number = state.seen_requests.get(request_id, 0)
    record = _record(state, number)
    if record is None:
        return sighting.changed(what="unknown")
    return sighting.changed(
        what="ended",
        status=record.status,
        error=record.error,
        operation=number,
    )


def _pools(target: AskedService) -> list[str]:
    return [pool for pool in target.pool.split(",") if pool]


def _record(state: ServiceState, number: int) -> OperationRecord | None:
    return next((record for record in state.operations if record.number == number), None)


def _as_freeze(freeze: FreezeRecord) -> Freeze:
    return Freeze(name=freeze.name, begins_at=freeze.begins_at, ends_at=freeze.ends_at)


def _health_call(state: ServiceState) -> HealthCall:
    if state.resolved is None:
        raise AssertionError  # asked for what stands only
    return HealthCall(
        service=state.service,
        labels=state.labels,
        operation=state.next_number - 1,
        kind=OperationKind.RECONCILE,
        revision=state.resolved.revision,
        inputs=state.resolved.inputs,
        outputs=state.step_outputs,
        service_outputs=state.outputs,
    )
