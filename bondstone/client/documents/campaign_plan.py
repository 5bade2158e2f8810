"""What programs read of the plans in a preview: part of `bond campaign preview --plan -o json`."""

from __future__ import annotations

from collections.abc import Iterable

from bondstone.base.errors import ErrorInfo
from bondstone.base.models import Document
from bondstone.client.documents.step import ApprovalDocument, ChangesDocument
from bondstone.model.campaign.preview import PinnedPreview, PreviewedTarget
from bondstone.model.plan import ChangeCounts


class PlannedStep(Document):
    """One step of one target."""

    step: str
    status: str
    """succeeded: there is something to change; unchanged; deferred: its inputs are not known; skipped; failed"""
    digest: str | None
    """sha256 of the plan"""
    changes: ChangeCounts
    policies: tuple[str, ...]
    """What the policies said, each with its level"""
    asks: tuple[str, ...]
    """Why it would wait for somebody's approval"""


class PlannedTarget(Document):
    """One target, planned."""

    service: str
    wave: str
    operation: str | None
    """The dry run: TEAM/NAME/op/N"""
    changes: ChangeCounts
    destroys: int
    """Objects that would be deleted, or replaced"""
    denied: bool
    """A policy denies it"""
    asks: bool
    """It would wait for an approval"""
    steps: tuple[PlannedStep, ...]
    error: ErrorInfo | None

    @classmethod
    def of(cls, target: PreviewedTarget) -> PlannedTarget:
        """From what is kept of it."""
        steps = tuple(
            PlannedStep(
                step=step.step,
                status=step.status,
                digest=step.plan.digest if step.plan else None,
                changes=step.plan.counts if step.plan else ChangeCounts(),
                policies=tuple(f"{finding.level}: {finding.message}" for finding in step.findings),
                asks=step.asks,
            )
            for step in target.steps
        )
        changes = total(step.changes for step in steps)
        return cls(
            service=target.service,
            wave=target.wave,
            operation=target.operation or None,
            changes=changes,
            destroys=changes.delete + changes.replace,
            denied=any(finding.level == "deny" for step in target.steps for finding in step.findings),
            asks=any(step.asks for step in steps),
            steps=steps,
            error=target.error,
        )


class PlansDocument(Document):
    """The plans of a campaign, kept under a digest that `bond campaign run --pinned` takes."""

    digest: str
    changes: ChangeCounts
    destroys: int
    """Objects that would be deleted, or replaced, over all targets"""
    failed: int
    """Targets that could not be planned, those that a policy denies among them"""
    denied: int
    asks: int
    """Targets that would wait for an approval"""
    targets: tuple[PlannedTarget, ...]

    @classmethod
    def of(cls, digest: str, preview: PinnedPreview) -> PlansDocument:
        """From what is kept."""
        targets = tuple(map(PlannedTarget.of, preview.targets))
        changes = total(target.changes for target in targets)
        return cls(
            digest=digest,
            changes=changes,
            destroys=changes.delete + changes.replace,
            failed=sum(target.error is not None for target in targets),
            denied=sum(target.denied for target in targets),
            asks=sum(target.asks for target in targets),
            targets=targets,
        )


class ChangeSetDocument(Document):
    """Plans that wait for an approval and do the same to different services."""

    id: str
    """Of the change set: step, addresses, types, actions and attributes that change, whatever their values are"""
    step: str
    changes: tuple[str, ...]
    """What every one of the plans does, as in `replace terraform_data.server`"""
    counts: ChangesDocument
    approvals: tuple[ApprovalDocument, ...]
    """The gate of each plan, with the digest of the plan"""


class CampaignVote(Document):
    """What became of a vote on one plan: an element of `bond approval approve --campaign -o json`."""

    operation: str
    """TEAM/NAME/op/N"""
    step: str
    digest: str
    """sha256 of the plan that was voted on"""
    approval: ApprovalDocument | None = None
    """The gate after the vote; null when the vote did not count"""
    error: ErrorInfo | None = None
    """Why it did not"""


def total(counts: Iterable[ChangeCounts]) -> ChangeCounts:
    """The sum of several."""
    every = list(counts)
    return ChangeCounts(**{name: sum(getattr(each, name) for each in every) for name in ChangeCounts.model_fields})
