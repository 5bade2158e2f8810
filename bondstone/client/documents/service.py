"""What programs read: services, operations, plans and records as documents with stable fields.

`bond … -o json` prints these, the HTTP API will answer them, and `docs/reference/schemas/` holds their JSON
schemas (written by `python -m tools.schemas`). They only ever grow. Secrets are masked in every one of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from pydantic import Field

from bondstone.base.errors import ErrorInfo
from bondstone.base.models import Document
from bondstone.base.names import service_workflow_id
from bondstone.base.redact import MASK
from bondstone.base.settings import Settings
from bondstone.client.documents.step import ApprovalDocument, PlanDocument, StepDocument, approvals
from bondstone.model.ledger import LedgerRecord
from bondstone.model.operation_trace import trace_id
from bondstone.model.rows import OperationRow
from bondstone.model.secret import replace_refs
from bondstone.model.service import (
    Health,
    KeptManifest,
    OperationKind,
    OperationRecord,
    OperationStatus,
    Phase,
    Resolved,
    ServiceState,
)
from bondstone.model.service_row import ServiceRow

if TYPE_CHECKING:
    from bondstone.store.archive import Archived
    from bondstone.temporal.pending import Pending, Retrying, Working


class RetryDocument(Document):
    """Something that a running operation tries again."""

    activity: str
    """As in `terraform.plan`"""
    attempt: int
    """The one that is to come, or runs"""
    at_most: int
    """Attempts in all; 0 for as many as it takes"""
    error: ErrorInfo
    """What the last one failed with"""
    next_at: datetime | None = None
    """When the next attempt is due; null while it runs"""

    @classmethod
    def of(cls, retry: Retrying) -> RetryDocument:
        """From what Temporal keeps."""
        return cls(
            activity=retry.activity,
            attempt=retry.attempt,
            at_most=retry.at_most,
            error=retry.error,
            next_at=retry.next_at,
        )


class ProgressDocument(Document):
    """How far something is that a running operation does now."""

    activity: str
    """As in `terraform.apply`, `health.probe`"""
    done: int = 0
    """Objects that are done"""
    total: int = 0
    """Objects in all; 0 where they are not counted"""
    about: str = ""
    """What is worked on, or looked at"""
    waits_for: str = ""
    """What it waits for, in words"""
    since: datetime | None = None

    @classmethod
    def of(cls, working: Working) -> ProgressDocument:
        """From what Temporal keeps."""
        progress = working.progress
        return cls(
            activity=working.activity,
            done=progress.done,
            total=progress.total,
            about=progress.address,
            waits_for=progress.note,
            since=working.since,
        )


class OperationDocument(Document):
    """One operation: `bond operation show -o json`."""

    id: str
    """TEAM/NAME/op/N"""
    service: str
    """TEAM/NAME"""
    kind: OperationKind
    status: OperationStatus
    revision: str
    """PROMISE@VERSION"""
    revision_before: str | None = None
    """What the service stood on"""
    requested_by: str
    requested_at: datetime
    reason: str = ""
    dry_run: bool = False
    """Nothing is changed; `plans` says what would be"""
    retry_of: str | None = None
    """Id of the operation that this one retries"""
    cause: str = ""
    """Id of the operation that led to it: of its parent, or of a part that changed"""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    steps: tuple[StepDocument, ...] = ()
    approvals: tuple[ApprovalDocument, ...] = ()
    """Plans that waited, or wait, for people"""
    drift: int = 0
    """How many objects a reconcile found to differ and did not repair"""
    plans: tuple[PlanDocument, ...] = ()
    """What each step would change: of a dry run, once it has ended"""
    retained: tuple[str, ...] = ()
    """What a decommission has kept, in words"""
    error: ErrorInfo | None = None
    retrying: tuple[RetryDocument, ...] = ()
    """What is tried again, and why, while it runs"""
    progress: tuple[ProgressDocument, ...] = ()
    """What it does now, and what that waits for, while it runs"""
    trace_id: str = ""
    """Its OpenTelemetry trace, when whoever asked for it was traced"""
    links: dict[str, str] = Field(default_factory=dict)
    """Name to URL; `temporal` is the operation's workflow in the Temporal UI"""

    @classmethod
    def of(
        cls,
        record: OperationRecord,
        settings: Settings | None = None,
        plans: Sequence[PlanDocument] = (),
        pending: Pending | None = None,
    ) -> OperationDocument:
        """From an operation's record; with settings, its links too."""
        return cls(
            id=record.id,
            service=str(record.service),
            kind=record.kind,
            status=record.status,
            revision=str(record.revision),
            revision_before=str(record.before) if record.before else None,
            requested_by=record.requested_by,
            requested_at=record.requested_at,
            reason=record.reason,
            dry_run=record.dry_run,
            retry_of=f"{record.service}/op/{record.retry_of}" if record.retry_of else None,
            cause=record.cause,
            started_at=record.started_at,
            finished_at=record.finished_at,
            steps=tuple(StepDocument.of(step) for step in record.steps),
            approvals=tuple(approvals(record)),
            drift=record.drift,
            plans=tuple(plans),
            retained=record.retained,
            error=record.error,
            retrying=tuple(map(RetryDocument.of, pending.retrying)) if pending else (),
            progress=tuple(map(ProgressDocument.of, pending.working)) if pending else (),
            trace_id=trace_id(record),
            links=links(settings, record.workflow_id) if settings else {},
        )


