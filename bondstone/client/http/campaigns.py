"""Campaigns over the HTTP API. `Bondstone.campaigns`."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal

from typing_extensions import override

from bondstone.client.campaigns import PLANS_AT_ONCE, Campaigns
from bondstone.client.documents.campaign import (
    CampaignCheck,
    CampaignDocument,
    CampaignRow,
    PreviewDocument,
    waits_for_people,
)
from bondstone.client.http.follow import follow
from bondstone.client.http.transport import Transport, segments

if TYPE_CHECKING:
    from bondstone.client.documents.campaign_plan import PlannedTarget
    from bondstone.model.campaign.events import Which
    from bondstone.model.campaign.report import CampaignReport

PAGE = 500


class HttpCampaigns(Campaigns):
    """Campaigns over the HTTP API.

    Args:
        transport: Connections to the API.
    """

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    # Before it starts --------------------------------------------------------------------------------------------

    @override
    async def validate(self, data: bytes, file: str = "campaign", *, name: str = "") -> CampaignCheck:
        body = {"source": data.decode(errors="replace"), "file": file, "name": name}
        return CampaignCheck.model_validate(await self._http.post("/campaigns/validate", body))

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
        del on_target  # the API answers when all are planned
        body = {
            "source": data.decode(errors="replace"),
            "file": file,
            "name": name,
            "time_zone": time_zone,
            "plan": plan,
            "at_once": at_once,
        }
        return PreviewDocument.model_validate(await self._http.post("/campaigns/preview", body))

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
        body = {
            "source": data.decode(errors="replace"),
            "file": file,
            "name": name,
            "reason": reason,
            "supersedes": supersedes,
            "pinned": pinned,
        }
        return CampaignDocument.model_validate(await self._http.post("/campaigns", body))

    # Reading -----------------------------------------------------------------------------------------------------

    @override
    async def list(self) -> list[CampaignRow]:
        rows: list[CampaignRow] = []
        cursor: str | None = ""
        while cursor is not None:
            page = await self._http.get("/campaigns", {"limit": PAGE, "cursor": cursor})
            rows += map(CampaignRow.model_validate, page["items"])
            cursor = page["next"]
        return rows

    @override
    async def get(self, name: str) -> CampaignDocument:
        return CampaignDocument.model_validate(await self._http.get(segments("campaigns", name)))

    @override
    async def wait(
        self,
        name: str,
        on_change: Callable[[CampaignDocument], None] | None = None,
        *,
        through_approvals: bool = False,
    ) -> CampaignDocument:
        path = segments("campaigns", name, "events")
        async for document in follow(self._http, path, "campaign", CampaignDocument.model_validate):
            if on_change is not None:
                on_change(document)
            if document.status.ended or (not through_approvals and waits_for_people(document)):
                return document
        return await self.get(name)

    @override
    async def report(self, name: str, *, evidence: bool = True) -> CampaignReport:
        from bondstone.model.campaign.report import CampaignReport  # noqa: PLC0415 - only this verb

        path = segments("campaigns", name, "report") + ("" if evidence else "?evidence=false")
        return CampaignReport.model_validate(await self._http.get(path))

    # Steering ----------------------------------------------------------------------------------------------------

    @override
    async def pause(self, name: str, *, reason: str = "", request_id: str = "") -> CampaignDocument:
        return await self._tell(name, "pause", {"reason": reason}, request_id)

    @override
    async def resume(self, name: str, *, reason: str = "", request_id: str = "") -> CampaignDocument:
        return await self._tell(name, "resume", {"reason": reason}, request_id)

    @override
    async def abort(
        self, name: str, *, cancel: bool = False, reason: str = "", request_id: str = ""
    ) -> CampaignDocument:
        return await self._tell(name, "abort", {"cancel": cancel, "reason": reason}, request_id)

    @override
    async def skip(self, name: str, service: str, *, reason: str = "", request_id: str = "") -> CampaignDocument:
        return await self._tell(name, "skip", {"service": service, "reason": reason}, request_id)

    @override
    async def set_concurrency(
        self, name: str, most: int, *, reason: str = "", request_id: str = ""
    ) -> CampaignDocument:
        return await self._tell(name, "set-concurrency", {"most": most, "reason": reason}, request_id)

    @override
    async def next_wave(self, name: str, *, reason: str = "", request_id: str = "") -> CampaignDocument:
        return await self._tell(name, "next-wave", {"reason": reason}, request_id)

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
        body = {"wave": wave, "digest": digest, "roles": list(roles), "reason": reason}
        return await self._tell(name, "approve", body, request_id)

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
        body = {"wave": wave, "digest": digest, "roles": list(roles), "reason": reason}
        return await self._tell(name, "reject", body, request_id)

    @override
    async def retry(
        self, name: str, which: Which = "failed", *, reason: str = "", request_id: str = "", new_name: str = ""
    ) -> CampaignDocument:
        body = {"which": which, "reason": reason, "new_name": new_name}
        return await self._tell(name, "retry", body, request_id)

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
        body = {"which": which, "reason": reason, "new_name": new_name}
        return await self._tell(name, "rollback", body, request_id)

    async def _tell(self, name: str, verb: str, body: dict[str, Any], request_id: str) -> CampaignDocument:
        key = request_id or f"req-{uuid.uuid4()}"
        answer = await self._http.post(segments("campaigns", name, verb), body, key=key)
        return CampaignDocument.model_validate(answer)
