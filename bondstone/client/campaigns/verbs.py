"""What people tell a campaign that goes on, as a client sends it: once, with who and why."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from bondstone.base import names
from bondstone.base.errors import NotFound, Refused
from bondstone.model.campaign.events import (
    Abort,
    AnyVerb,
    Approve,
    NextWave,
    Pause,
    Reject,
    Resume,
    SetConcurrency,
    Skip,
)
from bondstone.model.campaign.run import CampaignDescription
from bondstone.temporal import calls

if TYPE_CHECKING:
    from bondstone.client.bondstone import Bondstone


class CampaignVerbs(ABC):
    """Base of `Campaigns`. Every answer is the campaign as it is then.

    Args:
        bond: The client they belong to.
    """

    def __init__(self, bond: Bondstone) -> None:
        self._bond = bond

    @abstractmethod
    async def describe(self, name: str) -> CampaignDescription:
        """A campaign as it stands, or as it ended."""

    async def pause(self, name: str, *, reason: str = "", request_id: str = "") -> CampaignDescription:
        """Start nothing more; what runs goes on."""
        return await self._tell(name, Pause(**self._who(reason, request_id)))

    async def resume(self, name: str, *, reason: str = "", request_id: str = "") -> CampaignDescription:
        """Go on; after a broken budget, accept the failures so far."""
        return await self._tell(name, Resume(**self._who(reason, request_id)))

    async def abort(
        self, name: str, *, cancel: bool = False, reason: str = "", request_id: str = ""
    ) -> CampaignDescription:
        """End: what runs finishes, or with `cancel` is stopped."""
        verb = Abort(**self._who(reason, request_id), running="cancel" if cancel else "drain")
        return await self._tell(name, verb)

    async def skip(
        self, name: str, service: str, *, reason: str = "", request_id: str = ""
    ) -> CampaignDescription:
        """Leave out a target that has not started.

        Raises:
            NotFound: the service is no target of the campaign.
        """
        names.parse_service(service)
        await self.describe(name)
        targets = [target.service for target in await self._bond.store.campaigns.targets(name)]
        if service not in targets:
            raise NotFound(
                f"{service} is no target of the campaign",
                where=name,
                hint=f"`bond campaign report {name} -o json` names the targets",
            )
        return await self._tell(name, Skip(**self._who(reason, request_id), target=targets.index(service)))

    async def set_concurrency(
        self, name: str, most: int, *, reason: str = "", request_id: str = ""
    ) -> CampaignDescription:
        """Let so many targets run at once, from now on."""
        return await self._tell(name, SetConcurrency(**self._who(reason, request_id), max_concurrent=most))

    async def next_wave(self, name: str, *, reason: str = "", request_id: str = "") -> CampaignDescription:
        """End the soak now; health is still probed."""
        return await self._tell(name, NextWave(**self._who(reason, request_id)))

    async def approve(
        self,
        name: str,
        wave: str,
        *,
        digest: str = "",
        roles: Iterable[str] = (),
        reason: str = "",
        request_id: str = "",
    ) -> CampaignDescription:
        """Give one's word for a wave that waits at its gate.

        Args:
            name: Of the campaign.
            wave: Name of the wave.
            digest: The frozen targets that it is about, or the beginning of that; default: those that there are.
            roles: In which one acts, as asserted.
            reason: A comment for the record.
            request_id: The same id again has no further effect.
        """
        whole = await self._digest(name, digest)
        verb = Approve(**self._who(reason, request_id), wave=wave, digest=whole, roles=tuple(roles))
        return await self._tell(name, verb)

    async def reject(
        self,
        name: str,
        wave: str,
        *,
        reason: str,
        digest: str = "",
        roles: Iterable[str] = (),
        request_id: str = "",
    ) -> CampaignDescription:
        """Give one's word against a wave: the campaign ends. Arguments as for `approve`."""
        whole = await self._digest(name, digest)
        verb = Reject(**self._who(reason, request_id), wave=wave, digest=whole, roles=tuple(roles))
        return await self._tell(name, verb)

    # How -------------------------------------------------------------------------------------------------

    def _who(self, reason: str, request_id: str = "") -> dict[str, Any]:
        return {"by": self._bond.by, "reason": reason, "request_id": request_id or f"req-{uuid.uuid4()}"}

    async def _tell(self, name: str, verb: AnyVerb) -> CampaignDescription:
        names.check_name("campaign", name)
        workflow_id = names.campaign_workflow_id(name)
        update = names.CAMPAIGN_VERBS[verb.kind]
        try:
            return await calls.update(self._bond.temporal, workflow_id, update, verb, CampaignDescription)
        except NotFound:
            ended = await self.describe(name)  # or there never was one
            raise Refused(
                f"the campaign has ended: {ended.status}",
                where=name,
                hint="`bond campaign retry` and `bond campaign rollback` start one that is linked to it",
            ) from None

    async def _digest(self, name: str, given: str) -> str:
        """The whole digest of the frozen targets, which the given one must be the beginning of."""
        digest = (await self.describe(name)).targets_digest
        if given and not digest.startswith(given.strip().lower().removeprefix("sha256:")):
            raise Refused(
                f"the targets of the campaign are {digest[:12]}, not {given[:12]}",
                where=name,
                hint=f"look at them: `bond campaign report {name}`",
            )
        return digest
