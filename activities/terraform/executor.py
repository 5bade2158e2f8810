"""The executor `terraform`: what the rest of Bondstone sees of this package."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar, TypeVar

import psutil

from activities.terraform import applying, planning
from activities.terraform.binary import Tool, find_tool
from activities.terraform.pulse import Pulse, Stop, to_its_end
from activities.terraform.section import TerraformSection
from activities.terraform.session import Session
from activities.terraform.workspace import RunDirectory, sweep_plans
from bondstone.executor import Drifted, Outcome, Planned, SectionReport, StepContext
from bondstone.settings import Settings

T = TypeVar("T")

_SLOT_BYTES = 512 * 1024 * 1024
"""What one Terraform with a large provider takes; those without take a tenth."""


class TerraformExecutor:
    """Runs Terraform or OpenTofu. One instance serves all steps of a worker."""

    kind: ClassVar[str] = "terraform"
    section: ClassVar[type[TerraformSection]] = TerraformSection

    def __init__(self) -> None:
        self._slots: asyncio.Semaphore | None = None
        self._labels: dict[Tool, str] = {}
        self._swept: set[Path] = set()

    def check(self, section: TerraformSection, promise: Path) -> SectionReport:
        """Look at the section and its module, at publish; runs nothing."""
        from activities.terraform.inspect import report  # noqa: PLC0415 - the HCL parser takes half a second

        return report(section, promise)

    async def plan(self, context: StepContext) -> Planned:
        """Plan against the newest state; exactly `terraform plan` and `terraform show` are run."""
        return await self._work(context, "plan", self._plan)

    async def apply(self, context: StepContext, artefact: bytes, position: int) -> Outcome:
        """Apply exactly that plan; exactly `terraform apply` is run.

        Raises:
            PlanStale: when the state has moved since `position`, or Terraform itself says so.
            Fenced: when another attempt took the state; Terraform was stopped at once.
            ToolFailed: when Terraform failed; what it made is in the state log.
            ToolUnavailable: when it looks temporary.
        """
        return await self._work(context, "apply", lambda session: applying.apply(session, artefact, position))

    async def plan_destroy(self, context: StepContext) -> Planned:
        """Plan to take everything down."""
        return await self._work(context, "plan_destroy", self._plan_destroy)

    async def detect_drift(self, context: StepContext) -> Drifted:
        """Compare reality with what was last applied, by a refresh-only plan."""
        return await self._work(context, "detect_drift", planning.detect_drift)

    async def _plan(self, session: Session) -> Planned:
        planned = await planning.plan(session)
        self._labels[session.tool] = planned.tool
        return planned

    async def _plan_destroy(self, session: Session) -> Planned:
        return await planning.plan_destroy(session, self._labels.get(session.tool, "terraform"))

    async def _work(self, context: StepContext, verb: str, work: Callable[[Session], Awaitable[T]]) -> T:
        async def whole(stop: Stop) -> T:
            async with self._session(context, verb, stop) as session:
                return await work(session)

        return await to_its_end(whole)

    @asynccontextmanager
    async def _session(self, context: StepContext, verb: str, stop: Stop) -> AsyncIterator[Session]:
        settings = context.settings
        tool = find_tool(settings)
        work = settings.work_dir.absolute()
        if work not in self._swept:
            self._swept.add(work)
            work.mkdir(parents=True, exist_ok=True, mode=0o700)
            await asyncio.to_thread(sweep_plans, work)
        if self._slots is None:
            self._slots = asyncio.Semaphore(effective_slots(settings))
        run = RunDirectory.create(
            work,
            context.service,
            context.step,
            attempt=context.attempt,
            verb=verb,
            bundle=context.bundle.absolute(),
            module=context.section.module,
        )
        async with Pulse(context.heartbeat) as pulse:
            session = Session(context=context, tool=tool, run=run, pulse=pulse, stop=stop, slots=self._slots)
            try:
                yield session
            finally:
                session.leave()


def effective_slots(settings: Settings) -> int:
    """How many Terraform processes a worker runs at once: as set, else two a core if memory allows."""
    if settings.terraform_slots:
        return settings.terraform_slots
    memory = int(psutil.virtual_memory().available) // _SLOT_BYTES
    return max(1, min(2 * (os.cpu_count() or 1), memory))
