"""Manifests of the platform beside what there is: schedules, freezes, policies, access.

Each is said by its manifest as a whole, and keeps the manifest that made it so. What a person changed since is a
conflict.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, Literal

from bondstone.base.errors import NotFound, PolicyInvalid, Problem
from bondstone.campaign.document import campaign_of
from bondstone.client.manifests.entries import AccessEntry, FreezeEntry, PolicySetEntry, ScheduleManifestEntry
from bondstone.client.manifests.three_way import MISSING, Difference, whole_differences
from bondstone.documents.yaml_places import PlacedDocument
from bondstone.model.manifest import KeptPlatformManifest
from bondstone.model.promise import seconds

if TYPE_CHECKING:
    from bondstone.client.bondstone import Bondstone
    from bondstone.client.documents.campaign import FreezeDocument
    from bondstone.client.documents.schedule import ScheduleDocument
    from bondstone.model.identity import AccessDocument

PlatformKind = Literal["Schedule", "Freeze", "PolicySet", "Access"]
PlatformAction = Literal["create", "change", "record", "unchanged", "conflict", "prune"]
ACCESS_NAME: Final = "document"
BY_HAND: Final = "it was not made from a manifest"
ELSEWHERE: Final = "somebody changed it elsewhere"
OVER: Final = "it has ended, and names are never used twice: choose another name"
OTHER_TEAM: Final = "the team of a freeze never changes: choose another name"
NEVER_APPLIED: Final = "it ended before it was ever applied"
GRANTS_THE_SAME: Final = "the text differs, but it grants the same"


@dataclass(frozen=True, slots=True)
class PlatformComparison:
    """What one manifest of the platform leads to."""

    kind: PlatformKind
    name: str
    action: PlatformAction
    document: PlacedDocument | None = None
    """None for what is pruned."""
    differences: tuple[Difference, ...] = ()
    note: str = ""
    carry_out: Callable[[Bondstone, str], Awaitable[object]] | None = None
    """Does it, with a reason for the record."""

    def judged(
        self, action: PlatformAction, differences: tuple[Difference, ...] = (), note: str = ""
    ) -> PlatformComparison:
        """The same manifest, with what it leads to."""
        return PlatformComparison(self.kind, self.name, action, self.document, differences, note, self.carry_out)


# Schedules --------------------------------------------------------------------------------------------------


def schedule_content(entry: ScheduleManifestEntry) -> dict[str, Any]:
    """What a schedule's manifest says, in the form of `live_schedule`."""
    spec, metadata = entry.manifest.spec, entry.manifest.metadata
    campaign = campaign_of(entry.strategy, name=metadata.name, reason=metadata.reason, change=metadata.change)
    written = campaign.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return _written(
        {
            "cron": " ".join(spec.cron.split()),
            "time_zone": spec.time_zone,
            "overlap": spec.overlap,
            "jitter_seconds": seconds(spec.jitter) if spec.jitter else 0,
            "catch_up_seconds": seconds(spec.catch_up),
            "owner": metadata.owner or campaign.metadata.owner,
            "change": campaign.metadata.change,
            "reason": campaign.metadata.reason,
            "strategy": written["spec"],
        }
    )


def live_schedule(live: ScheduleDocument) -> dict[str, Any]:
    """A schedule as there is one."""
    metadata = live.campaign.get("metadata", {})
    return _written(
        {
            "cron": live.cron,
            "time_zone": live.time_zone,
            "overlap": live.overlap,
            "jitter_seconds": live.jitter_seconds,
            "catch_up_seconds": live.catch_up_seconds,
            "owner": metadata.get("owner", ""),
            "change": metadata.get("change", ""),
            "reason": live.reason,
            "strategy": live.campaign.get("spec", {}),
        }
    )


async def compare_schedule(
    bond: Bondstone, entry: ScheduleManifestEntry, *, overwrite: bool
) -> PlatformComparison:
    """A schedule beside its manifest.

    Args:
        bond: The client.
        entry: The manifest.
        overwrite: Take back what somebody changed elsewhere; here and below.
    """
    metadata, wanted = entry.manifest.metadata, schedule_content(entry)
    try:
        live = await bond.schedules.get(metadata.name, count=0)
    except NotFound:
        live = None
    kept = _kept(metadata.name, metadata.labels, wanted)
    strategy = entry.strategy.model_dump(mode="json", by_alias=True, exclude_unset=True)
    strategy["metadata"] |= {name: wanted[name] for name in ("owner", "change", "reason") if name in wanted}
    data = json.dumps(strategy).encode()
    timing: dict[str, Any] = {
        "cron": wanted["cron"],
        "time_zone": wanted["time_zone"],
        "overlap": wanted["overlap"],
        "jitter": timedelta(seconds=wanted.get("jitter_seconds", 0)),
        "catch_up": timedelta(seconds=wanted["catch_up_seconds"]),
        "reason": wanted["reason"],
        "applied": kept,
    }

    async def carry_out(bond: Bondstone, _reason: str) -> object:
        if live is None:
            return await bond.schedules.create(metadata.name, data, entry.strategy_file, **timing)
        return await bond.schedules.update(
            metadata.name, data, entry.strategy_file, expected=live.version, **timing
        )

    return _judged(
        PlatformComparison("Schedule", metadata.name, "create", entry.document, carry_out=carry_out),
        live=live_schedule(live) if live is not None else None,
        applied=live.applied if live is not None else None,
        kept=kept,
        overwrite=overwrite,
    )


