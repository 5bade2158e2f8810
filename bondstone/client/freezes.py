"""Freezes: times in which campaigns start nothing, on the whole platform or in a team. `Bondstone.freezes`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog
from temporalio.service import RPCError

from bondstone.base import names
from bondstone.base.errors import InvalidInput, Refused
from bondstone.model.campaign.run import FreezeRecord
from bondstone.temporal.calls import as_ours

if TYPE_CHECKING:
    from bondstone.client.bondstone import Bondstone

_log = structlog.get_logger()


class Freezes:
    """What can be done with freezes. They bind at once for everything that has not started.

    Args:
        bond: The client they belong to.
    """

    def __init__(self, bond: Bondstone) -> None:
        self._bond = bond

    async def create(
        self,
        name: str,
        *,
        team: str = "",
        exempt: Iterable[str] = (),
        reason: str,
        begins_at: datetime | None = None,
        ends_at: datetime | None = None,
    ) -> FreezeRecord:
        """Let campaigns start nothing.

        Args:
            name: Of the freeze; names are never used twice.
            team: Whose services; empty for the whole platform.
            exempt: Classes of changes that go on: `EMG` exempts a campaign whose change is `EMG-17`.
            reason: Why, for the record.
            begins_at: From when on; default: now.
            ends_at: Until when; default: until somebody ends it.

        Raises:
            InvalidInput: it would end before it begins; or a reason is missing.
            AlreadyExists: there was one of that name.
        """
        names.check_name("freeze", name)
        if team:
            names.check_name("team", team)
        if not reason.strip():
            raise InvalidInput("a freeze needs a reason", where=name, hint="say it with --reason")
        now = datetime.now(UTC)
        begins_at = begins_at or now
        if ends_at is not None and ends_at <= max(begins_at, now):
            raise InvalidInput(
                f"the freeze would end at {ends_at:%Y-%m-%d %H:%M} UTC, before it is on", where=name
            )
        freeze = FreezeRecord(
            name=name,
            team=team,
            exempt=tuple(exempt),
            by=self._bond.by,
            reason=reason,
            begins_at=begins_at,
            ends_at=ends_at,
        )
        await self._bond.store.campaigns.create_freeze(freeze)
        await self._tell_campaigns()
        return freeze

    async def list(self, *, over: bool = False) -> list[FreezeRecord]:
        """The freezes that are on or to come, by name; with `over` those that are over too."""
        return await self._bond.store.campaigns.freezes(at=None if over else datetime.now(UTC))

    async def delete(self, name: str) -> FreezeRecord:
        """End a freeze now; what is kept of it says when that was.

        Raises:
            NotFound: there is none of that name.
            Refused: it is over already.
        """
        names.check_name("freeze", name)
        freeze = await self._bond.store.campaigns.freeze(name)
        now = datetime.now(UTC)
        if freeze.ends_at is not None and freeze.ends_at <= now:
            raise Refused(f"the freeze {name} is over since {freeze.ends_at:%Y-%m-%d %H:%M} UTC")
        ended = freeze.changed(ends_at=now, begins_at=min(freeze.begins_at, now))
        await self._bond.store.campaigns.put_freeze(ended)
        await self._tell_campaigns()
        return ended

    async def _tell_campaigns(self) -> None:
        """Have every campaign that goes on look at once; one that cannot be told looks when its calendar says."""
        temporal = self._bond.temporal
        query = f"WorkflowType = '{names.CAMPAIGN_WORKFLOW}' AND ExecutionStatus = 'Running'"
        try:
            running = [found.id async for found in temporal.list_workflows(query)]
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
