"""The control activity of the ledger."""

from __future__ import annotations

from temporalio import activity

from activities.failures import speaks_failures
from bondstone import names
from bondstone.model.ledger import LedgerEntry, LedgerRecord
from bondstone.store import Store


class RecordActivities:
    """What is written at the end of things."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @activity.defn(name=names.LEDGER_RECORD)
    @speaks_failures
    async def record(self, record: LedgerRecord) -> LedgerEntry:
        """Append a record; the same again changes nothing."""
        return await self._store.ledger.record(record)