# Freezes ----------------------------------------------------------------------------------------------------


def live_freeze(live: FreezeDocument) -> dict[str, Any]:
    """A freeze as there is one."""
    return _written(
        {
            "team": live.team,
            "exempt": list(live.exempt),
            "reason": live.reason,
            "from": _stamp(live.begins_at),
            "until": _stamp(live.ends_at) if live.ends_at is not None else "",
        }
    )


async def compare_freeze(bond: Bondstone, entry: FreezeEntry, *, overwrite: bool) -> PlatformComparison:
    """A freeze beside its manifest. One that is over stays so."""
    metadata, spec = entry.manifest.metadata, entry.manifest.spec
    name, team, now = metadata.name, spec.team or "", datetime.now(UTC)
    try:
        live = await bond.freezes.get(name)
    except NotFound:
        live = None
    wanted = _written(
        {
            "team": team,
            "exempt": list(spec.exempt),
            "reason": metadata.reason,
            "from": _stamp(spec.begins) if spec.begins is not None else "",
            "until": _stamp(spec.until) if spec.until is not None else "",
        }
    )
    kept = _kept(name, metadata.labels, wanted)
    fields: dict[str, Any] = {"reason": metadata.reason, "exempt": spec.exempt, "ends_at": spec.until}

    async def carry_out(bond: Bondstone, _reason: str) -> object:
        if live is None:
            return await bond.freezes.create(name, team=team, begins_at=spec.begins, applied=kept, **fields)
        begins = spec.begins or live.begins_at
        return await bond.freezes.update(name, begins_at=begins, applied=kept, expected=live.changes, **fields)

    row = PlatformComparison("Freeze", name, "create", entry.document, carry_out=carry_out)
    if live is None:
        if spec.until is not None and spec.until <= now:
            return row.judged("unchanged", note=NEVER_APPLIED)
        return _judged(row, live=None, applied=None, kept=kept, overwrite=overwrite)
    standing = live_freeze(live)
    if spec.begins is None:  # it begins when it was applied first
        del standing["from"]
    judged = _judged(row, live=standing, applied=live.applied, kept=kept, overwrite=overwrite)
    if live.ends_at is not None and live.ends_at <= now:
        as_it_is = judged.action in {"unchanged", "record"}
        return row.judged("unchanged") if as_it_is else row.judged("conflict", judged.differences, OVER)
    if live.team != team:
        return row.judged("conflict", judged.differences, OTHER_TEAM)
    return judged


# Policies and access ----------------------------------------------------------------------------------------


async def compare_policies(
    bond: Bondstone, entry: PolicySetEntry, *, overwrite: bool
) -> tuple[PlatformComparison | None, list[Problem]]:
    """The policies in force beside a folder of them, and what is wrong in the folder."""
    from bondstone.policy.modules import load_valid  # noqa: PLC0415 - this kind only

    with entry.folder() as folder:
        try:
            modules = await asyncio.to_thread(load_valid, folder)
        except PolicyInvalid as error:
            place = str(folder) if entry.directory is not None else f"{entry.document.file}: modules"
            flaws = [each.changed(file=f"{place}/{each.file}") for each in error.problems]
            return None, flaws or [entry.document.problem(("spec",), error.message, hint=error.hint)]
    metadata = entry.manifest.metadata
    content = _digests({module.name: module.source for module in modules})
    kept = _kept(metadata.name, metadata.labels, content)
    try:
        live = await bond.policies.get()
    except NotFound:
        live = None
    applied = live.applied if live is not None else None
    if live is not None and applied is None:
        applied = next((row.applied for row in await bond.policies.list() if row.applied is not None), None)

    async def carry_out(bond: Bondstone, _reason: str) -> object:
        expected = live.version if live is not None else 0
        with entry.folder() as folder:
            return await bond.policies.publish(folder, applied=kept, expected=expected)

    row = PlatformComparison("PolicySet", metadata.name, "create", entry.document, carry_out=carry_out)
    standing = _digests(live.sources) if live is not None else None
    return _judged(row, live=standing, applied=applied, kept=kept, overwrite=overwrite), []


