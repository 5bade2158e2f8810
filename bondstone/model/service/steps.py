"""Steps: what a workflow knows of one before it runs, and what became of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from bondstone.base.errors import ErrorInfo
from bondstone.base.models import Wire
from bondstone.model.plan import ChangeCounts, Decision, PlanRef
from bondstone.model.service.kinds import StepStatus


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
    warnings: tuple[str, ...] = ()
    """What is wrong with how it was applied, which stops nothing: a task of a playbook that is not idempotent."""
    earlier_attempts: tuple[str, ...] = ()
    """Why attempts to apply it before the last one ended, bounded, the first one first; `changes` adds all up."""
    started_at: datetime | None = None
    finished_at: datetime | None = None
