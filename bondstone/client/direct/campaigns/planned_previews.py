"""Previews with plans: a dry run of every target, kept as one object with a digest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from bondstone.base.errors import BondError
from bondstone.client.direct.campaigns.files import Ready
from bondstone.client.direct.operation_watch import WatchedOperation
from bondstone.client.operations import Operation
from bondstone.model.campaign.preview import PinnedPreview, PreviewedStep, PreviewedTarget
from bondstone.model.service import OperationRecord
from bondstone.store.previews import Previews

if TYPE_CHECKING:
    from bondstone.campaign.waves import CampaignTarget
    from bondstone.client.direct.connection import Caller
    from bondstone.client.services import RequestOptions, Services

AT_ONCE: Final = 4
"""Dry runs at once: as many tools as a worker of the default size runs."""

OnTarget = Callable[[PreviewedTarget, int], None]


async def plan(
    caller: Caller, services: Services, ready: Ready, *, at_once: int = AT_ONCE, on_target: OnTarget | None = None
) -> tuple[str, PinnedPreview]:
    """Plan every target of a campaign without changing anything, and keep what comes of it.

    Args:
        caller: Who asks, and by which connection.
        services: Of the same caller.
        ready: The campaign, checked.
        at_once: Dry runs at once.
        on_target: Called with each target that is planned and how many are.

    Returns:
        Digest and preview. A target that cannot be planned is in it with its error.
    """
    limit = asyncio.Semaphore(at_once)
    done = 0

    async def one(target: CampaignTarget) -> PreviewedTarget:
        nonlocal done
        async with limit:
            previewed = await _target(caller, services, ready, target)
        done += 1
        if on_target is not None:
            on_target(previewed, done)
        return previewed

    targets = await asyncio.gather(*map(one, ready.plan.targets))
    spec = ready.campaign.spec
    preview = PinnedPreview(
        campaign=ready.campaign.metadata.name,
        operation=spec.operation,
        promise=spec.promise or "",
        inputs=spec.inputs,
        at=ready.now,
        by=caller.by,
        targets=tuple(targets),
    )
    return await Previews((await caller.connection.store()).sealed).put(preview), preview


async def _target(caller: Caller, services: Services, ready: Ready, target: CampaignTarget) -> PreviewedTarget:
    previewed = PreviewedTarget(
        service=target.service,
        wave=ready.plan.waves[target.wave].name,
        version=target.version,
        to=target.to,
    )
    try:
        operation = await _dry_run(services, ready, target)
        previewed = previewed.changed(operation=operation.id)
        return previewed.changed(**_outcome(await WatchedOperation(caller.connection, operation.id).ended()))
    except BondError as error:
        return previewed.changed(error=error.info())


async def _dry_run(services: Services, ready: Ready, target: CampaignTarget) -> Operation:
    spec = ready.campaign.spec
    options: RequestOptions = {"dry_run": True, "reason": f"preview of campaign {ready.campaign.metadata.name}"}
    match spec.operation:
        case "patch":
            return await services.patch(target.service, to=target.to, **options)
        case "upgrade":
            return await services.upgrade(target.service, to=target.to, **options)
        case "update":
            return await services.update(target.service, spec.inputs, **options)
        case "rollback":
            return await services.rollback(target.service, **options)
        case "decommission":
            return await services.decommission(target.service, **options)
        case "reconcile":  # looking for drift changes nothing, so there is no dry run of it
            return await services.reconcile(target.service, parts=spec.unit == "tree", reason=options["reason"])


def _outcome(record: OperationRecord) -> dict[str, object]:
    waits = {approval.step: tuple(need.reason for need in approval.needs) for approval in record.approvals}
    steps = tuple(
        PreviewedStep(
            step=step.id,
            status=step.status,
            plan=step.plan,
            findings=step.decision.findings if step.decision else (),
            asks=waits.get(step.id, ()),
        )
        for step in record.steps
    )
    return {"steps": steps, "error": record.error}
