"""Services and their operations: what the entity workflow carries, answers and accepts."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Literal

from pydantic import Field

from bondstone.base.canonical import canonical, digest
from bondstone.base.errors import ErrorInfo
from bondstone.base.models import Wire
from bondstone.base.names import NAME_PATTERN, REQUEST_ID_PATTERN, operation_workflow_id
from bondstone.model.attestation import Attestable, Attestation
from bondstone.model.plan import ChangeCounts, Decision, Pins, PlanRef
from bondstone.model.secret import REF_KEY, replace_refs


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


class StepSpec(Wire):
    """One step of a resolved operation: all the workflow has to know of it."""

    id: str
    executor: str
    needs: tuple[str, ...] = ()
    pool: str = "default"
    skip: bool = False
    """Its `when` is false for these inputs."""
    uses: tuple[str, ...] = ()
    """Steps whose outputs its section refers to."""
    timeout_seconds: int = 3600
    """Longest time for one attempt of one activity of the step."""
    summary: str = ""
    part: str = ""
    """`TEAM/NAME` of the service that the step stands for, where it stands for one."""


class DayTwo(Wire):
    """What a revision says of a service's later life: all that workflows need of it."""

    hooks: tuple[StepSpec, ...] = ()
    """Steps that run only when they are named below; a provision leaves them alone."""
    patch_before: tuple[str, ...] = ()
    patch_after: tuple[str, ...] = ()
    patch_health_seconds: int = 0
    """Longest time that its own probes take together; 0 when it has none, and those of the service count."""
    patch_on_failure: Literal["rollback", "hold"] = "rollback"
    upgrade_before: tuple[str, ...] = ()
    upgrade_after: tuple[str, ...] = ()
    upgrade_health_seconds: int = 0
    upgrade_on_failure: Literal["rollback", "hold"] = "rollback"
    upgrade_approval: bool = True
    """A change of the major version asks people first."""
    retain_seconds: int = 0
    """How long a decommission waits, and can be taken back."""
    final: tuple[str, ...] = ()
    state_after: Literal["archive", "erase"] = "archive"
    secrets_after: Literal["erase", "archive"] = "erase"
    reconcile_seconds: int = 0
    """How often drift is looked for; 0 never by itself."""
    reconcile_repair: bool = False


class StepOutputs(Wire):
    """What an applied step gave: plain values, and references in place of sensitive ones."""

    values: dict[str, Any] = {}


class StepRecord(Wire):
    """What became of one step in one operation."""

    id: str
    executor: str
    status: StepStatus = StepStatus.PENDING
    pool: str = "default"
    plan: PlanRef | None = None
    decision: Decision | None = None
    outputs: StepOutputs | None = None
    changes: ChangeCounts = ChangeCounts()
    error: ErrorInfo | None = None
    log: str = ""
    """Key of the log of the last run."""
    part: Literal["", "before", "after", "removed", "rollback", "final"] = ""
    """Which part of the operation ran it, where that is not the main one."""
    drift: tuple[str, ...] = ()
    """Addresses that a reconcile found to differ, the first hundred."""
    failed_checks: tuple[str, ...] = ()
    """What the tool's own checks found wrong, which stops nothing: `check.name: words`."""
    earlier_attempts: tuple[str, ...] = ()
    """Why attempts to apply it before the last one ended, bounded, the first one first; `changes` adds all up."""
    started_at: datetime | None = None
    finished_at: datetime | None = None


class Dependant(Wire):
    """A service that another one is a part of: what the part knows of its parent."""

    service: ServiceId
    alias: str
    """What the parent's promise calls the part."""
    versions: str = ">=0"
    """Versions of the part's promise that the parent accepts."""
    owns: bool = False
    """The part was made for this parent, or given to it, and changes with it."""
    adopted: bool = False
    """The part existed before and was given to this parent: it may outlive it."""


class KeptManifest(Wire):
    """What a manifest said of a service when `bond apply` last changed it: the base of the next comparison."""

    version: str = ""
    """Empty when the manifest leaves the version alone."""
    inputs: dict[str, Any] = {}
    """As written; a secret is the reference that stands in the manifest, never its value."""
    labels: dict[str, str] = {}


class PartChanged(Wire):
    """Argument of the signal `part_changed`: a part stands on something else now, or gives something else."""

    part: ServiceId
    operation: str
    """Id of the operation that changed it."""


class Options(Wire):
    """How an operation is to run: asked with the request, kept in the queue, given to the operation's workflow.

    The three inherit it, so that their JSON holds these fields beside their own.
    """

    on_failure: Literal["keep", "destroy"] = "keep"
    """What to do with what was made when a provision fails."""
    repair: bool = False
    """A reconcile applies what it takes to undo the drift."""
    recheck: bool = False
    """A reconcile plans every step and asks the policies in force; it fails where they deny."""
    ask: bool = False
    """Every plan that changes something waits for another person's approval."""
    adopt: dict[str, str] = {}
    """Of a provision: step to the key of a sealed object, the Terraform state that the step begins with."""
    pins: Pins | None = None
    """Every plan that goes beyond these waits for another person's approval."""

    def options(self) -> dict[str, Any]:
        """These fields alone, to hand them on."""
        return {name: getattr(self, name) for name in Options.model_fields}


class Conditional(Attestable):
    """A change of a service that may depend on what its caller has read."""

    expected_state: str = Field("", max_length=64)
    """`state_digest` of the state that the caller has read: the service refuses the change in any other state."""


class BindCall(Conditional):
    """Argument of the updates `bind` and `release`: a parent that begins or ends to use this service."""

    parent: Dependant
    requested_by: str = "unknown"


