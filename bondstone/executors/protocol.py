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
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from bondstone.base.errors import InvalidInput, Problem
from bondstone.base.models import Manifest
from bondstone.base.names import EXECUTORS_GROUP
from bondstone.base.settings import Settings
from bondstone.model.plan import Change
from bondstone.model.service import ServiceId
from bondstone.model.step import Progress

if TYPE_CHECKING:
    from bondstone.store import Store


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
    store: Store
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
    secrets: frozenset[str] = field(default=frozenset(), repr=False)
    """Texts of the secrets in the section: the executor masks them in change sets and errors."""


@dataclass(frozen=True, slots=True)
class Planned:
    """What `plan` and `plan_destroy` give: stored sealed, before anything else happens to it."""

    artefact: bytes
    """What `apply` will be handed back, byte for byte."""
    document: Mapping[str, Any]
    """What policies see as `input.plan`, in the shape conftest users of the tool expect."""
    changes: Sequence[Change]
    """The normalised change set, sensitive values masked."""
    empty: bool
    """There is nothing at all to apply."""
    position: int
    """Position in the step's state log that the plan was made at."""
    tool: str
    """Tool and version: `terraform 1.15.5`."""


@dataclass(frozen=True, slots=True)
class Output:
    """One output of an applied step."""

    value: Any
    sensitive: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What `apply` gives."""

    outputs: Mapping[str, Output]


@dataclass(frozen=True, slots=True)
class Drifted:
    """What `detect_drift` gives: the drifted objects, sensitive attributes masked."""

    changes: Sequence[Change]


@dataclass(frozen=True, slots=True)
class SectionReport:
    """What an executor can say of a section when the promise is published, before any run."""

    problems: Sequence[Problem] = ()
    """Problems inside files the section names; `file` is relative to the promise."""
    outputs: Mapping[str, str] = field(default_factory=dict)
    """Names of the outputs that expressions may use, each with a CEL type (`string`, `int`, `bool`, `dyn`, …)."""
    sensitive: frozenset[str] = frozenset()
    """Those of `outputs` that hold secrets: no output of the promise may show them unless it is secret too."""
    keys: Sequence[tuple[tuple[str | int, ...], Problem]] = ()
    """Problems at a key of the section: the path inside the section, and the problem (the loader fills in
    file, line and column)."""
    templates: Sequence[str] = ()
    """YAML files of the promise whose strings hold expressions like the section's: the loader checks them in the
    same scope, and the executor renders them with `StepContext.variables`."""


class Executor(Protocol):
    """The adapter to one tool."""

    kind: ClassVar[str]
    """Its name: the key of its section in a step, and the prefix of its activities."""
    section: ClassVar[type[Manifest]]
    """The schema of its section. Strings in it may hold expressions."""

    def check(self, section: Any, promise: Path) -> SectionReport:
        """Look at an unrendered section and the files it names, at publish. Runs no tool with side effects."""
        ...

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


def load_executors() -> dict[str, Executor]:
    """Every installed executor by kind, found by entry point.

    Raises:
        InvalidInput: when two claim one kind or one does not load; it names the distribution at fault.
    """
    found: dict[str, Executor] = {}
    for entry in entry_points(group=EXECUTORS_GROUP):
        try:
            executor: Executor = entry.load()()
        except Exception as error:
            raise InvalidInput(
                f"executor {entry.name!r} does not load: {error}",
                where=entry.value,
                hint="reinstall or remove the package that registers it",
            ) from error
        if executor.kind in found:
            raise InvalidInput(f"two executors claim the kind {executor.kind!r}", where=entry.value)
        found[executor.kind] = executor
    return found
