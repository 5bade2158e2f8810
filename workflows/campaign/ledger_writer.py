"""What is written into a campaign's ledger, in batches."""

from __future__ import annotations

from typing import Final

from temporalio import workflow

from bondstone.base import names
from bondstone.model.campaign.events import Note
from bondstone.model.campaign.run import CampaignDescription, LedgerBatch, TargetRecord
from bondstone.model.campaign.state import CampaignState
from bondstone.model.ledger import LedgerEntry
from bondstone.workflows import activity_calls, details

BATCH: Final = 100
"""Records that are written together; notes are written at once, with the records that wait."""


class LedgerWriter:
    """Collects a campaign's notes and records, and writes them one batch after the other.

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
        self.last: tuple[TargetRecord, ...] = ()
        """Of the targets that ended since this run began, those that a page with room for a few shows."""

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
        """Add what happened to the campaign."""
        self._notes.append(note)

    def record(self, record: TargetRecord) -> None:
        """Add what became of a target."""
        self._records.append(record)
        self.last = details.last_targets((*self.last, record))

    async def write(self, final: CampaignDescription | None = None, state: CampaignState | None = None) -> None:
        """Write all that waits; one batch after the other."""
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
