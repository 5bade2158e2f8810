"""Control activities of the ledger and the secret store."""

from __future__ import annotations

from temporalio import activity

from activities.failures import speaks_failures
from bondstone import names
from bondstone.model.ledger import LedgerEntry, LedgerRecord
from bondstone.model.step import EraseCall
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

    @activity.defn(name=names.SECRETS_ERASE)
    @speaks_failures
    async def erase(self, call: EraseCall) -> int:
        """Erase every secret of a service; returns how many there were."""
        return await self._store.secrets.erase(call.service)
