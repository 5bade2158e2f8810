"""What programs read: services, operations, plans and records as documents with stable fields.

`bond … -o json` prints these, the HTTP API will answer them, and `docs/reference/schemas/` holds their JSON
schemas (written by `python -m tools.schemas`). They only ever grow. Secrets are masked in every one of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from bondstone.client.listing import OperationRow, ServiceRow
from bondstone.errors import ErrorInfo
from bondstone.model.ledger import LedgerRecord
from bondstone.model.plan import Action, Change, ChangeCounts, Decision, PlanRef
from bondstone.model.secret import replace_refs
from bondstone.model.service import (
    Health,
    OperationKind,
    OperationRecord,
    OperationStatus,
    Phase,
    ServiceState,
    StepRecord,
    StepStatus,
)
from bondstone.names import service_workflow_id
from bondstone.settings import Settings
from bondstone.store.fence import Entry

MASK: Final = "(secret)"
"""What stands in every document where a secret is."""


class Document(BaseModel):
    """Base of every document: frozen, each field described for the schema."""

    model_config = ConfigDict(
        frozen=True, use_attribute_docstrings=True, json_schema_serialization_defaults_required=True
    )


class ChangesDocument(Document):
    """How many objects a step changes."""

    create: int = 0
    update: int = 0
    replace: int = 0
    delete: int = 0

    @classmethod
    def of(cls, counts: ChangeCounts) -> ChangesDocument:
        """From the counts of a plan or an apply."""
        return cls(create=counts.create, update=counts.update, replace=counts.replace, delete=counts.delete)


class FindingDocument(Document):
    """One message of one policy rule."""

    level: Literal["deny", "approval", "warn"]
    message: str
    policy: str = ""
    """Package and rule, and whose: the organisation's or the promise's"""


class DecisionDocument(Document):
    """What the policies said of a plan."""

    outcome: Literal["allow", "approval", "deny"]
    findings: tuple[FindingDocument, ...] = ()

    @classmethod
    def of(cls, decision: Decision) -> DecisionDocument:
        """From a recorded decision."""
        found = (
            FindingDocument(level=item.level, message=item.message, policy=item.policy)
            for item in decision.findings
        )
        return cls(outcome=decision.outcome, findings=tuple(found))


class StepDocument(Document):
    """One step of an operation."""

    id: str
    executor: str
    status: StepStatus
    pool: str = "default"
    changes: ChangesDocument = ChangesDocument()
    plan: str | None = None
    """sha256 of the plan, once there is one"""
    policy: DecisionDocument | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: ErrorInfo | None = None

    @classmethod
    def of(cls, step: StepRecord) -> StepDocument:
        """From a step's record."""
        return cls(
            id=step.id,
            executor=step.executor,
            status=step.status,
            pool=step.pool,
            changes=ChangesDocument.of(step.changes),
            plan=step.plan.digest if step.plan else None,
            policy=DecisionDocument.of(step.decision) if step.decision else None,
            started_at=step.started_at,
            finished_at=step.finished_at,
            error=step.error,
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
    requested_by: str
    requested_at: datetime
    reason: str = ""
    retry_of: str | None = None
    """Id of the operation that this one retries"""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    steps: tuple[StepDocument, ...] = ()
    error: ErrorInfo | None = None
    links: dict[str, str] = Field(default_factory=dict)
    """Name to URL; `temporal` is the operation's workflow in the Temporal UI"""

    @classmethod
    def of(cls, record: OperationRecord, settings: Settings | None = None) -> OperationDocument:
        """From an operation's record; with settings, its links too."""
        return cls(
            id=record.id,
            service=str(record.service),
            kind=record.kind,
            status=record.status,
            revision=str(record.revision),
            requested_by=record.requested_by,
            requested_at=record.requested_at,
            reason=record.reason,
            retry_of=f"{record.service}/op/{record.retry_of}" if record.retry_of else None,
            started_at=record.started_at,
            finished_at=record.finished_at,
            steps=tuple(StepDocument.of(step) for step in record.steps),
            error=record.error,
            links=links(settings, record.workflow_id) if settings else {},
        )


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
    labels: dict[str, str]
    inputs: dict[str, Any]
    """With defaults filled in, secrets masked"""
    outputs: dict[str, Any]
    """Secrets masked"""
    operations: tuple[OperationDocument, ...]
    """The last ones, newest first: those that wait, the one that runs, those that ended"""
    created_at: datetime | None = None
    created_by: str = ""
    links: dict[str, str]
    """Name to URL; `temporal` is the service's workflow in the Temporal UI"""

    @classmethod
    def of(
        cls, state: ServiceState, settings: Settings, live: Mapping[int, OperationRecord] | None = None
    ) -> ServiceDocument:
        """From a service's state.

        Args:
            state: As the service's workflow answered.
            settings: For the links.
            live: By number, operations that run, as their own workflows answered.
        """
        known = [*state.operations, *(pending.record for pending in state.queue)]
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
            health=state.health,
            labels=state.labels,
            inputs=masked(state.current.inputs) if state.current else {},
            outputs=masked(state.outputs),
            operations=tuple(OperationDocument.of(record, settings) for record in newest_first),
            created_at=state.created_at,
            created_by=state.created_by,
            links=links(settings, service_workflow_id(state.service.team, state.service.name)),
        )


