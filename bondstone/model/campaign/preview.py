"""A preview of a campaign with the plan of every target: kept, and named by its digest."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from bondstone.base.canonical import canonical, digest
from bondstone.base.errors import ErrorInfo
from bondstone.base.models import Wire
from bondstone.model.plan import Finding, PlanRef


class PreviewedStep(Wire):
    """One step of one target."""

    step: str
    status: str
    """As the dry run ended it: succeeded (there is something to change), unchanged, deferred, skipped, failed."""
    plan: PlanRef | None = None
    findings: tuple[Finding, ...] = ()
    """What the policies said of it."""
    asks: tuple[str, ...] = ()
    """Why it would wait for somebody's approval."""


class PreviewedTarget(Wire):
    """What a campaign would do to one target."""

    service: str
    """`TEAM/NAME`."""
    wave: str
    version: str
    to: str = ""
    operation: str = ""
    """The dry run: `TEAM/NAME/op/N`."""
    steps: tuple[PreviewedStep, ...] = ()
    error: ErrorInfo | None = None
    """Why there is no plan: the dry run failed, or a policy denies it."""

    def plans(self) -> dict[str, PlanRef]:
        """The plan of each step that has one."""
        return {step.step: step.plan for step in self.steps if step.plan is not None}


class PinnedPreview(Wire):
    """What a campaign would do, plan by plan. Its digest is that of its canonical JSON."""

    campaign: str
    operation: str
    promise: str = ""
    inputs: dict[str, Any] = {}
    at: datetime
    by: str
    targets: tuple[PreviewedTarget, ...] = ()

    @property
    def digest(self) -> str:
        """What names it."""
        return digest(self.data())

    def data(self) -> bytes:
        """It as it is kept."""
        return canonical(self.model_dump(mode="json"))