async def compare_access(bond: Bondstone, entry: AccessEntry, *, overwrite: bool) -> PlatformComparison:
    """The access document in force beside that of a file."""
    kept = _kept(ACCESS_NAME, {}, grants_of(entry.manifest))
    try:
        live = await bond.access.get()
    except NotFound:
        live = None
    applied = live.ref.applied if live is not None else None
    if live is not None and applied is None:
        applied = next((ref.applied for ref in await bond.access.list() if ref.applied is not None), None)

    async def carry_out(bond: Bondstone, _reason: str) -> object:
        expected = live.ref.version if live is not None else 0
        return await bond.access.publish(entry.source, entry.document.file, applied=kept, expected=expected)

    row = PlatformComparison("Access", ACCESS_NAME, "create", entry.document, carry_out=carry_out)
    standing = grants_of(live.document) if live is not None else None
    judged = _judged(row, live=standing, applied=applied, kept=kept, overwrite=overwrite)
    if judged.action in {"unchanged", "record"} and live is not None and live.document != entry.manifest:
        return row.judged("change", note=GRANTS_THE_SAME)
    return judged


def grants_of(document: AccessDocument) -> dict[str, Any]:
    """Roles by subject and scope, however a document groups them."""
    roles: dict[str, set[str]] = {}
    for grant in document.spec.grants:
        for subject in grant.subjects:
            roles.setdefault(f"{subject} {grant.where()}", set()).update(grant.roles)
    return {who: sorted(names) for who, names in roles.items()}


# What no manifest names -------------------------------------------------------------------------------------


async def pruned(
    bond: Bondstone,
    *,
    schedules: set[str],
    freezes: set[str],
    selects: Callable[[Mapping[str, str], str], bool],
) -> tuple[PlatformComparison, ...]:
    """Schedules and freezes in a scope that manifests made, and that are in none now.

    Args:
        bond: The client.
        schedules: Those that manifests name.
        freezes: Those that manifests name.
        selects: Says by labels of the manifest and by team whether one is in the scope.
    """
    rows: list[PlatformComparison] = []
    for schedule in await bond.schedules.list():
        if schedule.name in schedules:
            continue
        applied = (await bond.schedules.get(schedule.name, count=0)).applied
        if applied is not None and selects(applied.labels, ""):
            rows.append(PlatformComparison("Schedule", schedule.name, "prune", carry_out=_delete(schedule.name)))
    for freeze in await bond.freezes.list():
        applied = freeze.applied
        if freeze.name not in freezes and applied is not None and selects(applied.labels, freeze.team):
            rows.append(PlatformComparison("Freeze", freeze.name, "prune", carry_out=_end(freeze.name)))
    return tuple(rows)


# Helpers ----------------------------------------------------------------------------------------------------


def _judged(
    row: PlatformComparison,
    *,
    live: Mapping[str, Any] | None,
    applied: KeptPlatformManifest | None,
    kept: KeptPlatformManifest,
    overwrite: bool,
) -> PlatformComparison:
    if live is None:
        new = whole_differences(base={}, live={}, wanted=kept.content)
        return row.judged("create", tuple(Difference(each.path, MISSING, each.wanted) for each in new))
    base = applied.content if applied is not None else None
    changes = tuple(whole_differences(base=base, live=live, wanted=kept.content))
    if not changes:
        return row.judged("unchanged" if applied == kept else "record")
    if any(change.elsewhere for change in changes) and not overwrite:
        return row.judged("conflict", changes, BY_HAND if base is None else ELSEWHERE)
    return row.judged("change", changes)


def _kept(name: str, labels: Mapping[str, str], content: Mapping[str, Any]) -> KeptPlatformManifest:
    plain = json.loads(json.dumps(content))
    return KeptPlatformManifest(name=name, labels=dict(labels), content=plain)


def _written(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is nothing: nobody has to write it."""
    return {name: value for name, value in values.items() if value}


def _stamp(at: datetime) -> str:
    """To the second: whoever writes a manifest writes no fractions."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _digests(sources: Mapping[str, str]) -> dict[str, Any]:
    return {name: f"sha256:{sha256(text.encode()).hexdigest()[:12]}" for name, text in sorted(sources.items())}


def _delete(name: str) -> Callable[[Bondstone, str], Awaitable[object]]:
    async def carry_out(bond: Bondstone, reason: str) -> None:
        await bond.schedules.delete(name, reason=reason or "no manifest asks for it any more")

    return carry_out


def _end(name: str) -> Callable[[Bondstone, str], Awaitable[object]]:
    return lambda bond, _reason: bond.freezes.delete(name)
