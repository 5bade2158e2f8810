"""Campaigns: started, watched, told, reported. `Bondstone.campaigns` is one of these."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from temporalio.client import WorkflowFailureError
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from bondstone.base import names
from bondstone.base.errors import AlreadyExists, BondError, InvalidInput, NotFound, Refused, Unreachable, from_info
from bondstone.client.campaigns import listing
from bondstone.client.campaigns.files import CampaignFiles, Ready, taken
from bondstone.client.campaigns.verbs import CampaignVerbs
from bondstone.client.documents.campaign import CampaignDocument, CampaignRow, failures
from bondstone.client.tracing import starting
from bondstone.model.campaign.events import Retry, Rollback, Supersede, Which
from bondstone.model.campaign.run import CampaignDescription, CampaignInput, Linked
from bondstone.temporal import calls
from bondstone.temporal.failures import info_of

if TYPE_CHECKING:
    from bondstone.client.bondstone import Bondstone
    from bondstone.model.campaign.report import CampaignReport

FIRST_POLL_SECONDS: Final = 0.2
SLOWEST_POLL_SECONDS: Final = 1.5
BEGINS_WITHIN_SECONDS: Final = 20.0
"""How long is waited for a campaign to choose its targets, before it is left to that."""
PATIENCE_SECONDS: Final = 180.0
"""How long a platform that does not answer is waited for."""
LONGEST_NAME: Final = 48

_Verb = TypeVar("_Verb", Retry, Rollback)


class Campaigns(CampaignVerbs):
    """What can be done with campaigns.

    Args:
        bond: The client they belong to.
    """

    def __init__(self, bond: Bondstone) -> None:
        super().__init__(bond)
        self.files = CampaignFiles(bond.temporal, bond.store)
        """Campaign files, read and checked without starting anything."""

    # Starting ------------------------------------------------------------------------------------------------

    async def start(
        self, data: bytes, file: str, *, name: str = "", reason: str = "", supersedes: str = "", pinned: str = ""
    ) -> Ready:
        """Start the campaign of a file; returns what it was checked as, once it is there.

        Args:
            data: What the file holds.
            file: Its name, for messages.
            name: Of the campaign, in place of the one in the file.
            reason: Why, in place of the one in the file.
            supersedes: A campaign that goes on and that this one takes over from.
            pinned: Digest of a preview, or its beginning: a plan that goes beyond it waits for an approval.

        Raises:
            CampaignInvalid: with every mistake at its line and column; nothing was started.
            AlreadyExists: the name is, or was, that of another campaign.
        """
        ready = await self.files.ready(data, file, name=name)
        campaign = ready.campaign
        if supersedes:
            await self.describe(supersedes)
        start = CampaignInput(
            source=data.decode(),
            file=file,
            requested_by=self._bond.by,
            reason=reason,
            supersedes=supersedes,
            pinned=await self._pinned(pinned, ready) if pinned else "",
        )
        await self._start(campaign.metadata.name, start)
        await self._begun(campaign.metadata.name)
        if supersedes:
            verb = Supersede(
                **self._who(f"superseded by {campaign.metadata.name}"), campaign=campaign.metadata.name
            )
            await self._tell(supersedes, verb)
        return ready

    # Looking -------------------------------------------------------------------------------------------------

    async def list(self) -> list[CampaignRow]:
        """Every campaign within Temporal's retention, newest first."""
        return await listing.campaigns(self._bond.temporal)

    async def describe(self, name: str) -> CampaignDescription:
        """A campaign as it stands, or as it ended, however long ago.

        Raises:
            NotFound: there never was one of that name.
            BondError: it could not begin, in the words of its workflow.
        """
        names.check_name("campaign", name)
        try:
            found = await calls.query(self._bond.temporal, names.campaign_workflow_id(name), CampaignDescription)
        except (NotFound, Unreachable):
            ended = await self._ended(name)
            if ended is None:
                raise
            return ended
        if not found.frozen:
            await self._require_alive(name)
        return found

    async def document(self, name: str, found: CampaignDescription | None = None) -> CampaignDocument:
        """A campaign for programs, with those of its targets that failed."""
        found = found or await self.describe(name)
        ledger = await self._bond.store.campaigns.ledger(name) if found.failures and found.batches else []
        return CampaignDocument.of(found, failures(found, ledger))

    async def watch(
        self, name: str, on_change: Callable[[CampaignDocument], None] | None = None
    ) -> CampaignDocument:
        """Wait until a campaign has ended; a platform that restarts meanwhile is waited for.

        Args:
            name: Of the campaign.
            on_change: Called with the campaign whenever it has changed, for live views; may raise to stop.

        Raises:
            Unreachable: the platform did not answer for minutes; the campaign goes on when it is back.
            BondError: the campaign could not begin, in the words of its workflow.
        """
        seen: CampaignDescription | None = None
        document: CampaignDocument | None = None
        pause, answered = FIRST_POLL_SECONDS, time.monotonic()
        while True:
            try:
                found = await self.describe(name)
                if document is None or seen is None or found.failures != seen.failures:
                    document = await self.document(name, found)
                else:
                    document = CampaignDocument.of(found, document.failures)
            except Unreachable:
                if time.monotonic() - answered >= PATIENCE_SECONDS:
                    raise
                await asyncio.sleep(SLOWEST_POLL_SECONDS)
                continue
            answered = time.monotonic()
            if found != seen and on_change is not None:
                on_change(document)
            if found.status.ended:
                return document
            pause = FIRST_POLL_SECONDS if found != seen else min(pause * 1.5, SLOWEST_POLL_SECONDS)
            seen = found
            await asyncio.sleep(pause)

    async def report(self, name: str, *, evidence: bool = True) -> CampaignReport:
        """What an auditor reads: who, what, why, and of each target what became of it.

        Args:
            name: Of the campaign.
            evidence: Read the ledger of every target too: its plans, what the policies and people said of them.
        """
        from bondstone.campaign.report.content import build  # noqa: PLC0415 - only this verb
        from bondstone.client.campaigns.report_sources import gather  # noqa: PLC0415

        found = await self.describe(name)
        return build(await gather(self._bond, found, evidence=evidence), as_of=datetime.now(UTC))

    # After the end ------------------------------------------------------------------------------------------

    async def retry(
        self, name: str, which: Which = "failed", *, reason: str = "", request_id: str = "", new_name: str = ""
    ) -> CampaignDescription:
        """Take targets up again: of a campaign that has ended in a new one that is linked to it.

        Args:
            name: Of the campaign.
            which: Which targets.
            reason: Why.
            request_id: The same id again has no further effect.
            new_name: Of the linked campaign; default: the name with `-retry`, and a number when that is taken.
        """
        return await self._tell_or_link(name, Retry(**self._who(reason, request_id), which=which), new_name)

    async def rollback(
        self,
        name: str,
        which: Literal["failed", "wave", "all"],
        *,
        reason: str = "",
        request_id: str = "",
        new_name: str = "",
    ) -> CampaignDescription:
        """Take targets back; arguments as for `retry`."""
        return await self._tell_or_link(name, Rollback(**self._who(reason, request_id), which=which), new_name)

    # How -----------------------------------------------------------------------------------------------------

    async def _ended(self, name: str) -> CampaignDescription | None:
        """How a campaign ended, as the object store knows it, for when no worker or no Temporal knows any more."""
        ledger = await self._bond.store.campaigns.ledger(name)
        return ledger[-1].final if ledger else None

    async def _pinned(self, digest: str, ready: Ready) -> str:
        """The whole digest of the preview that a campaign is to keep to."""
        from bondstone.store.previews import Previews, check_pinned  # noqa: PLC0415 - only pinned campaigns

        preview = await Previews(self._bond.store.sealed).find(digest)
        check_pinned(preview, ready.campaign)
        return preview.digest

    async def _tell_or_link(self, name: str, verb: _Verb, new_name: str) -> CampaignDescription:
        """Tell a campaign that goes on; after one that has ended, start one that is linked to it."""
        from bondstone.campaign.decider import chosen  # noqa: PLC0415 - only these verbs

        found = await self.describe(name)
        if not found.status.ended:
            try:
                return await self._tell(name, verb)
            except Refused:
                found = await self.describe(name)
                if not found.status.ended:
                    raise
        state = await self._bond.store.campaigns.end(name)
        if state is not None and verb.request_id in state.seen_requests:
            return found  # done before the end; what was lost was the answer
        if state is not None and not chosen(state, verb):
            raise Refused(f"no target is there to {verb.kind}: {verb.which}", where=name)
        kept = await self._bond.store.campaigns.header(name)
        start = CampaignInput(
            document=kept.start.document,
            source=kept.start.source,
            file=kept.start.file,
            requested_by=self._bond.by,
            reason=verb.reason or kept.start.reason,
            linked=Linked(campaign=name, verb=verb.kind, which=verb.which, request_id=verb.request_id),
            pinned={"retry": kept.start.pinned}.get(verb.kind, ""),
        )
        return await self._link(start, new_name, f"{name}-{verb.kind}")

    async def _link(self, start: CampaignInput, new_name: str, wanted: str) -> CampaignDescription:
        """Start a campaign that is linked to another, once for each request id, under the first free name."""
        for number in range(1, 1000):
            suffix = f"-{number}" if number > 1 else ""
            name = new_name or f"{wanted[: LONGEST_NAME - len(suffix)]}{suffix}"
            try:
                if await self._bond.store.campaigns.exists(names.check_name("campaign", name)):
                    raise taken(name)  # longer ago than Temporal remembers
                await self._start(name, start)
            except AlreadyExists:
                there = await self._known(name)
                if there is not None and there.linked == start.linked:
                    return await self._begun(name)
                if new_name:
                    raise
            else:
                return await self._begun(name)
        raise InvalidInput(f"there are a thousand campaigns {wanted}", hint="choose a name with --name")

    async def _known(self, name: str) -> CampaignDescription | None:
        try:
            return await self.describe(name)
        except BondError:
            return None  # it could not begin

    async def _begun(self, name: str) -> CampaignDescription:
        """A campaign once its targets are chosen, or still not after a while; what it failed with is raised."""
        until = time.monotonic() + BEGINS_WITHIN_SECONDS
        while True:
            found = await self.describe(name)
            if found.frozen or time.monotonic() >= until:
                return found
            await asyncio.sleep(FIRST_POLL_SECONDS)

    async def _start(self, name: str, start: CampaignInput) -> None:
        with starting(name, start) as traced:
            try:
                await calls.answered(
                    self._bond.temporal.start_workflow(
                        names.CAMPAIGN_WORKFLOW,
                        traced,
                        id=names.campaign_workflow_id(name),
                        task_queue=names.CONTROL_QUEUE,
                        id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                        static_summary=f"campaign {name}",
                        rpc_timeout=calls.UPDATE_TIMEOUT,
                    ),
                    names.campaign_workflow_id(name),
                )
            except WorkflowAlreadyStartedError as error:
                raise taken(name) from error

    async def _require_alive(self, name: str) -> None:
        """Raise what a campaign failed with that could not choose its targets."""
        handle = self._bond.temporal.get_workflow_handle(names.campaign_workflow_id(name))
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
