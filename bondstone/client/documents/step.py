"""What programs read of one step: its plan, what policies said of it, what people say of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal

from bondstone.base.change_counts import Counts
from bondstone.base.errors import ErrorInfo
from bondstone.base.models import Document
from bondstone.model.approval import missing
from bondstone.model.plan import Action, Change, ChangeCounts, Decision, PlanRef
from bondstone.model.service import Approval, OperationRecord, StepRecord, StepStatus


class ChangesDocument(Counts, Document):
    """How many objects a step changes."""

    create: int = 0
    update: int = 0
    replace: int = 0
    delete: int = 0
    forget: int = 0
    """Objects that stay and are managed no more"""
    move: int = 0
    """Objects that get another address and change in nothing else"""
    imports: int = 0
    """Objects that are there and are managed from now on"""

    @classmethod
    def of(cls, counts: ChangeCounts) -> ChangesDocument:
        """From the counts of a plan or an apply."""
        return cls(**counts.model_dump())


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
        findings = (
            FindingDocument(level=item.level, message=item.message, policy=item.policy)
            for item in decision.findings
        )
        return cls(outcome=decision.outcome, findings=tuple(findings))


class StepDocument(Document):
    """One step of an operation."""

    id: str
    executor: str
    status: StepStatus
    part: Literal["", "before", "after", "removed", "rollback", "final"] = ""
    """Which part of the operation ran it; empty for the main one. A step may be there once for each part"""
    pool: str = "default"
    changes: ChangesDocument = ChangesDocument()
    plan: str | None = None
    """sha256 of the plan, once there is one"""
    policy: DecisionDocument | None = None
    drift: tuple[str, ...] = ()
    """Addresses that a reconcile found to differ and did not repair, the first hundred"""
    failed_checks: tuple[str, ...] = ()
    """What the tool's own checks find wrong, which stops nothing: `check.name: words`"""
    warnings: tuple[str, ...] = ()
    """What is wrong with how it was applied, which stops nothing: a task of a playbook that is not idempotent"""
    earlier_attempts: tuple[str, ...] = ()
    """Why attempts to apply it before the last one ended; `changes` adds up what all of them changed"""
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
            part=step.part,
            pool=step.pool,
            changes=ChangesDocument.of(step.changes),
            plan=step.plan.digest if step.plan else None,
            policy=DecisionDocument.of(step.decision) if step.decision else None,
            drift=step.drift,
            failed_checks=step.failed_checks,
            warnings=step.warnings,
            earlier_attempts=step.earlier_attempts,
            started_at=step.started_at,
            finished_at=step.finished_at,
            error=step.error,
        )


class NeedDocument(Document):
    """Approvals that a plan waits for, and why."""

    roles: tuple[str, ...] = ()
    """Any of these; anybody when empty"""
    count: int = 1
    allow_requester: bool = False
    """Whether who asked for the operation may vote"""
    reason: str = ""


class VoteDocument(Document):
    """One person's vote."""

    by: str
    roles: tuple[str, ...] = ()
    """As asserted by who voted"""
    approve: bool
    comment: str = ""
    at: datetime


class ApprovalDocument(Document):
    """The gate of one step: an element of `bond approval list -o json`."""

    operation: str
    """TEAM/NAME/op/N"""
    step: str
    digest: str
    """sha256 of the plan that is asked about; a vote names it"""
    status: Literal["waiting", "approved", "rejected", "expired", "would-ask"]
    kind: str
    """Of the operation: patch, upgrade, …"""
    revision: str
    """PROMISE@VERSION that the operation leads to"""
    requested_by: str
    """Who asked for the operation"""
    reason: str = ""
    """Why they asked"""
    campaign: str = ""
    """The campaign that asked for the operation, where one did"""
    asked_at: datetime
    """Since when it waits"""
    expires_at: datetime | None = None
    """When it is rejected by itself; never when null"""
    needs: tuple[NeedDocument, ...]
    missing: tuple[str, ...]
    """What still lacks, in words: 2 of dba or sre"""
    votes: tuple[VoteDocument, ...] = ()

    @classmethod
    def of(cls, record: OperationRecord, approval: Approval) -> ApprovalDocument:
        """From a gate and its operation."""
        return cls(
            operation=record.id,
            step=approval.step,
            digest=approval.digest,
            status=approval.status,
            kind=record.kind,
            revision=str(record.revision),
            requested_by=record.requested_by,
            reason=record.reason,
            campaign=record.campaign,
            asked_at=approval.asked_at,
            expires_at=approval.expires_at,
            needs=tuple(NeedDocument(**need.model_dump()) for need in approval.needs),
            missing=tuple(missing(approval, requested_by=record.requested_by)),
            votes=tuple(VoteDocument(**vote.model_dump()) for vote in approval.votes),
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
    moved_from: str = ""
    """Its address before, where that was another"""
    import_id: str = ""
    """By which the tool finds an object that is there and not managed yet"""


class PlanDocument(Document):
    """The plan of one step: an element of `bond operation plan -o json`."""

    operation: str
    step: str
    part: str = ""
    """Which part of the operation made it; empty for the main one"""
    digest: str
    tool: str = ""
    destroy: bool = False
    counts: ChangesDocument
    changes: tuple[ChangeDocument, ...]
    failed_checks: tuple[str, ...] = ()
    """What the tool's own checks find wrong, which stops nothing: `check.name: words`"""
    policy: DecisionDocument | None = None
    approval: ApprovalDocument | None = None
    """The gate it waits at, or passed; null when nobody had to be asked"""

    @classmethod
    def of(
        cls, record: OperationRecord, step: StepRecord, plan: PlanRef, changes: Iterable[Change]
    ) -> PlanDocument:
        """From a stored plan and its change set."""
        return cls(
            operation=record.id,
            step=step.id,
            part=step.part,
            digest=plan.digest,
            tool=plan.tool,
            destroy=plan.destroy,
            counts=ChangesDocument.of(plan.counts),
            changes=tuple(ChangeDocument(**change.model_dump()) for change in changes),
            failed_checks=plan.failed_checks,
            policy=DecisionDocument.of(step.decision) if step.decision else None,
            approval=_approval(record, step.id, plan.digest),
        )


def approvals(record: OperationRecord, *, waiting: bool = False) -> Sequence[ApprovalDocument]:
    """The gates of an operation, in the order in which they were opened; with `waiting` only the open ones."""
    return [
        ApprovalDocument.of(record, approval)
        for approval in record.approvals
        if approval.status == "waiting" or not waiting
    ]


def _approval(record: OperationRecord, step: str, digest: str) -> ApprovalDocument | None:
    approvals = (one for one in record.approvals if (one.step, one.digest) == (step, digest))
    return next((ApprovalDocument.of(record, one) for one in approvals), None)
