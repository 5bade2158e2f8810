"""Campaigns over Temporal: each is a workflow that is sent updates. `Bondstone.campaigns`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from typing_extensions import override

from bondstone.base import names
from bondstone.base.errors import NotFound, Refused, Unreachable
from bondstone.client.campaigns import PLANS_AT_ONCE, Campaigns
from bondstone.client.direct.campaigns import listing
from bondstone.client.direct.campaigns.files import CampaignFiles, whole_platform
from bondstone.client.direct.campaigns.starting import Starter
from bondstone.client.direct.campaigns.steering import Steering
from bondstone.client.documents.campaign import (
    CampaignCheck,
    CampaignDocument,
    CampaignRow,
    PreviewDocument,
    failures,
    waits_for_people,
)
from bondstone.client.documents.campaign_plan import PlannedTarget, PlansDocument
from bondstone.client.documents.service import links
from bondstone.model.campaign.events import (
    Abort,
    AnyVerb,
    Approve,
    NextWave,
    Pause,
    Reject,
    Resume,
    Retry,
    RollbackTargets,
    SetConcurrency,
    Skip,
    Which,
)
from bondstone.model.campaign.run import CampaignDescription, CampaignInput
from bondstone.temporal import calls

if TYPE_CHECKING:
    from bondstone.campaign.fleet import FleetService
    from bondstone.client.bondstone import Bondstone
    from bondstone.client.direct.connection import Caller
    from bondstone.model.campaign.preview import PreviewedTarget
    from bondstone.model.campaign.report import CampaignReport
    from bondstone.store.campaigns import CampaignStore

FIRST_POLL_SECONDS: Final = 0.2
SLOWEST_POLL_SECONDS: Final = 1.5
PATIENCE_SECONDS: Final = 180.0
"""How long a platform that does not answer is waited for."""


class DirectCampaigns(Campaigns):
    """Campaigns over Temporal and the object store.

    Args:
        caller: Who asks, and by which connection.
        bond: The client, for the dry runs of a preview.
    """

    def __init__(self, caller: Caller, bond: Bondstone) -> None:
        self._caller = caller
        self._bond = bond
        self._starter = Starter(caller, self.describe)
        self._steering = Steering(caller, self.describe, self._starter)

    # Before it starts --------------------------------------------------------------------------------------------

    @override
    async def validate(self, data: bytes, file: str = "campaign", *, name: str = "") -> CampaignCheck:
        from bondstone.campaign.document import read_campaign  # noqa: PLC0415 - few verbs

        campaign = read_campaign(data, file, now=datetime.now(UTC)).require()
        return CampaignCheck(
            name=names.check_name("campaign", name) if name else campaign.metadata.name,
            operation=campaign.spec.operation,
            waves=len(campaign.spec.waves),
        )

    @override
    async def preview(
        self,
        data: bytes,
        file: str = "campaign",
        *,
        name: str = "",
        time_zone: str = "",
        plan: bool = False,
        at_once: int = PLANS_AT_ONCE,
        on_target: Callable[[PlannedTarget, int, int], None] | None = None,
    ) -> PreviewDocument:
        return await self.preview_among(
            None, data, file, name=name, time_zone=time_zone, plan=plan, at_once=at_once, on_target=on_target
        )

    async def preview_among(
        self,
        sees: Callable[[FleetService], bool] | None,
        data: bytes,
        file: str = "campaign",
        *,
        name: str = "",
        time_zone: str = "",
        plan: bool = False,
        at_once: int = PLANS_AT_ONCE,
        on_target: Callable[[PlannedTarget, int, int], None] | None = None,
    ) -> PreviewDocument:
        """As `preview`, as if services that the caller may not see were not there.

        Args:
            sees: Which services the caller may see; None for all.
            data: As for `preview`, here and below.
            file: Its name.
            name: Instead of the name in the file.
            time_zone: In which times are given beside UTC.
            plan: Plan every target too.
            at_once: How many dry runs at once.
            on_target: Called with each target that is planned.

        Raises:
            CampaignInvalid: with every mistake at its line and column.
        """
        files = await self._files()
        ready = await files.ready(data, file, name=name, sees=sees)
        document = await files.preview(ready, local_zone=time_zone)
        if not plan:
            return document
        from bondstone.client.direct.campaigns import planned_previews  # noqa: PLC0415 - previews with plans only

        total = len(ready.plan.targets)

        def planned(target: PreviewedTarget, done: int) -> None:
            if on_target is not None:
                on_target(PlannedTarget.of(target), done, total)

        digest, preview = await planned_previews.plan(
            self._caller, self._bond.services, ready, at_once=at_once, on_target=planned
        )
        return document.changed(plans=PlansDocument.of(digest, preview))

    @override
    async def run(
        self,
        data: bytes,
        file: str = "campaign",
        *,
        name: str = "",
        reason: str = "",
        supersedes: str = "",
        pinned: str = "",
    ) -> CampaignDocument:
        ready = await (await self._files()).ready(data, file, name=name)
        started = ready.campaign.metadata.name
        if supersedes:
            ended = (await self.describe(supersedes)).status
            if ended.ended:
                raise Refused(
                    f"campaign {supersedes} has ended ({ended}), so there is nothing to take over from",
                    where=f"campaign {started}",
                    hint="leave --supersedes out; nothing was started",
                )
        start = CampaignInput(
            source=data.decode(),
            file=file,
            requested_by=self._caller.by,
            reason=reason,
            supersedes=supersedes,
            pinned=await self._starter.pinned(pinned, ready) if pinned else "",
        )
        await self._starter.start(started, start)
        effect = list(filter(None, [whole_platform(ready.campaign.spec, ready.plan)]))
        effect += [f"shares {words}" for other, words in ready.overlaps.items() if other != supersedes]
        begun = await self._starter.begun(started)
        if supersedes:
            effect += [
                f"campaign {supersedes}: {each}" for each in await self._steering.supersede(supersedes, started)
            ]
        return await self._document(begun.changed(effect=tuple(effect)))

    # Reading -----------------------------------------------------------------------------------------------------

    @override
    async def list(self) -> list[CampaignRow]:
        return await listing.campaigns(await self._caller.connection.temporal())

    @override
    async def get(self, name: str) -> CampaignDocument:
        return await self._document(await self.describe(name))

    async def describe(self, name: str) -> CampaignDescription:
        """A campaign as its workflow answers, or as it ended, however long ago.

        Args:
            name: Of the campaign.

        Raises:
            NotFound: there never was one of that name.
            BondError: it could not begin, in the words of its workflow.
        """
        names.check_name("campaign", name)
        try:
            description = await calls.query(
                await self._caller.connection.temporal(), names.campaign_workflow_id(name), CampaignDescription
            )
        except (NotFound, Unreachable):
            # No worker answers, or Temporal knows it no more: the object store does.
            ledger = await (await self._store()).ledger(name)
            if not ledger or ledger[-1].final is None:
                raise
            return ledger[-1].final
        if not description.frozen:
            await self._starter.require_alive(name)
        return description

    @override
    async def wait(
        self,
        name: str,
        on_change: Callable[[CampaignDocument], None] | None = None,
        *,
        through_approvals: bool = False,
    ) -> CampaignDocument:
        previous: CampaignDescription | None = None
        document: CampaignDocument | None = None
        pause, answered = FIRST_POLL_SECONDS, time.monotonic()
        while True:
            try:
                description = await self.describe(name)
                if document is None or previous is None or description.failures != previous.failures:
                    document = await self._document(description)
                else:
                    fresh = CampaignDocument.of(description, document.failures)
                    document = fresh.changed(links=document.links)
            except Unreachable:
                if time.monotonic() - answered >= PATIENCE_SECONDS:
                    raise
                await asyncio.sleep(SLOWEST_POLL_SECONDS)
                continue
            answered = time.monotonic()
            if description != previous and on_change is not None:
                on_change(document)
            if document.status.ended or (not through_approvals and waits_for_people(document)):
                return document
            pause = FIRST_POLL_SECONDS if description != previous else min(pause * 1.5, SLOWEST_POLL_SECONDS)
            previous = description
            await asyncio.sleep(pause)

    @override
    async def report(self, name: str, *, evidence: bool = True) -> CampaignReport:
        from bondstone.campaign.report.content import build  # noqa: PLC0415 - only this verb
        from bondstone.client.direct.campaigns.report_sources import gather  # noqa: PLC0415

        description = await self.describe(name)
        sources = await gather(
            await self._caller.connection.store(),
            await self._caller.connection.temporal(),
            description,
            evidence=evidence,
        )
        return build(sources, as_of=datetime.now(UTC))

    # Steering ----------------------------------------------------------------------------------------------------

    @override
    async def pause(self, name: str, *, reason: str = "", request_id: str = "") -> CampaignDocument:
        return await self._steer(name, Pause(**self._who(reason, request_id)))

    @override
    async def resume(self, name: str, *, reason: str = "", request_id: str = "") -> CampaignDocument:
        return await self._steer(name, Resume(**self._who(reason, request_id)))

    @override
    async def abort(
        self, name: str, *, cancel: bool = False, reason: str = "", request_id: str = ""
    ) -> CampaignDocument:
        verb = Abort(**self._who(reason, request_id), running="cancel" if cancel else "drain")
        return await self._steer(name, verb)

    @override
    async def skip(self, name: str, service: str, *, reason: str = "", request_id: str = "") -> CampaignDocument:
        names.parse_service(service)
        await self.describe(name)
        targets = [target.service for target in await (await self._store()).targets(name)]
        if service not in targets:
            raise NotFound(
                f"{service} is not a target of the campaign",
                where=name,
                hint=f"`bond campaign report {name} -o json` names the targets",
            )
        return await self._steer(name, Skip(**self._who(reason, request_id), target=targets.index(service)))

    @override
    async def set_concurrency(
        self, name: str, most: int, *, reason: str = "", request_id: str = ""
    ) -> CampaignDocument:
        return await self._steer(name, SetConcurrency(**self._who(reason, request_id), max_concurrent=most))

    @override
    async def next_wave(self, name: str, *, reason: str = "", request_id: str = "") -> CampaignDocument:
        return await self._steer(name, NextWave(**self._who(reason, request_id)))

    @override
    async def approve(
        self,
        name: str,
        wave: str,
        *,
        digest: str = "",
        roles: Iterable[str] = (),
        reason: str = "",
        request_id: str = "",
    ) -> CampaignDocument:
        whole = await self._steering.whole_digest(name, digest)
        verb = Approve(**self._who(reason, request_id), wave=wave, digest=whole, roles=tuple(roles))
        return await self._steer(name, verb)

    @override
    async def reject(
        self,
        name: str,
        wave: str,
        *,
        reason: str,
        digest: str = "",
        roles: Iterable[str] = (),
        request_id: str = "",
    ) -> CampaignDocument:
        whole = await self._steering.whole_digest(name, digest)
        verb = Reject(**self._who(reason, request_id), wave=wave, digest=whole, roles=tuple(roles))
        return await self._steer(name, verb)

    @override
    async def retry(
        self, name: str, which: Which = "failed", *, reason: str = "", request_id: str = "", new_name: str = ""
    ) -> CampaignDocument:
        verb = Retry(**self._who(reason, request_id), which=which)
        return await self._document(await self._steering.tell_or_link(name, verb, new_name))

    @override
    async def rollback(
        self,
        name: str,
        which: Literal["failed", "wave", "all"],
        *,
        reason: str = "",
        request_id: str = "",
        new_name: str = "",
    ) -> CampaignDocument:
        verb = RollbackTargets(**self._who(reason, request_id), which=which)
        return await self._document(await self._steering.tell_or_link(name, verb, new_name))

    # Helpers -----------------------------------------------------------------------------------------------------

    async def _store(self) -> CampaignStore:
        return (await self._caller.connection.store()).campaigns

    async def _files(self) -> CampaignFiles:
        return CampaignFiles(await self._caller.connection.temporal(), await self._caller.connection.store())

    async def _document(self, description: CampaignDescription) -> CampaignDocument:
        """A campaign for programs, with those of its targets that failed."""
        ledger = []
        if description.failures and description.batches:
            ledger = await (await self._store()).ledger(description.name)
        document = CampaignDocument.of(description, failures(description, ledger))
        return document.changed(links=links(self._caller.settings, names.campaign_workflow_id(description.name)))

    def _who(self, reason: str, request_id: str) -> dict[str, Any]:
        return self._steering.who(reason, request_id)

    async def _steer(self, name: str, verb: AnyVerb) -> CampaignDocument:
        return await self._document(await self._steering.tell(name, verb))