class StandingDocument(Document):
    """A revision and inputs that a service was healthy with."""

    revision: str
    """PROMISE@VERSION"""
    inputs: dict[str, Any]
    """Secrets masked"""

    @classmethod
    def of(cls, standing: Resolved) -> StandingDocument:
        """From what an operation made true."""
        return cls(revision=str(standing.revision), inputs=masked(standing.inputs))


class AppliedDocument(Document):
    """What a manifest said of a service."""

    version: str = ""
    """Empty when the manifest leaves the version alone"""
    inputs: dict[str, Any] = {}
    """As written; a secret is the reference that stands in the manifest"""
    labels: dict[str, str] = {}

    @classmethod
    def of(cls, applied: KeptManifest | None) -> AppliedDocument | None:
        """From what the service keeps."""
        return cls(**applied.model_dump()) if applied is not None else None


class AheadDocument(StandingDocument):
    """What a service comes to once all that it has accepted has succeeded."""

    applied: AppliedDocument | None = None
    """The manifest that asked for it"""


class ServiceDocument(Document):
    """One service: `bond service show -o json`."""

    id: str
    """TEAM/NAME"""
    team: str
    name: str
    promise: str
    revision: str
    """PROMISE@VERSION"""
    phase: Phase
    health: Health
    """What the probes said; unhealthy while a check fails"""
    failed_checks: dict[str, tuple[str, ...]] = {}
    """By step, what its tool's own checks found wrong"""
    labels: dict[str, str]
    inputs: dict[str, Any]
    """With defaults filled in, secrets masked"""
    outputs: dict[str, Any]
    """Secrets masked"""
    operations: tuple[OperationDocument, ...]
    """The last ones, newest first: those that wait, the one that runs, those that ended"""
    created_at: datetime | None = None
    created_by: str = ""
    paused_by: str = ""
    """Who paused it; it starts nothing by itself until it is resumed"""
    paused_at: datetime | None = None
    pause_reason: str = ""
    drift: int = 0
    """How many objects the last reconcile found to differ and did not repair"""
    next_due: datetime | None = None
    """When it looks for drift by itself"""
    ways_back: tuple[StandingDocument, ...] = ()
    """What it was healthy with before, newest first: a rollback leads to the first"""
    parts: dict[str, str] = {}
    """TEAM/NAME of each service that it is made of, or shares, by its name in the promise"""
    owner: str = ""
    """TEAM/NAME of the parent that it was made for, or given to"""
    parents: tuple[str, ...] = ()
    """TEAM/NAME of each service that this one is a part of"""
    applied: AppliedDocument | None = None
    """The manifest that changed it last; null when no manifest ever did"""
    was_ready: bool = False
    """It stood on something in health once: from then on it is changed, and not requested again"""
    ahead: AheadDocument | None = None
    """What it comes to once all that it has accepted has succeeded; null when it stays what it is"""
    links: dict[str, str]
    """Name to URL; `temporal` is the service's workflow in the Temporal UI"""

    @classmethod
    def of(
        cls,
        state: ServiceState,
        settings: Settings,
        live: Mapping[int, OperationRecord] | None = None,
        pending: Mapping[int, Pending] | None = None,
    ) -> ServiceDocument:
        """From a service's state.

        Args:
            state: As the service's workflow answered.
            settings: For the links.
            live: By number, operations that run, as their own workflows answered.
            pending: By number, what those operations do now and try again.
        """
        known = [*state.operations, *(queued.record for queued in state.queue)]
        records = [(live or {}).get(record.number, record) for record in known]
        newest_first = sorted(records, key=lambda record: record.number, reverse=True)
        revision = state.current.revision if state.current else None
        return cls(
            id=str(state.service),
            team=state.service.team,
            name=state.service.name,
            promise=revision.promise if revision else "",
            revision=str(revision) if revision else "",
            phase=state.phase,
            health=state.condition,
            failed_checks=state.failed_checks,
            labels=state.labels,
            inputs=masked(state.current.inputs) if state.current else {},
            outputs=masked(state.outputs),
            operations=tuple(
                OperationDocument.of(record, settings, pending=(pending or {}).get(record.number))
                for record in newest_first
            ),
            created_at=state.created_at,
            created_by=state.created_by,
            paused_by=state.paused_by,
            paused_at=state.paused_at,
            pause_reason=state.pause_reason,
            drift=state.drift,
            next_due=state.next_due,
            ways_back=tuple(StandingDocument.of(past) for past in state.ways_back),
            parts={spec.id: spec.part for spec in (state.current.steps if state.current else ()) if spec.part},
            parents=tuple(str(each.service) for each in state.dependants),
            owner=next((str(each.service) for each in state.dependants if each.owns), ""),
            applied=AppliedDocument.of(state.applied),
            was_ready=bool(state.healthy),
            ahead=_ahead(state),
            links=links(settings, service_workflow_id(state.service.team, state.service.name)),
        )


