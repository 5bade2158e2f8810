"""A tool that counts: it brings a service to a version, and writes down each time that it was asked and did so.

As tools of desired state do, it changes nothing where the version is there already: a second effect on a service
is somebody's second wish, not a second try. It is installed beside the built-in executors by an entry point, as
those of third parties are.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

from bondstone.base.errors import ToolFailed
from bondstone.base.models import Manifest
from bondstone.base.names import EXECUTORS_GROUP
from bondstone.executors.protocol import Drifted, Executor, Outcome, Output, Planned, SectionReport, StepContext
from bondstone.model.plan import Change
from harness import processes

PROMISE: Final = "counted"
STEP: Final = "thing"
BEFORE, AFTER = "1.0.0", "1.0.1"

_SPEC: Final = """\
  inputs:
    type: object
    required: [log]
    properties:
      log: {{type: string}}
      refuses: {{type: string, default: ""}}
  steps:
    - id: thing
      count: {{log: "${{inputs.log}}", version: {version}, refuses: "${{inputs.refuses}}"}}
  patch: {{on_failure: hold}}
"""


@dataclass(frozen=True, slots=True)
class Effects:
    """The append-only file of what was asked and what was made: `asked TEAM/NAME VERSION` and `made …`."""

    file: Path

    def make(self, service: str, version: str) -> None:
        """Bring a service to a version."""
        with self.file.open("a+", encoding="utf-8") as log:
            fcntl.flock(log, fcntl.LOCK_EX)
            log.write(f"asked {service} {version}\n")
            if self.versions()[service][-1:] != [version]:
                log.write(f"made {service} {version}\n")
            log.flush()
            os.fsync(log.fileno())

    def versions(self) -> dict[str, list[str]]:
        """The versions that each service was brought to, in order."""
        versions: dict[str, list[str]] = defaultdict(list)
        for what, service, version in self._lines():
            if what == "made":
                versions[service].append(version)
        return versions

    def requests(self, version: str) -> Counter[str]:
        """How often each service was to be brought to a version."""
        return Counter(
            service for what, service, line_version in self._lines() if (what, line_version) == ("asked", version)
        )

    def _lines(self) -> list[list[str]]:
        text = self.file.read_text(encoding="utf-8") if self.file.exists() else ""
        return [line.split() for line in text.splitlines()]


class CountSection(Manifest):
    """The section of a step that counts."""

    log: str
    """The file."""
    version: str
    refuses: str = ""
    """The version that this service cannot be brought to."""


class CountingExecutor(Executor):
    """The adapter to a tool that counts what it does."""

    kind: ClassVar[str] = "count"
    section: ClassVar[type[Manifest]] = CountSection

    def check(self, section: Any, promise: Path) -> SectionReport:  # noqa: ARG002 - the interface
        """Everything is fine."""
        return SectionReport(outputs={"version": "string"})

    async def plan(self, context: StepContext) -> Planned:
        """Whether the service is at another version."""
        versions = Effects(Path(context.section.log)).versions()[str(context.service)]
        wanted = context.section.version
        changes = (
            [] if versions[-1:] == [wanted] else [Change(address=STEP, action="update" if versions else "create")]
        )
        return Planned(
            artefact=wanted.encode(), document={}, changes=changes, empty=not changes, position=0, tool="count"
        )

    async def apply(self, context: StepContext, artefact: bytes, position: int) -> Outcome:  # noqa: ARG002
        """Bring it there."""
        version = artefact.decode()
        if context.section.refuses == version:
            raise ToolFailed(f"{context.service} refuses {version}")
        await asyncio.to_thread(Effects(Path(context.section.log)).make, str(context.service), version)
        return Outcome(outputs={"version": Output(version)})

    async def plan_destroy(self, context: StepContext) -> Planned:  # noqa: ARG002 - the interface
        """Nothing is ever taken down here."""
        return Planned(artefact=b"", document={}, changes=[], empty=True, position=0, tool="count")

    async def detect_drift(self, context: StepContext) -> Drifted:  # noqa: ARG002 - the interface
        """Nothing drifts."""
        return Drifted(changes=[])


def install(directory: Path) -> None:
    """Make a directory on PYTHONPATH that registers the executor."""
    package = directory / "counting-1.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: counting\nVersion: 1\n", encoding="utf-8")
    entry = f"[{EXECUTORS_GROUP}]\ncount = {__name__}:{CountingExecutor.__name__}\n"
    (package / "entry_points.txt").write_text(entry, encoding="utf-8")


def promise(directory: Path, version: str) -> Path:
    """The promise at a version."""
    spec = _SPEC.format(version=version)
    return processes.write_promise(directory / f"{PROMISE}-{version}", PROMISE, {}, spec, version=version)
