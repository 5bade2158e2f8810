"""Carry out what a comparison of manifests has found, and say what became of each."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from bondstone.base.errors import BondError, ErrorInfo, Refused, Unreachable
from bondstone.client.documents.apply import AppliedManifest, ApplyDocument, FieldDifference
from bondstone.client.manifests.services import ServiceComparison, Source
from bondstone.client.manifests.three_way import MISSING, Difference

if TYPE_CHECKING:
    from bondstone.client.bondstone import Bondstone
    from bondstone.client.manifests.comparing import CampaignComparison, Comparison, PromiseComparison
    from bondstone.client.manifests.platform import PlatformComparison

AT_ONCE: Final = 8
"""Services that are asked at once."""


def as_document(comparison: Comparison) -> ApplyDocument:
    """What a comparison has found, with nothing done."""
    rows = [
        *map(_platform_row, comparison.rules),
        *map(_promise_row, comparison.promises),
        *map(_service_row, comparison.services),
        *map(_platform_row, comparison.schedules),
        *map(_campaign_row, comparison.campaigns),
        *map(_pruned_row, comparison.pruned),
        *map(_platform_row, comparison.pruned_of_platform),
    ]
    return _document(rows)


async def apply(
    bond: Bondstone,
    comparison: Comparison,
    *,
    reason: str = "",
    dry_run: bool = False,
    on_manifest: Callable[[AppliedManifest], None] | None = None,
) -> ApplyDocument:
    """Publish, request, change and take down what the manifests lead to.

    What one of them is refused stops none of the others, but for access, policies and freezes: when the platform
    refuses one of these, nothing behind it is applied. Services in conflict are left alone.

    Args:
        bond: The client.
        comparison: As found.
        reason: Why, for the ledger.
        dry_run: Plan every service that would change and ask the policies, and change nothing.
        on_manifest: Called with each as soon as it is done.

    Raises:
        Unreachable: the platform does not answer any more.
    """
    rows: list[AppliedManifest] = []

    def done(row: AppliedManifest) -> AppliedManifest:
        if on_manifest is not None:
            on_manifest(row)
        return row

    async def of_platform(row: PlatformComparison) -> AppliedManifest:
        return done(await _carried_out(bond, row, reason, dry_run=dry_run))

    # Access, policies and freezes first: they hold for all that follows.
    for number, rule in enumerate(comparison.rules, 1):
        rows.append(await of_platform(rule))
        if rows[-1].error is not None:
            held = as_document(comparison).manifests[number:]
            return _document([*rows, *(done(_held(row, because=rows[-1])) for row in held)])
    # In order: each promise behind those that it requires.
    rows += [done(await _published(bond, promise, dry_run=dry_run)) for promise in comparison.promises]
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(service: ServiceComparison) -> AppliedManifest:
        async with slots:
            return done(await _changed(bond, service, reason, dry_run=dry_run))

    async def gone(service: str) -> AppliedManifest:
        async with slots:
            return done(await _taken_down(bond, service, reason, dry_run=dry_run))

    # A service may share another one of the same manifests, which is there once its request is accepted.
    applied: dict[str, AppliedManifest] = {}
    for has_parts in (False, True):
        turn = [service for service in comparison.services if service.has_parts is has_parts]
        applied |= {row.name: row for row in await asyncio.gather(*map(one, turn))}
    rows += [applied[service.id] for service in comparison.services]
    rows += [await of_platform(each) for each in comparison.schedules]
    rows += [done(await _started(bond, campaign, reason, dry_run=dry_run)) for campaign in comparison.campaigns]
    rows += await asyncio.gather(*map(gone, comparison.pruned))
    rows += [await of_platform(each) for each in comparison.pruned_of_platform]
    return _document(rows)


async def _changed(bond: Bondstone, service: ServiceComparison, reason: str, *, dry_run: bool) -> AppliedManifest:
    operations: list[str] = []
    error: ErrorInfo | None = None
    try:
        async for operation in _ask(bond, service, reason, dry_run=dry_run):
            operations.append(operation)  # noqa: PERF401 - what was asked counts also when the next is refused
    except Unreachable:
        raise
    except BondError as refused:
        error = refused.info()
    return _service_row(service).changed(operations=tuple(operations), error=error)


async def _ask(bond: Bondstone, service: ServiceComparison, reason: str, *, dry_run: bool) -> Any:
    """Ask for what a service needs; gives the id of each operation."""
    services, spec, name = bond.services, service.entry.manifest.spec, service.id
    options: dict[str, Any] = {"reason": reason, "dry_run": dry_run}
    applied = service.applied
    if service.action == "create":
        operation = await services.request(
            spec.promise,
            name,
            service.inputs,
            version=spec.version or "",
            labels=service.labels,
            applied=applied,
            **options,
        )
        yield operation.id
        return
    if service.action not in {"change", "record"}:
        return
    if not dry_run and (service.labels or service.remove_labels or service.action == "record"):
        # Labels are changed at once, the rest when its operation has succeeded.
        kept = applied if service.action == "record" else service.base.changed(labels=applied.labels)
        await services.set_labels(name, service.labels, remove=service.remove_labels, applied=kept)
    if service.move == "upgrade":
        operation = await services.upgrade(
            name, to=spec.version or "", inputs=service.inputs or None, applied=applied, **options
        )
        yield operation.id
        return
    if service.move == "patch":
        moved = applied.changed(inputs=service.base.inputs) if service.inputs else applied
        yield (await services.patch(name, to=spec.version or "", applied=moved, **options)).id
    if service.inputs:
        yield (await services.update(name, service.inputs, applied=applied, **options)).id


async def _published(bond: Bondstone, promise: PromiseComparison, *, dry_run: bool) -> AppliedManifest:
    row = _promise_row(promise)
    if promise.published or dry_run:
        return row
    try:
        await bond.promises.publish(promise.entry.directory)
    except Unreachable:
        raise
    except BondError as refused:
        return row.changed(error=refused.info())
    return row


async def _started(
    bond: Bondstone, campaign: CampaignComparison, reason: str, *, dry_run: bool
) -> AppliedManifest:
    row = _campaign_row(campaign)
    if campaign.started or dry_run:
        return row
    try:
        await bond.campaigns.run(campaign.entry.data, campaign.entry.document.file, reason=reason)
    except Unreachable:
        raise
    except BondError as refused:
        return row.changed(error=refused.info())
    return row


async def _carried_out(
    bond: Bondstone, comparison: PlatformComparison, reason: str, *, dry_run: bool
) -> AppliedManifest:
    row = _platform_row(comparison)
    if dry_run or comparison.carry_out is None or comparison.action in {"unchanged", "conflict"}:
        return row
    try:
        await comparison.carry_out(bond, reason)
    except Unreachable:
        raise
    except BondError as refused:
        return row.changed(error=refused.info())
    return row


async def _taken_down(bond: Bondstone, service: str, reason: str, *, dry_run: bool) -> AppliedManifest:
    row = _pruned_row(service)
    try:
        why = reason or "no manifest asks for it any more"
        operation = await bond.services.decommission(service, reason=why, dry_run=dry_run)
    except Unreachable:
        raise
    except BondError as refused:
        return row.changed(error=refused.info())
    return row.changed(operations=(operation.id,))


# Rows -------------------------------------------------------------------------------------------------------


def _service_row(service: ServiceComparison) -> AppliedManifest:
    document = service.entry.document
    return AppliedManifest(
        kind="Service",
        name=service.id,
        file=document.file,
        line=document.place(("kind",), key=True).line,
        action=service.action,
        differences=tuple(map(_difference, service.differences)),
        note=service.note,
    )


def _promise_row(promise: PromiseComparison) -> AppliedManifest:
    return AppliedManifest(
        kind="Promise",
        name=promise.revision,
        file=promise.entry.file,
        action="unchanged" if promise.published else "create",
    )


def _campaign_row(campaign: CampaignComparison) -> AppliedManifest:
    document = campaign.entry.document
    return AppliedManifest(
        kind="Campaign",
        name=campaign.entry.name,
        file=document.file,
        line=document.place(("kind",), key=True).line,
        action="unchanged" if campaign.started else "create",
        note="started before; a name is used once" if campaign.started else "",
    )


def _platform_row(comparison: PlatformComparison) -> AppliedManifest:
    document = comparison.document
    return AppliedManifest(
        kind=comparison.kind,
        name=comparison.name,
        file=document.file if document is not None else "",
        line=document.place(("kind",), key=True).line if document is not None else 1,
        action=comparison.action,
        differences=tuple(map(_difference, comparison.differences)),
        note=comparison.note or ("no manifest asks for it" if comparison.action == "prune" else ""),
    )


def _pruned_row(service: str) -> AppliedManifest:
    return AppliedManifest(kind="Service", name=service, file="", action="prune", note="no manifest asks for it")


def _held(row: AppliedManifest, *, because: AppliedManifest) -> AppliedManifest:
    """What was to be done, and is not, because a rule that would hold for it was refused."""
    if row.action in {"unchanged", "conflict"}:
        return row
    words = f"not applied, because the {because.label} was refused"
    return row.changed(error=ErrorInfo(code=Refused.code, message=words, where=because.file))


def _difference(difference: Difference) -> FieldDifference:
    return FieldDifference(
        path=".".join(difference.path),
        live=_shown(difference.live),
        wanted=_shown(difference.wanted),
        elsewhere=difference.elsewhere,
    )


def _shown(value: Any) -> Any:
    if value is MISSING:
        return None
    return value.as_json() if isinstance(value, Source) else value


def _document(rows: Iterable[AppliedManifest]) -> ApplyDocument:
    manifests = tuple(rows)
    counts = Counter(row.action for row in manifests)
    differs = any(row.action in {"create", "change", "prune", "conflict"} for row in manifests)
    return ApplyDocument(differs=differs, counts=dict(sorted(counts.items())), manifests=manifests)
