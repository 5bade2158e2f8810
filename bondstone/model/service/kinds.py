"""The names by which services, revisions and operations are known, and the states that they are in."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from bondstone.base.models import Wire
from bondstone.base.names import NAME_PATTERN


class Phase(StrEnum):
    """Where a service is in its life (search attribute `BondPhase`)."""

    REQUESTED = "requested"
    PROVISIONING = "provisioning"
    READY = "ready"
    UPDATING = "updating"
    PATCHING = "patching"
    UPGRADING = "upgrading"
    ROLLING_BACK = "rolling-back"
    RECONCILING = "reconciling"
    AWAITING_APPROVAL = "awaiting-approval"
    DEGRADED = "degraded"
    FAILED = "failed"
    DECOMMISSIONING = "decommissioning"
    DECOMMISSIONED = "decommissioned"
    ABANDONED = "abandoned"
    """Forgotten, and nothing of it destroyed."""


class Health(StrEnum):
    """What the last probes said (search attribute `BondHealth`)."""

    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


class OperationKind(StrEnum):
    """The kinds of work on a service."""

    PROVISION = "provision"
    UPDATE = "update"
    PATCH = "patch"
    UPGRADE = "upgrade"
    ROLLBACK = "rollback"
    RECONCILE = "reconcile"
    DECOMMISSION = "decommission"


class OperationStatus(StrEnum):
    """Where an operation is."""

    QUEUED = "queued"
    RUNNING = "running"
    AWAITING_APPROVAL = "awaiting-approval"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    ROLLED_BACK = "rolled-back"

    @property
    def ended(self) -> bool:
        """Whether it will not change any more."""
        return self not in {self.QUEUED, self.RUNNING, self.AWAITING_APPROVAL}


class StepStatus(StrEnum):
    """Where a step of an operation is."""

    PENDING = "pending"
    PLANNING = "planning"
    CHECKING = "checking"
    APPLYING = "applying"
    SUCCEEDED = "succeeded"
    UNCHANGED = "unchanged"
    """Planned, and there was nothing to change."""
    KEPT = "kept"
    """Had succeeded in the operation that this one retries."""
    SKIPPED = "skipped"
    """Its `when` is false."""
    DEFERRED = "deferred"
    """A dry run cannot know its inputs yet."""
    FAILED = "failed"
    CANCELLED = "cancelled"
    BLOCKED = "blocked"
    """A step it needs did not succeed."""


class ServiceId(Wire):
    """Team and name of a service."""

    team: str = Field(pattern=NAME_PATTERN)
    name: str = Field(pattern=NAME_PATTERN)

    def __str__(self) -> str:
        return f"{self.team}/{self.name}"


class RevisionRef(Wire):
    """One immutable revision of a promise."""

    promise: str
    version: str
    digest: str
    """sha256 of the bundle, hex."""

    def __str__(self) -> str:
        return f"{self.promise}@{self.version}"
