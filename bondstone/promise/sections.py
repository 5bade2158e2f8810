"""The sections of a promise's steps, as validation sees them: a schema and a check for each kind of step.

Executors, on a floor above, provide both, and may ask their tool.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from bondstone.base.errors import Problem
from bondstone.base.models import Manifest
from bondstone.base.settings import Settings


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


@dataclass(frozen=True, slots=True)
class ToolReport:
    """What the tool itself says of some sections when the promise is published; files relative to the promise."""

    problems: Sequence[Problem] = ()
    """What it refuses."""
    warnings: Sequence[Problem] = ()
    """What it could not be asked, and why."""


class SectionChecker(Protocol):
    """What checks the sections of one kind of step when a promise is published."""

    kind: ClassVar[str]
    """Its name: the key of its section in a step, and the prefix of its activities."""
    section: ClassVar[type[Manifest]]
    """The schema of its section. Strings in it may hold expressions."""

    def check(self, section: Any, promise: Path) -> SectionReport:
        """Look at an unrendered section and the files it names, at publish. Runs no tool with side effects.

        Args:
            section: An instance of `section`, expressions not rendered.
            promise: The promise's folder.
        """
        ...

    async def ask_tool(
        self, sections: Sequence[Any], promise: Path, settings: Settings, *, fetch: bool
    ) -> ToolReport:
        """Ask the tool on this machine about sections that `check` has no problem with; nothing is planned.

        Args:
            sections: Instances of `section`, expressions not rendered: those of all steps of this kind.
            promise: The promise's folder.
            settings: Which tool to use.
            fetch: Whether what the promise names may be fetched from elsewhere and run: so on the machine of the
                person who publishes, not in the API.
        """
        del sections, promise, settings, fetch
        return ToolReport()

    def keeps_own_state(self, section: Mapping[str, Any]) -> bool:
        """Whether the tool keeps the step's state itself, so that the platform has none to show, adopt or archive.

        Args:
            section: As written in the promise, expressions not rendered.
        """
        del section
        return False