class ChangeDocument(Document):
    """One object that a plan touches."""

    address: str
    action: Action
    type: str = ""
    before: dict[str, Any] | None = None
    """Attributes before, sensitive ones masked"""
    after: dict[str, Any] | None = None
    """Attributes after, sensitive ones masked"""
    unknown: tuple[str, ...] = ()
    """Attributes whose value is known only after apply"""


class PlanDocument(Document):
    """The plan of one step: an element of `bond operation plan -o json`."""

    operation: str
    step: str
    digest: str
    tool: str = ""
    destroy: bool = False
    counts: ChangesDocument
    changes: tuple[ChangeDocument, ...]
    policy: DecisionDocument | None = None

    @classmethod
    def of(cls, operation: str, step: StepRecord, plan: PlanRef, changes: Iterable[Change]) -> PlanDocument:
        """From a stored plan and its change set."""
        return cls(
            operation=operation,
            step=step.id,
            digest=plan.digest,
            tool=plan.tool,
            destroy=plan.destroy,
            counts=ChangesDocument.of(plan.counts),
            changes=tuple(ChangeDocument(**change.model_dump()) for change in changes),
            policy=DecisionDocument.of(step.decision) if step.decision else None,
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
    operation: str | None = None
    """TEAM/NAME/op/N"""
    operation_kind: OperationKind | None = None
    status: OperationStatus | None = None
    revision_before: str | None = None
    revision: str | None = None
    inputs: dict[str, Any] = Field(default_factory=dict)
    """After the operation; secrets masked"""
    steps: tuple[StepDocument, ...] = ()
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
            operation=f"{record.service}/op/{record.operation}" if record.operation else None,
            operation_kind=record.operation_kind,
            status=record.status,
            revision_before=str(record.revision_before) if record.revision_before else None,
            revision=str(record.revision_after) if record.revision_after else None,
            inputs=masked(record.inputs_after),
            steps=tuple(StepDocument.of(step) for step in record.steps),
            error=record.error,
            requested_at=record.requested_at,
            started_at=record.started_at,
            previous=record.previous,
        )


class HolderDocument(Document):
    """One attempt, in one process of one worker."""

    attempt: str
    host: str = ""
    pid: int = 0
    by: str = ""
    """Who asked for the work"""


class StateEntryDocument(Document):
    """One entry of a step's state log: an element of `bond state log -o json`."""

    position: int
    kind: str
    """claim, state or release"""
    at: datetime
    """By the clock of whoever wrote it"""
    size: int
    """Bytes of the state it carries"""
    holder: HolderDocument

    @classmethod
    def of(cls, entry: Entry) -> StateEntryDocument:
        """From an entry of the log."""
        holder = HolderDocument(**entry.holder.model_dump(include={"attempt", "host", "pid", "by"}))
        return cls(position=entry.position, kind=entry.kind, at=entry.at, size=entry.size, holder=holder)


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
    "state-log": list[StateEntryDocument],
}
"""Command to the type of its `-o json`. Commands that ask for an operation answer as `operation-show`."""
