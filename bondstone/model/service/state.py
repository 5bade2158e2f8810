"""The state of a service: what its workflow carries over continue-as-new, and answers."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from bondstone.base.canonical import canonical, digest
from bondstone.base.errors import ErrorInfo
from bondstone.base.models import Wire
from bondstone.model.service.kinds import Health, OperationKind, OperationStatus, Phase, ServiceId
from bondstone.model.service.operations import OperationRecord, PendingOperation
from bondstone.model.service.requests import Dependant, KeptManifest, Resolved
from bondstone.model.service.steps import StepOutputs


class Submission(Wire):
    """What a campaign has asked of a service, kept to answer it, and to answer it again."""

    request_id: str
    target: int
    attempt: int
    reply_to: str
    """Workflow id of the campaign."""
    number: int = 0
    """Of the operation; 0 when it was withdrawn before it came."""
    status: OperationStatus | None = None
    """How it ended."""
    error: ErrorInfo | None = None
    evidence: dict[str, Any] = {}


RUN_VERSION: Final = 1
"""How runs of services proceed from now on, see `ServiceState.run_version`."""


class ServiceState(Wire):
    """All a service carries over continue-as-new: argument of `Service`, answer of its query `describe`."""

    service: ServiceId
    phase: Phase = Phase.REQUESTED
    resting: Phase = Phase.REQUESTED
    """The phase when nothing runs."""
    health: Health = Health.UNKNOWN
    """What the probes of the last operation said."""
    failed_checks: dict[str, tuple[str, ...]] = {}
    """By step, what its tool's own checks found wrong when it was last applied or looked at."""
    labels: dict[str, str] = {}
    resolved: Resolved | None = None
    """What the service stands on; None until a first operation has ended."""
    healthy: tuple[Resolved, ...] = ()
    """What it stood on in health, the last one last, bounded: where a rollback leads."""
    paused_by: str = ""
    """Who paused it; while it is not empty nothing starts by itself."""
    paused_at: datetime | None = None
    pause_reason: str = ""
    drift: int = 0
    """What the last reconcile found and did not repair."""
    step_outputs: dict[str, StepOutputs] = {}
    outputs: dict[str, Any] = {}
    queue: tuple[PendingOperation, ...] = ()
    """Accepted operations in order; the first is the one that runs."""
    retryable: PendingOperation | None = None
    """The last operation, when it did not succeed."""
    operations: tuple[OperationRecord, ...] = ()
    """The last ended operations, oldest first, bounded."""
    seen_requests: dict[str, int] = {}
    """Request id to operation number, bounded, oldest first."""
    request_digests: dict[str, str] = {}
    """Request id to digest of what was requested under it, for those of `seen_requests` that have one."""
    submissions: tuple[Submission, ...] = ()
    """What campaigns have asked for: all that has not ended, and the last that has."""
    next_number: int = 1
    ledger_digest: str = ""
    created_at: datetime | None = None
    created_by: str = ""
    next_due: datetime | None = None
    dependants: tuple[Dependant, ...] = ()
    """Services that this one is a part of."""
    attested: bool = False
    """A request with an attestation was accepted: from then on every operation asks for permits."""
    applied: KeptManifest | None = None
    """The manifest that changed it last; None when no manifest ever did."""
    run_version: int = 0
    """How the run that begins with this state proceeds, so that histories of older ones replay. 0: it continues as
    new after one operation, and an activity resolves what people request."""

    @classmethod
    def new(cls, service: ServiceId) -> ServiceState:
        """Of a service that does not exist yet.

        Args:
            service: Team and name.
        """
        return cls(service=service, run_version=RUN_VERSION)

    @property
    def condition(self) -> Health:
        """Its health as people are told: a failed check counts like a failed probe."""
        return Health.UNHEALTHY if self.failed_checks else self.health

    @property
    def current(self) -> Resolved | None:
        """What the service stands on, or is to stand on first."""
        return self.resolved or (self.queue[0].resolved if self.queue else None)

    @property
    def ahead(self) -> PendingOperation | None:
        """The last accepted operation that leads to another revision or inputs; None when none waits or runs."""
        stays = {OperationKind.RECONCILE, OperationKind.DECOMMISSION}
        changes = (each for each in self.queue if not each.record.dry_run and each.record.kind not in stays)
        return next(reversed(tuple(changes)), None)

    @property
    def ways_back(self) -> tuple[Resolved, ...]:
        """What it stood on in health and does not now, newest first: a rollback leads to the first."""
        return tuple(
            past for past in reversed(self.healthy) if self.resolved is None or not past.same(self.resolved)
        )


def state_digest(state: ServiceState) -> str:
    """Tells a state of a service from every other, see `Conditional`."""
    return digest(canonical(state.model_dump(mode="json", exclude_defaults=True)))
