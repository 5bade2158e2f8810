"""Freezes in the object store. `Bondstone.freezes`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog
from temporalio.service import RPCError
from typing_extensions import override

from bondstone.base import names
from bondstone.base.errors import InvalidInput, Refused
from bondstone.client.documents.campaign import FreezeDocument
from bondstone.client.freezes import Freezes
from bondstone.model.campaign.run import FreezeRecord
from bondstone.model.manifest import KeptPlatformManifest
from bondstone.store.campaigns import freeze_changed
from bondstone.temporal.calls import as_ours

if TYPE_CHECKING:
    from bondstone.client.direct.connection import Caller
    from bondstone.store.campaigns import CampaignStore

_log = structlog.get_logger()


class DirectFreezes(Freezes):
    """Freezes in the object store; running campaigns are told of them by signals.

    Args:
        caller: Who asks, and by which connection.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    @override
    async def create(
        self,
        name: str,
        *,
        reason: str,
        team: str = "",
        exempt: Iterable[str] = (),
        begins_at: datetime | None = None,
        ends_at: datetime | None = None,
        applied: KeptPlatformManifest | None = None,
    ) -> FreezeDocument:
        names.check_name("freeze", name)
        if team:
            names.check_name("team", team)
        begins_at = begins_at or datetime.now(UTC)
        _check(name, reason, begins_at, ends_at)
        freeze = FreezeRecord(
            name=name,
            team=team,
            exempt=tuple(exempt),
            by=self._caller.by,
            reason=reason,
            begins_at=begins_at,
            ends_at=ends_at,
            applied=applied,
        )
        await (await self._campaigns()).create_freeze(freeze)
        await self._tell_campaigns()
        return FreezeDocument.of(freeze)

    @override
    async def update(
        self,
        name: str,
        *,
        reason: str,
        exempt: Iterable[str],
        begins_at: datetime,
        ends_at: datetime | None,
        applied: KeptPlatformManifest | None = None,
        expected: int | None = None,
    ) -> FreezeDocument:
        names.check_name("freeze", name)
        campaigns = await self._campaigns()
        freeze = await campaigns.freeze(name)
        if expected is not None and expected != freeze.changes:
            raise freeze_changed(name)
        _require_alive(freeze, "choose another name: names are never used twice")
        _check(name, reason, begins_at, ends_at)
        changed = freeze.changed(
            reason=reason,
            exempt=tuple(exempt),
            begins_at=begins_at,
            ends_at=ends_at,
            by=self._caller.by,
            applied=applied or freeze.applied,
        )
        changed = await campaigns.put_freeze(changed)
        await self._tell_campaigns()
        return FreezeDocument.of(changed)

    @override
    async def list(self, *, ended: bool = False) -> list[FreezeDocument]:
        freezes = await (await self._campaigns()).freezes(at=None if ended else datetime.now(UTC))
        return [FreezeDocument.of(freeze) for freeze in freezes]

    @override
    async def get(self, name: str) -> FreezeDocument:
        return FreezeDocument.of(await (await self._campaigns()).freeze(names.check_name("freeze", name)))

    @override
    async def delete(self, name: str) -> FreezeDocument:
        names.check_name("freeze", name)
        campaigns = await self._campaigns()
        freeze = await campaigns.freeze(name)
        now = _require_alive(freeze)
        ended = freeze.changed(ends_at=now, begins_at=min(freeze.begins_at, now))
        ended = await campaigns.put_freeze(ended)
        await self._tell_campaigns()
        return FreezeDocument.of(ended)

    async def _campaigns(self) -> CampaignStore:
        return (await self._caller.connection.store()).campaigns

    async def _tell_campaigns(self) -> None:
        """Have every running campaign look now; one that cannot be told looks when its calendar says."""
        temporal = await self._caller.connection.temporal()
        query = f"WorkflowType = '{names.CAMPAIGN_WORKFLOW}' AND ExecutionStatus = 'Running'"
        try:
            running = [execution.id async for execution in temporal.list_workflows(query)]
        except RPCError as error:
            raise as_ours(error, names.campaign_workflow_id("")) from error
        handles = [temporal.get_workflow_handle(workflow_id) for workflow_id in running]
        told = await asyncio.gather(
            *(handle.signal(names.SIGNAL_CALENDAR) for handle in handles), return_exceptions=True
        )
        for workflow_id, problem in zip(running, told, strict=True):
            if isinstance(problem, RPCError):  # it has ended meanwhile, most likely
                _log.warning("a campaign was not told of a freeze", workflow=workflow_id, error=problem.message)
            elif problem is not None:
                raise problem


def _check(name: str, reason: str, begins_at: datetime, ends_at: datetime | None) -> None:
    if not reason.strip():
        raise InvalidInput("a freeze needs a reason", where=name, hint="say it with --reason")
    if ends_at is not None and ends_at <= max(begins_at, datetime.now(UTC)):
        raise InvalidInput(
            f"the freeze would end at {ends_at:%Y-%m-%d %H:%M} UTC, before it is in force", where=name
        )


def _require_alive(freeze: FreezeRecord, hint: str = "") -> datetime:
    """Refuse a freeze that is over; gives the time now."""
    now = datetime.now(UTC)
    if freeze.ends_at is not None and freeze.ends_at <= now:
        raise Refused(f"the freeze {freeze.name} has ended at {freeze.ends_at:%Y-%m-%d %H:%M} UTC", hint=hint)
    return now
