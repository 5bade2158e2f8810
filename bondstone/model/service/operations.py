"""Operations: their approvals, their records, and what their workflows take and return."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from bondstone.base.errors import ErrorInfo
from bondstone.base.models import Wire
from bondstone.base.names import operation_workflow_id
from bondstone.model.attestation import Attestation
from bondstone.model.service.kinds import Health, OperationKind, OperationStatus, RevisionRef, ServiceId
from bondstone.model.service.requests import Dependant, Options, Request, Resolved
from bondstone.model.service.steps import StepOutputs, StepRecord


class Vote(Wire):
    """One person's vote on one plan."""

    by: str
    roles: tuple[str, ...] = ()
    """As asserted by who voted, until there are tokens."""
    approve: bool
    comment: str = ""
    at: datetime
    attestation: Attestation | None = None


class Need(Wire):
    """Approvals that a plan waits for: by whom, and how many."""

    roles: tuple[str, ...] = ()
    """Any of these; anybody when empty."""
    count: int = 1
    allow_requester: bool = False
    reason: str = ""


class Approval(Wire):
    """The gate of one step: the plan it is about, whom it asks, what they said."""

    step: str
    digest: str
    needs: tuple[Need, ...]
    votes: tuple[Vote, ...] = ()
    status: Literal["waiting", "approved", "rejected", "expired", "would-ask"] = "waiting"
    """`would-ask`: in a dry run, which waits for no approval."""
    asked_at: datetime
    expires_at: datetime | None = None


class OperationRecord(Wire):
    """One operation as lists and records show it."""

    service: ServiceId
    number: int
    kind: OperationKind
    status: OperationStatus = OperationStatus.QUEUED
    revision: RevisionRef
    before: RevisionRef | None = None
    """What the service stood on, or will once the operations ahead have succeeded."""
    request_id: str
    requested_by: str
    requested_at: datetime
    reason: str = ""
    campaign: str = ""
    """The campaign that asked for it; empty for people."""
    trace: str = ""
    """That of its request, see `bondstone.model.operation_trace.of_operation`."""
    dry_run: bool = False
    cause: str = ""
    """Id of the operation that led to it."""
    retry_of: int | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    steps: tuple[StepRecord, ...] = ()
    approvals: tuple[Approval, ...] = ()
    drift: int = 0
    """How many objects a reconcile found to differ."""
    retained: tuple[str, ...] = ()
    """What a decommission has kept, in words."""
    error: ErrorInfo | None = None

    @property
    def id(self) -> str:
        """`TEAM/NAME/op/N`."""
        return f"{self.service}/op/{self.number}"

    @property
    def workflow_id(self) -> str:
        """The workflow that runs it."""
        return operation_workflow_id(self.service.team, self.service.name, self.number)


class OperationInput(Options):
    """Argument of every operation workflow."""

    record: OperationRecord
    resolved: Resolved
    labels: dict[str, str] = {}
    kept: tuple[StepRecord, ...] = ()
    """Steps that succeeded in the operation this one retries."""
    before: Resolved | None = None
    """What the service stood on, for decisions and the ledger."""
    outputs: dict[str, StepOutputs] = {}
    """Outputs of the service's steps before the operation."""
    parents: tuple[Dependant, ...] = ()
    """Services that this one is a part of."""
    attestation: Attestation | None = None
    """Of the request; None for a service's own look for drift."""
    attested: bool = False
    """The service lives under attestation: whatever its steps do needs a permit."""


class OperationResult(Wire):
    """What an operation workflow returns, or carries as the detail of its failure."""

    status: OperationStatus
    steps: tuple[StepRecord, ...] = ()
    approvals: tuple[Approval, ...] = ()
    stands: Literal["before", "after", "between"] = "after"
    """Which revision and inputs the service stands on now: those it had, those it was to get, or some of each."""
    drift: int = 0
    step_outputs: dict[str, StepOutputs] | None = None
    """Outputs of every step that stands now; None when it is not known."""
    outputs: dict[str, Any] = {}
    """The service's outputs, secrets by reference."""
    health: Health = Health.UNKNOWN
    retained: tuple[str, ...] = ()
    error: ErrorInfo | None = None


class PendingOperation(Options):
    """An accepted operation that has not ended: what the queue of a service holds."""

    record: OperationRecord
    resolved: Resolved
    retry: bool = False
    request: Request | None = None
    """What was asked, to resolve it anew when what it was based on did not come about."""
    after: int = 0
    """The operation in front of it when it was accepted: it was resolved on the assumption that it succeeds."""
    attestation: Attestation | None = None
    attested: bool = False