class RecordDocument(Document):
    """One ledger record: an element of `bond service history -o json`."""

    at: datetime
    kind: str
    """operation, cancellation, …"""
    sequence: str
    service: str
    by: str
    reason: str = ""
    cause: str = ""
    """Id of the operation that led to this one: of its parent, or of a part that changed"""
    operation: str | None = None
    """TEAM/NAME/op/N"""
    operation_kind: OperationKind | None = None
    status: OperationStatus | None = None
    revision_before: str | None = None
    revision: str | None = None
    inputs: dict[str, Any] = Field(default_factory=dict)
    """After the operation; secrets masked"""
    dry_run: bool = False
    """Nothing was changed"""
    drift: int = 0
    """How many objects a reconcile found to differ and did not repair"""
    steps: tuple[StepDocument, ...] = ()
    retained: tuple[str, ...] = ()
    """What is kept of a service that is gone, in words"""
    error: ErrorInfo | None = None
    requested_at: datetime | None = None
    started_at: datetime | None = None
    previous: str = ""
    """Digest of the service's record before this one"""

    @classmethod
    def of(cls, record: LedgerRecord) -> RecordDocument:
        """From a ledger record."""
        return cls(
            at=record.at,
            kind=record.kind,
            sequence=record.sequence,
            service=str(record.service),
            by=record.by,
            reason=record.reason,
            cause=record.cause,
            operation=f"{record.service}/op/{record.operation}" if record.operation else None,
            operation_kind=record.operation_kind,
            status=record.status,
            revision_before=str(record.revision_before) if record.revision_before else None,
            revision=str(record.revision_after) if record.revision_after else None,
            inputs=masked(record.inputs_after),
            dry_run=record.dry_run,
            drift=record.drift,
            steps=tuple(StepDocument.of(step) for step in record.steps),
            retained=record.retained,
            error=record.error,
            requested_at=record.requested_at,
            started_at=record.started_at,
            previous=record.previous,
        )


class ArchivedDocument(Document):
    """An object that was archived when a service ended: an element of `bond service archive -o json`."""

    name: str
    """What to ask for it by, as in `op-7/state/database`; it begins with the operation that put it away"""
    kind: str
    """state or secrets"""
    at: datetime
    """When it was archived"""
    size: int
    """Bytes, sealed"""

    @classmethod
    def of(cls, item: Archived) -> ArchivedDocument:
        """From what the archive lists."""
        return cls(name=item.name, kind=item.kind, at=item.at, size=item.size)


def _ahead(state: ServiceState) -> AheadDocument | None:
    if (pending := state.ahead) is None:
        return None
    applied = pending.request.applied if pending.request is not None else None
    standing = StandingDocument.of(pending.resolved)
    return AheadDocument(
        revision=standing.revision, inputs=standing.inputs, applied=AppliedDocument.of(applied or state.applied)
    )


def masked(tree: Any) -> Any:
    """A tree of JSON values with every reference to a secret replaced by `MASK`."""
    return replace_refs(tree, lambda _: MASK)


def links(settings: Settings, workflow_id: str) -> dict[str, str]:
    """Where to look at a workflow; empty when the settings name no UI."""
    if not settings.temporal_ui:
        return {}
    workflow = quote(workflow_id, safe="")
    base = settings.temporal_ui.rstrip("/")
    return {"temporal": f"{base}/namespaces/{settings.temporal_namespace}/workflows/{workflow}"}


DOCUMENTS: Final[dict[str, Any]] = {
    "service-show": ServiceDocument,
    "service-list": list[ServiceRow],
    "service-outputs": dict[str, Any],
    "service-history": list[RecordDocument],
    "operation-show": OperationDocument,
    "operation-list": list[OperationRow],
    "operation-plan": list[PlanDocument],
    "approval-list": list[ApprovalDocument],
    "approval-approve": ApprovalDocument,
    "service-archive": list[ArchivedDocument],
}
"""Command to the type of its `-o json`. Commands that ask for an operation answer as `operation-show`, pause,
resume and abandon as `service-show`, `approval reject` as `approval-approve`."""
