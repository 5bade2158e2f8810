"""The seam between the middle and the tools: what an executor is, and what it is handed.

An executor adapts one tool. It never sees Temporal, encryption, the secret store or expressions: before it is
called, the step's section has been rendered (secrets revealed), the revision's bundle is unpacked on disk, and
what it returns is stored, sealed and recorded by `bondstone.activities.executors`. It is told to stop by ordinary
`asyncio.CancelledError`, must then stop its tool, keep what the tool made, and re-raise.

Third parties register one under the entry-point group `bondstone.executors`; the built-in ones do the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from bondstone.base.redact import Redactor
from bondstone.base.settings import Settings
from bondstone.model.plan import Change, Planned
from bondstone.model.service import Options, ServiceId
from bondstone.model.step import Progress
from bondstone.promise.sections import SectionChecker, SectionReport, ToolReport

if TYPE_CHECKING:
    from bondstone.executors.state import StepState

__all__ = [
    "Drifted",
    "Executor",
    "Outcome",
    "Output",
    "Planned",
    "SectionReport",
    "StepContext",
    "ToolReport",
]


@dataclass(frozen=True, slots=True)
class StepContext:
    """All that an executor needs to know of the step in hand."""

    service: ServiceId
    operation: int
    step: str
    section: Any
    """The step's section of the promise, an instance of the executor's `section`, expressions rendered."""
    bundle: Path
    """The unpacked revision; read-only and shared, never written to."""
    revision_digest: str
    """What caches that depend on the bundle alone may be keyed by."""
    state: StepState
    """The step's own state log; an executor sees nothing else of the store."""
    settings: Settings
    attempt: str
    """Unique for this run of this activity: names run directories and claims."""
    heartbeat: Callable[[Progress], None]
    log: Callable[[str], None]
    """Takes one line for the step's log object; known secrets are redacted on the way."""
    cleanup: bool = field(default=True)
    """Remove the run directory when done; False keeps it for a person to look at."""
    trial: bool = field(default=False)
    """A test of the promise: nothing that outlives it may be touched but what the test makes."""
    variables: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What the section's expressions saw, secrets revealed: for the files named in `SectionReport.templates`."""
    given_outputs: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """In a test of the promise: what the case says that this step's part gives."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Of the service."""
    requested_by: str = field(default="unknown")
    """Who asked for the operation."""
    dry_run: bool = field(default=False)
    """Nothing will be applied."""
    reconcile: Options | None = field(default=None)
    """Of a drift check: how a part that the service owns is reconciled first; None where parts are left alone."""
    was_cancelled: Callable[[], bool] = field(default=lambda: True)
    """Asked by an attempt that was told to stop: whether somebody has cancelled the work. Else its worker stops or
    is cut off, and another attempt continues."""
    secrets: frozenset[str] = field(default=frozenset(), repr=False)
    """Texts of the secrets in the section."""
    redact: Redactor = field(default_factory=Redactor, repr=False)
    """Masks every secret that is known by now. The executor teaches it what it learns (what a state marks as
    sensitive, what a Secret holds), and passes what it shows through it: change sets, errors. The adapter passes
    logs, errors and heartbeats through it, and seals an output that it finds something in."""

    def see_log(self) -> str:
        """The hint where there is no better one: the command that prints the log, once there is one."""
        if self.trial:
            return "see the step's log"
        return f"`bond operation logs {self.service}/op/{self.operation} --step {self.step}` prints all it said"

    def __post_init__(self) -> None:
        """Whoever makes a context need not tell the secrets twice."""
        self.redact.add(self.secrets)


@dataclass(frozen=True, slots=True)
class Output:
    """One output of an applied step."""

    value: Any
    sensitive: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What `apply` gives."""

    outputs: Mapping[str, Output]
    failed_checks: Sequence[str] = ()
    """What the tool's own checks find wrong now, which stops nothing; secrets masked."""
    warnings: Sequence[str] = ()
    """What is wrong with how the step was applied, which stops nothing: it is kept with the step."""


@dataclass(frozen=True, slots=True)
class Drifted:
    """What `detect_drift` gives: the drifted objects, sensitive attributes masked."""

    changes: Sequence[Change]
    failed_checks: Sequence[str] = ()
    """What the tool's own checks find wrong now; secrets masked."""


class Executor(SectionChecker, Protocol):
    """The adapter to one tool. Subclass it: what has a default below need not be written."""

    async def plan(self, context: StepContext) -> Planned:
        """Find out what applying the section would change; change nothing."""
        ...

    async def apply(self, context: StepContext, artefact: bytes, position: int) -> Outcome:
        """Do exactly what the artefact says.

        Raises:
            PlanStale: when reality has moved since the plan was made at `position`.
        """
        ...

    async def plan_destroy(self, context: StepContext) -> Planned:
        """Find out what taking everything down would change; change nothing."""
        ...

    async def detect_drift(self, context: StepContext) -> Drifted:
        """Compare reality with what was last applied; change nothing."""
        ...

    def held(self, state: bytes) -> tuple[str, ...] | None:
        """The addresses of the objects that a state holds.

        Args:
            state: The newest entry of a step's state log.

        Returns:
            The addresses, none when nothing is left; None when the state is not one of this executor.
        """
        del state
        return None

    async def version(self, settings: Settings) -> str:
        """The tool and its version, as `bond status` shows it; empty when there is no tool to run.

        Args:
            settings: Of the worker: which tool to use.

        Raises:
            ToolUnavailable: when the tool is not there, or does not answer.
        """
        del settings
        return ""