class Request(Options, Conditional):
    """What somebody asks of a service: the argument of the update `request_operation`.

    A writeOnly input must already be a reference (`{"$secret": …}`): the client stores the value first, so that
    it never enters a history.
    """

    request_id: str = Field(pattern=REQUEST_ID_PATTERN)
    """Chosen by who asks; the same id again returns the same operation."""
    kind: OperationKind = OperationKind.PROVISION
    promise: str = ""
    version: str = ""
    """Exact version; empty means the newest that fits and is neither yanked nor deprecated."""
    inputs: dict[str, Any] = {}
    """All inputs of a provision; what to change of them for the others, with null to go back to the default."""
    labels: dict[str, str] = {}
    retry: bool = False
    """Run the last failed operation again, from the step that failed."""
    dry_run: bool = False
    """Plan and ask the policies, change nothing."""
    requested_by: str = "unknown"
    reason: str = ""
    campaign: str = ""
    """The campaign that asks, for lists; empty for people."""
    trace: str = Field("", max_length=64)
    """Where in a trace it is asked, a W3C `traceparent`; empty when nobody traces."""
    parent: Dependant | None = None
    """The service that asks for this one as its part."""
    cause: str = Field("", max_length=200)
    """Id of the operation that led to this request; empty when a person or a program asked by itself."""
    applied: KeptManifest | None = None
    """The manifest that asks, kept with the service once the operation has changed it."""

    @property
    def verb(self) -> str:
        """What it needs, as access documents name it: `service.upgrade`."""
        if self.retry:
            return "service.retry"
        if self.adopt:
            return "service.adopt"
        return f"service.{'request' if self.kind is OperationKind.PROVISION else self.kind}"


def state_digest(state: ServiceState) -> str:
    """Tells a state of a service from every other, see `Conditional`."""
    return digest(canonical(state.model_dump(mode="json", exclude_defaults=True)))


def request_digest(request: Request) -> str:
    """Tells a request from another under the same id.

    Values of secrets do not count, nor who asks; nor the version of a provision or an upgrade, which clients
    choose where nobody named one: the same request may find a newer one.
    """
    content = request.model_dump(mode="json", include=_OF_A_REQUEST)
    content["inputs"] = replace_refs(content["inputs"], lambda _: REF_KEY)
    content["adopt"] = sorted(request.adopt)
    if request.kind in {OperationKind.PROVISION, OperationKind.UPGRADE}:
        content["version"] = ""
    return digest(canonical(content))


_OF_A_REQUEST: Final = {
    "kind", "promise", "version", "inputs", "labels", "retry", "dry_run", "repair", "ask", "on_failure", "reason",
}  # fmt: skip


class Resolved(Wire):
    """A request checked against its revision: what an operation runs."""

    revision: RevisionRef
    inputs: dict[str, Any] = {}
    """With defaults filled in and secrets by reference."""
    steps: tuple[StepSpec, ...] = ()
    """In an order in which every step comes after those it needs."""
    health_seconds: int = 0
    """Longest time that the probes of `spec.health` take together; 0 when there are none."""
    day_two: DayTwo = DayTwo()
    warnings: tuple[str, ...] = ()

    def same(self, other: Resolved) -> bool:
        """Whether both are the same revision with the same inputs."""
        return self.revision == other.revision and self.inputs == other.inputs


class ResolveCall(Wire):
    """Input of `promise.resolve`."""

    service: ServiceId
    request: Request
    current: RevisionRef | None = None
    """The revision the service stands on, for every kind but the first provision."""
    current_inputs: dict[str, Any] = {}
    first: bool = False
    """Nobody lives at this name: continue the numbers and the ledger chain of whoever did."""
    dependants: tuple[Dependant, ...] = ()
    """Services that it is a part of: it moves within the versions that they accept."""


class Resolution(Wire):
    """What `promise.resolve` returns."""

    resolved: Resolved
    last_number: int = 0
    """Number of the last operation of an earlier service of the same name; numbers are never used twice."""
    ledger_digest: str = ""
    """Digest of that service's last ledger record."""


class Accepted(Wire):
    """Answer of `request_operation`: the operation exists and will run."""

    service: ServiceId
    number: int
    kind: OperationKind
    revision: RevisionRef
    warnings: tuple[str, ...] = ()
    repeated: bool = False
    """The request id was seen before; this is the operation it made then."""

    @property
    def id(self) -> str:
        """`TEAM/NAME/op/N`."""
        return f"{self.service}/op/{self.number}"


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
    """People whose word a plan waits for."""

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
    """`would-ask`: in a dry run, which waits for nobody."""
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


class LabelsCall(Conditional):
    """Argument of the update `set_labels`: the labels to set, and the keys to remove."""

    set: dict[str, str] = {}
    remove: tuple[str, ...] = ()
    requested_by: str = "unknown"
    applied: KeptManifest | None = None
    """The manifest that asks, kept with the service."""


class VoteCall(Attestable):
    """Argument of the updates `approve` and `reject` of an operation."""

    step: str
    digest: str
    by: str
    roles: tuple[str, ...] = ()
    comment: str = ""


class PauseCall(Conditional):
    """Argument of the updates `pause` and `resume`."""

    requested_by: str = "unknown"
    reason: str = ""


class AbandonCall(Conditional):
    """Argument of the update `abandon`: forget the service, and destroy nothing."""

    requested_by: str = "unknown"
    reason: str = Field(min_length=1)


class CancelCall(Conditional):
    """Argument of the update `cancel_operation`."""

    number: int
    requested_by: str = "unknown"
    reason: str = ""
