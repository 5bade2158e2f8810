"""Campaign files beside the fleet and the catalogue: everything that can be known before a campaign starts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from temporalio.client import Client

from bondstone.base.errors import AlreadyExists
from bondstone.base.names import check_name
from bondstone.campaign import words as phrases
from bondstone.campaign.checks import takes_whole_platform
from bondstone.campaign.document import Flaw, read_campaign
from bondstone.campaign.fleet import FleetService
from bondstone.campaign.forecast import FALLBACK_SECONDS, forecast
from bondstone.campaign.waves import CampaignTarget, Partition, Status, partition
from bondstone.campaign.windows import HORIZON, Freeze, zone
from bondstone.client.direct.campaigns.listing import campaigns
from bondstone.client.direct.campaigns.secret_inputs import secret_inputs
from bondstone.client.documents.campaign import (
    PreviewDocument,
    PreviewLeft,
    PreviewTarget,
    PreviewWave,
    ZonedTime,
)
from bondstone.model.campaign.manifest import Campaign, CampaignSpec, Gate
from bondstone.model.service import OperationKind
from bondstone.store import Store
from bondstone.temporal.fleet import fleet, past_seconds

MAX_OVERLAPS: Final = 20
"""Running campaigns whose targets are compared."""

SCOPE: Final = "the services that you may see; it starts only where you may operate on every target"
"""Of which services a preview speaks to somebody who may not see every one."""

_UTC: Final = frozenset({"", "UTC", "Etc/UTC"})
"""Zones that need no line of their own beside UTC."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A campaign that could start, as far as anybody knows."""

    campaign: Campaign
    plan: Partition
    freezes: Mapping[str, Sequence[Freeze]]
    """By team, those that bind it; under the empty name those of the whole platform."""
    now: datetime
    overlaps: Mapping[str, str]
    """The campaigns that run and have targets of this one too, and how many, in words."""
    is_whole: bool = True
    """False where services were left out that the caller may not see."""


class CampaignFiles:
    """Files read, checked and played through.

    Args:
        temporal: The connection to Temporal.
        store: The platform's stores.
    """

    def __init__(self, temporal: Client, store: Store) -> None:
        self._temporal = temporal
        self._store = store

    async def ready(
        self, data: bytes, file: str, *, name: str = "", sees: Callable[[FleetService], bool] | None = None
    ) -> Ready:
        """Check a campaign beside the fleet, the catalogue and the campaigns that there were.

        Args:
            data: What the file holds.
            file: Its name, for messages.
            name: Of the campaign, in place of the one in the file.
            sees: Which services the caller may see; all others are as if they were not there.

        Raises:
            CampaignInvalid: with every mistake at its line and column.
            AlreadyExists: the name is, or was, that of another campaign.
        """
        now = datetime.now(UTC)
        read = read_campaign(data, file, now=now)
        campaign = read.require()
        if name:
            metadata = campaign.metadata.changed(name=check_name("campaign", name))
            campaign = campaign.changed(metadata=metadata)
        if await self._store.campaigns.exists(campaign.metadata.name):
            raise taken(campaign.metadata.name)
        services, published, kept = await asyncio.gather(
            fleet(self._temporal, self._store),
            self._published(campaign.spec.promise),
            self._store.campaigns.freezes(at=now),
        )
        if sees is not None:
            services = [service for service in services if sees(service)]
        plan = partition(campaign, services, published)
        flaws = [*plan.flaws, *await self._secret_inputs(campaign, plan)]
        if campaign.spec.promise and not published and not flaws:
            flaws = [Flaw(("spec", "promise"), f"there is no promise {campaign.spec.promise!r}")]
        if flaws:
            raise read.refuse(flaws)
        freezes: dict[str, list[Freeze]] = {}
        for freeze in kept:
            if freeze.binds(campaign.metadata.change):
                freezes.setdefault(freeze.team, []).append(Freeze(freeze.name, freeze.begins_at, freeze.ends_at))
        overlaps = await self._overlaps(campaign.metadata.name, _touched(plan))
        return Ready(
            campaign=campaign, plan=plan, freezes=freezes, now=now, overlaps=overlaps, is_whole=sees is None
        )

    async def preview(self, ready: Ready, *, local_zone: str = "") -> PreviewDocument:
        """What a campaign would do, and when.

        Args:
            ready: The campaign, checked.
            local_zone: IANA zone of who asks; times are given there beside UTC and the zones of the windows.
        """
        spec, plan = ready.campaign.spec, ready.plan
        kind: str = spec.operation
        past = await past_seconds(self._temporal, OperationKind(spec.operation))
        if not past:  # the first of its kind: what was made may take as long to be changed
            kind, past = "provision", await past_seconds(self._temporal, OperationKind.PROVISION)
        overall = max(past.values(), key=lambda sample: sample[1], default=(FALLBACK_SECONDS, 0))

        def seconds(target: CampaignTarget) -> float:
            return past.get(target.promise, overall)[0]

        waves = forecast(spec, plan, now=ready.now, seconds=seconds, freezes=ready.freezes)
        windows = (*spec.windows.allow, *spec.windows.deny)
        zones = dict.fromkeys([local_zone, *(window.time_zone for window in windows)])
        each, number = past.get(spec.promise or "", overall)
        return PreviewDocument(
            name=ready.campaign.metadata.name,
            operation=spec.operation,
            promise=spec.promise or "",
            to=spec.to or "",
            unit=spec.unit,
            scope="" if ready.is_whole else SCOPE,
            targets=len(plan.targets),
            max_failures=plan.max_failures,
            waves=tuple(
                PreviewWave(
                    name=wave.name,
                    targets=wave.size,
                    max_failures=wave.max_failures,
                    max_concurrent=wave.max_concurrent,
                    soak_seconds=wave.soak_seconds,
                    gate=_gate(wave.gate),
                    starts_at=_zoned(when.starts_at, zones),
                    ends_at=_zoned(when.ends_at, zones),
                )
                for wave, when in zip(plan.waves, waves, strict=True)
            ),
            selected=tuple(
                PreviewTarget(
                    service=target.service,
                    wave=plan.waves[target.wave].name,
                    version=target.version,
                    to=target.to,
                    why=target.why,
                    parts=target.parts,
                )
                for target in plan.targets
            ),
            left=tuple(PreviewLeft(service=it.service, kind=it.kind, reason=it.reason) for it in plan.left),
            seconds_each=each,
            based_on=_based_on(kind, number if ready.is_whole else None),
            whole_platform=whole_platform(spec, plan),
            asks=_asks(spec.operation, plan),
            freezes=holding(ready, waves[-1].ends_at if waves else None),
            overlaps=tuple(ready.overlaps.values()),
            as_of=ready.now,
        )

    async def _overlaps(self, name: str, services: AbstractSet[str]) -> dict[str, str]:
        """Which campaigns that run have some of these services as targets too."""
        others = [row.name for row in await campaigns(self._temporal, running=True) if row.name != name]
        words = {}
        for other in others[:MAX_OVERLAPS]:
            targets = await self._store.campaigns.targets(other)
            both = services & {service for target in targets for service in (target.service, *target.parts)}
            if both:
                examples = phrases.listed(sorted(both))
                words[other] = f"{phrases.targets(len(both))} ({examples}) with campaign {other}; they take turns"
        return words

    async def _published(self, promise: str | None) -> dict[str, Status]:
        if promise is None:
            return {}
        return {info.ref.version: info.status for info in await self._store.revisions.list(promise)}

    async def _secret_inputs(self, campaign: Campaign, plan: Partition) -> list[Flaw]:
        spec = campaign.spec
        if spec.promise is None:
            return []
        versions = {target.version for target in plan.targets}
        return await secret_inputs(self._store, spec.promise, spec.inputs, versions)


