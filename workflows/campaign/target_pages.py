"""What a campaign's workflow holds beside its state: pages of targets, and what is to be written down."""

from __future__ import annotations

import asyncio
from typing import Final

from temporalio import workflow

from bondstone.base import names
from bondstone.model.campaign.events import Note
from bondstone.model.campaign.run import (
    CampaignDescription,
    LedgerBatch,
    PageCall,
    TargetEntry,
    TargetPage,
    TargetRecord,
)
from bondstone.model.campaign.state import CampaignState
from bondstone.model.ledger import LedgerEntry
from bondstone.workflows import activity_calls

PAGES_HELD: Final = 8
BATCH: Final = 100
"""Records that are written together; notes are written at once, and take with them what is there."""


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


class Books:
    """What is to be written into the campaign's ledger, in batches.

    Args:
        campaign: Whose.
        batches: How many batches are written.
        digest: Of the last one.
    """

    def __init__(self, campaign: str, batches: int, digest: str) -> None:
        self._campaign = campaign
        self.batches = batches
        self.digest = digest
        self._notes: list[Note] = []
        self._records: list[TargetRecord] = []
        self._writing: LedgerBatch | None = None

    @property
    def due(self) -> bool:
        """Whether a batch should be written now."""
        return self._writing is None and (bool(self._notes) or len(self._records) >= BATCH)

    @property
    def pending(self) -> bool:
        """Whether anything is not in the store yet."""
        return bool(self._notes or self._records or self._writing)

    @property
    def recent(self) -> tuple[TargetRecord, ...]:
        """Records that are not in the store yet."""
        return (*(self._writing.records if self._writing else ()), *self._records)

    def note(self, note: Note) -> None:
        """Something happened to the campaign."""
        self._notes.append(note)

    def record(self, record: TargetRecord) -> None:
        """Something became of a target."""
        self._records.append(record)

    async def write(self, final: CampaignDescription | None = None, state: CampaignState | None = None) -> None:
        """Write what is there; one batch after the other."""
        await workflow.wait_condition(lambda: self._writing is None)
        if not (self._notes or self._records or final):
            return
        batch = LedgerBatch(
            campaign=self._campaign,
            number=self.batches + 1,
            notes=tuple(self._notes),
            records=tuple(self._records),
            final=final,
            state=state,
            previous=self.digest,
        )
        self._notes, self._records, self._writing = [], [], batch
        # No local activity: that of a workflow task that is lost runs again, and then there may be more to write.
        summary = f"ledger {batch.number}"
        written = await activity_calls.apart(
            names.CAMPAIGN_RECORD, batch, LedgerEntry, within=activity_calls.CONTROL_TIMEOUT, summary=summary
        )
        self.batches, self.digest, self._writing = batch.number, written.digest, None
