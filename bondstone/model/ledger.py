"""The permanent audit record of one thing that happened."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from bondstone.base.errors import ErrorInfo
from bondstone.base.models import Wire
from bondstone.model.attestation import Attestable
from bondstone.model.service import Approval, OperationKind, OperationStatus, RevisionRef, ServiceId, StepRecord


class LedgerRecord(Attestable):
    """One immutable record; secrets appear by reference only."""

    kind: Literal[
        "operation",
        "approval",
        "rejection",
        "cancellation",
        "pause",
        "resume",
        "abandon",
        "labels",
        "campaign",
        "state",
    ]
    service: ServiceId
    sequence: str
    """What makes its key unique and its writing repeatable: `op-7`, `op-7-cancel`."""
    at: datetime
    by: str
    reason: str = ""
    campaign: str = ""
    """The campaign that asked for the operation."""
    cause: str = ""
    """Id of the operation that led to this one: of its parent, or of a part that changed. Following it gives the
    chain to the request of a person or a program."""
    operation: int | None = None
    operation_kind: OperationKind | None = None
    status: OperationStatus | None = None
    revision_before: RevisionRef | None = None
    revision_after: RevisionRef | None = None
    inputs_before: dict[str, Any] = {}
    inputs_after: dict[str, Any] = {}
    steps: tuple[StepRecord, ...] = ()
    approvals: tuple[Approval, ...] = ()
    dry_run: bool = False
    """Nothing was changed: what is after is what would have been."""
    retry_of: int | None = None
    drift: int = 0
    retained: tuple[str, ...] = ()
    """What is kept of a service that is gone, in words."""
    error: ErrorInfo | None = None
    requested_at: datetime | None = None
    started_at: datetime | None = None
    call: dict[str, Any] = {}
    """What the attestation is of, where the record does not say it otherwise."""
    previous: str = ""
    """Digest of the service's record before this one: a chain that shows a gap or a change."""
    key_id: str = ""
    """The key of control workers that has signed the record; empty where attestations are not demanded."""
    signature: str = ""
    """Ed25519, in base64, of `bondstone ledger v1`, a line feed, and the record as it is stored without this."""


class LedgerEntry(Wire):
    """Where a record was written, and its digest: what `ledger.record` returns."""

    key: str
    digest: str
