"""The control activity of the ledger."""

from __future__ import annotations

from temporalio import activity

from bondstone.activities.attested import Checks
from bondstone.activities.failures import speaks_failures
from bondstone.activities.ledger_checks import check_record
from bondstone.base import names
from bondstone.base.metrics import OPERATION_DURATION, OPERATION_QUEUE
from bondstone.model.ledger import LedgerEntry, LedgerRecord
from bondstone.store import Store
from bondstone.store.ledger_signatures import sign_record
from bondstone.store.signing import Signer
from bondstone.temporal.announcing import Announcer, event_of


class RecordActivities:
    """What is written at the end of things.

    Args:
        store: Where the ledger is.
        checks: Of attestations; by default none are demanded.
        signer: Signs records; None where attestations are not demanded.
        announcer: Tells subscribers; None for nobody.
    """

    def __init__(
        self,
        store: Store,
        checks: Checks | None = None,
        signer: Signer | None = None,
        announcer: Announcer | None = None,
    ) -> None:
        self._store = store
        self._checks = checks or Checks(store)
        self._signer = signer
        self._announcer = announcer

    @activity.defn(name=names.LEDGER_RECORD)
    @speaks_failures
    async def record(self, record: LedgerRecord) -> LedgerEntry:
        """Append a record; the same again changes nothing.

        Raises:
            AttestationInvalid: attestations are demanded, and nobody is attested to have done this.
        """
        if self._checks.demanded:
            await check_record(self._store, self._checks, record)
        if self._signer is not None:
            record = sign_record(record, self._signer)
        entry = await self._store.ledger.record(record)
        if self._announcer is not None:
            await self._announcer.announce(event_of(record, entry.key), record.service.team)
        _measure(record)
        return entry


def _measure(record: LedgerRecord) -> None:
    revision = record.revision_after or record.revision_before
    if record.kind != "operation" or record.operation_kind is None or record.status is None or revision is None:
        return
    labels = {"kind": str(record.operation_kind), "promise": revision.promise}
    if record.started_at:
        OPERATION_DURATION.record(
            (record.at - record.started_at).total_seconds(), outcome=str(record.status), **labels
        )
    if record.started_at and record.requested_at:
        OPERATION_QUEUE.record((record.started_at - record.requested_at).total_seconds(), **labels)
