"""Campaign workflows started, each name once, and what became of one that could not begin."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from temporalio.client import WorkflowFailureError
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from bondstone.base import names
from bondstone.base.errors import AlreadyExists, BondError, InvalidInput, from_info
from bondstone.base.printable import asked_by
from bondstone.client.direct.campaigns import listing
from bondstone.client.direct.campaigns.files import Ready, taken
from bondstone.client.direct.tracing import starting
from bondstone.temporal import calls
from bondstone.temporal.failures import info_of

if TYPE_CHECKING:
    from bondstone.client.direct.connection import Caller
    from bondstone.model.campaign.run import CampaignDescription, CampaignInput

FIRST_POLL_SECONDS: Final = 0.2
BEGINS_WITHIN_SECONDS: Final = 20.0
"""How long a start waits for the campaign to choose its targets; the campaign continues to choose after that."""
LONGEST_NAME: Final = 48


class Starter:
    """Starts campaigns.

    Args:
        caller: Who asks, and by which connection.
        describe: A campaign by its name, see `DirectCampaigns.describe`.
    """

    def __init__(self, caller: Caller, describe: Callable[[str], Awaitable[CampaignDescription]]) -> None:
        self._caller = caller
        self._describe = describe

    async def pinned(self, digest: str, ready: Ready) -> str:
        """The whole digest of the preview that a campaign is to keep to."""
        from bondstone.store.previews import Previews, check_pinned  # noqa: PLC0415 - only pinned campaigns

        preview = await Previews((await self._caller.connection.store()).sealed).find(digest)
        check_pinned(preview, ready.campaign)
        return preview.digest

    async def start(self, name: str, start: CampaignInput) -> None:
        """Start the workflow of a campaign.

        Raises:
            AlreadyExists: the name is, or was, that of another campaign.
        """
        temporal = await self._caller.connection.temporal()
        with starting(name, start) as traced:
            try:
                await calls.answered(
                    temporal.start_workflow(
                        names.CAMPAIGN_WORKFLOW,
                        traced,
                        id=names.campaign_workflow_id(name),
                        task_queue=names.CONTROL_QUEUE,
                        id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                        static_summary=f"campaign {name}",
                        static_details=asked_by(start.requested_by, start.reason),
                        rpc_timeout=calls.UPDATE_TIMEOUT,
                    ),
                    names.campaign_workflow_id(name),
                )
            except WorkflowAlreadyStartedError as error:
                raise taken(name) from error

    async def begun(self, name: str) -> CampaignDescription:
        """A campaign once its targets are chosen, or still not after a while; raises what it failed with."""
        until = time.monotonic() + BEGINS_WITHIN_SECONDS
        while True:
            description = await self._describe(name)
            if description.frozen or time.monotonic() >= until:
                return description
            await asyncio.sleep(FIRST_POLL_SECONDS)

    async def link(self, start: CampaignInput, new_name: str, default: str) -> CampaignDescription:
        """Start a campaign that is linked to another, once for each request id, under the first free name."""
        campaigns = (await self._caller.connection.store()).campaigns
        for number in range(1, 1000):
            suffix = f"-{number}" if number > 1 else ""
            name = new_name or f"{default[: LONGEST_NAME - len(suffix)]}{suffix}"
            try:
                if await campaigns.exists(names.check_name("campaign", name)):
                    raise taken(name)  # longer ago than Temporal remembers
                await self.start(name, start)
            except AlreadyExists:
                existing = await self._known(name)
                if existing is not None and existing.linked == start.linked:
                    return await self.begun(name)
                if new_name:
                    raise
            else:
                return await self.begun(name)
        raise InvalidInput(f"there are a thousand campaigns {default}", hint="choose a name with --name")

    async def require_alive(self, name: str) -> None:
        """Raise what a campaign failed with that could not choose its targets."""
        handle = (await self._caller.connection.temporal()).get_workflow_handle(names.campaign_workflow_id(name))
        try:
            status = (await handle.describe()).status
        except RPCError as error:
            raise calls.as_ours(error, handle.id) from error
        if status not in listing.FAILED:
            return
        try:
            await handle.result()
        except WorkflowFailureError as error:
            raise from_info(info_of(error.cause)) from error

    async def _known(self, name: str) -> CampaignDescription | None:
        try:
            return await self._describe(name)
        except BondError:
            return None  # it could not begin