def _based_on(kind: str, number: int | None) -> str:
    """Where a duration comes from; the number of operations is None where the caller may not know it."""
    if number is None:
        return f"as {kind} operations of the platform do"
    return f"the median of {number} {kind} operations" if number else "a guess: nothing was ever run"


def _touched(plan: Partition) -> set[str]:
    """Every service that the campaign works on: its targets, and of trees their parts."""
    return {service for target in plan.targets for service in (target.service, *target.parts)}


def whole_platform(spec: CampaignSpec, plan: Partition) -> str:
    """That a campaign takes the whole platform, with numbers; empty when it does not.

    Args:
        spec: Of the campaign.
        plan: Its targets.
    """
    if not takes_whole_platform(spec):
        return ""
    promises = len({target.promise for target in plan.targets})
    kinds = f"{promises} promise{'' if promises == 1 else 's'}"
    but = f" but {len(spec.select.exclude)} excluded" if spec.select.exclude else ""
    return f"it takes every service of the platform{but}: {phrases.targets(len(plan.targets))} of {kinds}"


def _asks(operation: str, plan: Partition) -> tuple[str, ...]:
    """The built-in rules by which targets wait for an approval; policies and promises may ask for more."""
    if operation == "patch":
        return ("each target whose plan would delete or replace something waits for an approval",)
    majors = sum(_major(target.version) != _major(target.to) for target in plan.targets if target.to)
    if operation == "upgrade" and majors:
        whose = f"{phrases.targets(majors)} would cross a major version"
        return (
            f"{whose}, and wait{'s' if majors == 1 else ''} for an approval unless the promise says otherwise",
        )
    return ()


def _major(version: str) -> str:
    return version.partition(".")[0]


def holding(ready: Ready, ends_at: datetime | None) -> tuple[str, ...]:
    """The freezes that the campaign, or targets of a team, would meet; those that come later are left out.

    Args:
        ready: The campaign, checked.
        ends_at: When it would end; None when that cannot be foreseen.
    """
    teams = {"", *(target.service.partition("/")[0] for target in ready.plan.targets)}
    last = ends_at or ready.now + HORIZON
    return tuple(
        phrases.freeze(
            freeze.name,
            team,
            freeze.ends_at,
            coming=freeze.begins_at if freeze.begins_at > ready.now else None,
        )
        for team, freezes in sorted(ready.freezes.items())
        for freeze in freezes
        if team in teams and freeze.begins_at <= last
    )


def taken(name: str) -> AlreadyExists:
    """The name is, or was, that of another campaign."""
    return AlreadyExists(
        f"there is, or was, a campaign {name}",
        where=f"campaign {name}",
        hint="names are never used twice: choose another with --name, or `bond campaign retry` this one",
    )


def _gate(gate: Gate | None) -> str:
    if gate is None:
        return ""
    approval = gate.approval
    return f"{approval.count} of {' or '.join(approval.roles)}"


def _zoned(at: datetime | None, zones: Iterable[str]) -> ZonedTime | None:
    if at is None:
        return None
    shown = {}
    for name in zones:
        if name in _UTC:
            continue
        local = at.astimezone(zone(name))
        shown[name] = f"{local:%Y-%m-%d %H:%M:%S} {local.tzname()}"
    return ZonedTime(utc=at, local=shown)
