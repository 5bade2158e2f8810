"""Verbs for a campaign: sent to the one that runs, or carried out by a new one, linked to one that has ended."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from bondstone.base import names
from bondstone.base.errors import NotFound, Refused, VoteStale
from bondstone.client.direct.campaigns.starting import Starter
from bondstone.model.campaign.events import AnyVerb, Retry, RollbackTargets, Supersede
from bondstone.model.campaign.run import CampaignDescription, CampaignInput, Linked
from bondstone.temporal import calls

if TYPE_CHECKING:
    from bondstone.client.direct.connection import Caller

Linking = TypeVar("Linking", Retry, RollbackTargets)


class Steering:
    """Sends verbs to campaigns.

    Args:
        caller: Who asks, and by which connection.
        describe: Reads a campaign.
        starter: Starts one that is linked to another.
    """

    def __init__(
        self, caller: Caller, describe: Callable[[str], Awaitable[CampaignDescription]], starter: Starter
    ) -> None:
        self._caller = caller
        self._describe = describe
        self._starter = starter

    def who(self, reason: str, request_id: str = "") -> dict[str, Any]:
        """What every verb says of who sends it."""
        return {"by": self._caller.by, "reason": reason, "request_id": request_id or f"req-{uuid.uuid4()}"}

    async def tell(self, name: str, verb: AnyVerb) -> CampaignDescription:
        """Send a verb, and return the campaign after it.

        Raises:
            NotFound: there is no such campaign.
            Refused: it has ended, or the verb does not fit its state.
        """
        names.check_name("campaign", name)
        workflow_id = names.campaign_workflow_id(name)
        update = names.CAMPAIGN_VERBS[verb.kind]
        temporal = await self._caller.connection.temporal()
        try:
            return await calls.update(temporal, workflow_id, update, verb, CampaignDescription)
        except NotFound:
            ended = await self._describe(name)  # or there never was one
            raise Refused(
                f"the campaign has ended: {ended.status}",
                where=name,
                hint="`bond campaign retry` and `bond campaign rollback` start one that is linked to it",
            ) from None

    async def supersede(self, name: str, by: str) -> tuple[str, ...]:
        """Have a campaign end because another has started; what that did and did not touch."""
        try:
            verb = Supersede(**self.who(f"superseded by {by}"), campaign=by)
            return (await self.tell(name, verb)).effect
        except Refused:
            ended = (await self._describe(name)).status
            if not ended.ended:
                raise
            return (f"it ended ({ended}) while this one started",)

    async def tell_or_link(self, name: str, verb: Linking, new_name: str) -> CampaignDescription:
        """Send a verb to a campaign that runs; after one that has ended, start one that is linked to it.

        Args:
            name: Of the campaign.
            verb: What to do with which of its targets.
            new_name: Of a linked campaign; empty: made from the name and the verb.

        Returns:
            The campaign that carries it out.

        Raises:
            NotFound: there is no such campaign.
            Refused: no target is left for the verb, or it does not fit the campaign's state.
        """
        from bondstone.campaign.decider import chosen, effect  # noqa: PLC0415 - only these verbs

        description = await self._describe(name)
        if not description.status.ended:
            try:
                return await self.tell(name, verb)
            except Refused:
                description = await self._describe(name)
                if not description.status.ended:
                    raise
        kept = (await self._caller.connection.store()).campaigns
        state = await kept.end(name)
        if state is not None and verb.request_id in state.seen_requests:
            return description  # done before the end; what was lost was the answer
        if state is not None and not chosen(state, verb):
            raise Refused(f"there is no target to {verb.kind}: {verb.which}", where=name)
        touched = effect(state, verb) if state is not None else ()
        header = await kept.header(name)
        start = CampaignInput(
            document=header.start.document,
            source=header.start.source,
            file=header.start.file,
            requested_by=self._caller.by,
            reason=verb.reason or header.start.reason,
            linked=Linked(campaign=name, verb=verb.kind, which=verb.which, request_id=verb.request_id),
            pinned={"retry": header.start.pinned}.get(verb.kind, ""),
        )
        linked = await self._starter.link(start, new_name, f"{name}-{verb.kind}")
        return linked.changed(effect=touched)

    async def whole_digest(self, name: str, beginning: str) -> str:
        """The whole digest of the targets; VoteStale when it does not begin like that."""
        digest = (await self._describe(name)).targets_digest
        if beginning and not digest.startswith(beginning.strip().lower().removeprefix("sha256:")):
            raise VoteStale(
                f"the targets of the campaign are {digest[:12]}, not {beginning[:12]}",
                where=name,
                hint=f"look at them: `bond campaign report {name}`",
            )
        return digest
