"""The fixed list of a campaign's targets, read page by page."""

from __future__ import annotations

import asyncio
from typing import Final

from bondstone.base import names
from bondstone.model.campaign.run import PageCall, TargetEntry, TargetPage
from bondstone.workflows import activity_calls

PAGES_HELD: Final = 8


class Pages:
    """Pages of the frozen list, read when they are needed.

    Args:
        campaign: Whose.
        page_size: Targets on a page.
    """

    def __init__(self, campaign: str, page_size: int) -> None:
        self._campaign = campaign
        self._page_size = page_size
        self._held: dict[int, asyncio.Task[TargetPage]] = {}

    async def page(self, number: int) -> tuple[TargetEntry, ...]:
        """One page."""
        task = self._held.get(number)
        if task is None:
            task = self._held[number] = asyncio.create_task(self._read(number))
            for oldest in list(self._held)[:-PAGES_HELD]:
                del self._held[oldest]
        return (await asyncio.shield(task)).targets

    async def entry(self, target: int) -> TargetEntry:
        """One target."""
        number, offset = divmod(target, self._page_size)
        return (await self.page(number))[offset]

    def service_of(self, target: int) -> str:
        """`TEAM/NAME`, if its page is here."""
        number, offset = divmod(target, self._page_size)
        task = self._held.get(number)
        if task is None or not task.done() or task.cancelled() or task.exception() is not None:
            return ""
        return task.result().targets[offset].service

    async def _read(self, number: int) -> TargetPage:
        call = PageCall(campaign=self._campaign, page=number)
        return await activity_calls.control(names.CAMPAIGN_PAGE, call, TargetPage, summary=f"page {number}")
