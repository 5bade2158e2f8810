"""The control activity of the ledger."""

from __future__ import annotations

from temporalio import activity

from bondstone.activities.failures import speaks_failures
from bondstone.base import names
from bondstone.base.metrics import OPERATION_DURATION, OPERATION_QUEUE
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
        entry = await self._store.ledger.record(record)
        _measure(record)
        return entry


def _measure(record: LedgerRecord) -> None:
    revision = record.revision_after or record.revision_before
    if record.kind != "operation" or record.operation_kind is None or record.status is None or revision is None:
        return
    said = {"kind": str(record.operation_kind), "promise": revision.promise}
    if record.started_at:
        OPERATION_DURATION.record(
            (record.at - record.started_at).total_seconds(), outcome=str(record.status), **said
        )
    if record.started_at and record.requested_at:
        OPERATION_QUEUE.record((record.started_at - record.requested_at).total_seconds(), **said)
