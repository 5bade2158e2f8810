"""The executor `terraform`: what the rest of Bondstone sees of this package."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from bondstone.activities.terraform.section import TerraformSection
from bondstone.base.settings import Settings
from bondstone.executors.protocol import (
    Drifted,
    Executor,
    Outcome,
    Planned,
    SectionReport,
    StepContext,
    ToolReport,
)

if TYPE_CHECKING:
    from bondstone.activities.terraform.provider_packages import ProviderPackages
    from bondstone.activities.terraform.session import TerraformSession
    from bondstone.activities.terraform.slots import Slots
    from bondstone.activities.tooling.heartbeat import Stop

# Commands that only want to know which executors there are load this module: what does the work is imported by
# the first call that needs it.
# ruff: noqa: PLC0415

T = TypeVar("T")


class TerraformExecutor(Executor):
    """Runs Terraform or OpenTofu. One instance serves all steps of a worker."""

    kind: ClassVar[str] = "terraform"
    section: ClassVar[type[TerraformSection]] = TerraformSection

    def __init__(self) -> None:
        self._slots: Slots | None = None
        self._packages: ProviderPackages | None = None
        self._labels: dict[str, str] = {}
        self._swept: set[Path] = set()

    def check(self, section: TerraformSection, promise: Path) -> SectionReport:
        """Look at the section and its module, at publish; runs nothing."""
        from bondstone.activities.terraform.inspect import report

        return report(section, promise)

    async def ask_tool(
        self, sections: Sequence[TerraformSection], promise: Path, settings: Settings, *, fetch: bool
    ) -> ToolReport:
        """Have Terraform validate the modules."""
        from bondstone.activities.terraform.validating import ask_terraform

        return await ask_terraform(sections, promise, settings, fetch=fetch)

    def keeps_own_state(self, section: Mapping[str, Any]) -> bool:
        """Whether the module's own backend keeps the state: `backend: own`."""
        return section.get("backend") == "own"

    def held(self, state: bytes) -> tuple[str, ...] | None:
        """The managed resources in a Terraform state."""
        from bondstone.base.errors import InvalidInput
        from bondstone.executors.state_file import read_state_file

        try:
            return read_state_file(state).addresses
        except InvalidInput:
            return None

    async def version(self, settings: Settings) -> str:
        """What `terraform version` says.

        Raises:
            ToolUnavailable: there is none, or it does not answer.
        """
        from bondstone.activities.terraform.binary import find_tool
        from bondstone.activities.tooling.version import first_line

        return await first_line(find_tool(settings).reading(["version"]))

    async def plan(self, context: StepContext) -> Planned:
        """Plan against the newest state; exactly `terraform plan` and `terraform show` are run."""
        from bondstone.activities.terraform import planning

        async def work(session: TerraformSession) -> Planned:
            planned = await planning.plan(session)
            self._labels[session.tool.path] = planned.tool
            return planned

        return await self._work(context, "plan", work)

    async def apply(self, context: StepContext, artefact: bytes, position: int) -> Outcome:
        """Apply exactly that plan; exactly `terraform apply` is run.

        Raises:
            PlanStale: when the state has moved since `position`, or Terraform itself says so.
            Fenced: when another attempt took the state; Terraform was stopped at once.
            ToolFailed: when Terraform failed; what it made is in the state log.
            ToolUnavailable: when it looks temporary.
        """
        from bondstone.activities.terraform import applying

        return await self._work(context, "apply", lambda session: applying.apply(session, artefact, position))

    async def plan_destroy(self, context: StepContext) -> Planned:
        """Plan to take everything down; nothing is run where there is nothing."""
        from bondstone.activities.terraform import planning

        async def work(session: TerraformSession) -> Planned:
            return await planning.plan_destroy(session, self._labels.get(session.tool.path, "terraform"))

        return await self._work(context, "plan_destroy", work)

    async def detect_drift(self, context: StepContext) -> Drifted:
        """Compare reality with what was last applied, by a refresh-only plan."""
        from bondstone.activities.terraform import planning

        return await self._work(context, "detect_drift", planning.detect_drift)

    async def _work(self, context: StepContext, verb: str, work: Callable[[TerraformSession], Awaitable[T]]) -> T:
        from bondstone.activities.tooling.heartbeat import to_its_end

        async def whole(stop: Stop) -> T:
            async with self._session(context, verb, stop) as session:
                return await work(session)

        return await to_its_end(whole)

    @asynccontextmanager
    async def _session(self, context: StepContext, verb: str, stop: Stop) -> AsyncIterator[TerraformSession]:
        from bondstone.activities.terraform.binary import find_tool
        from bondstone.activities.terraform.provider_packages import ProviderPackages
        from bondstone.activities.terraform.session import TerraformSession
        from bondstone.activities.terraform.slots import Slots
        from bondstone.activities.terraform.step_path import step_path
        from bondstone.activities.terraform.workspace import RunDirectory
        from bondstone.activities.tooling.heartbeat import Pulse

        tool = find_tool(context.settings)
        work = await self._work_directory(context.settings)
        if self._slots is None:
            self._slots = Slots(context.settings)
        if self._packages is None:
            self._packages = ProviderPackages()
        run = RunDirectory.create(
            work,
            context.service,
            context.step,
            attempt=context.attempt,
            verb=verb,
            bundle=context.bundle.absolute(),
            module=context.section.module,
            has_own_backend=context.section.backend == "own" and not context.trial,
        )
        run.take(step_path(context.settings, context.service, context.step))
        async with Pulse(context.heartbeat) as pulse:
            session = TerraformSession(
                context=context,
                tool=tool,
                run=run,
                pulse=pulse,
                stop=stop,
                slots=self._slots,
                packages=self._packages,
                redact=context.redact,
            )
            try:
                yield session
            finally:
                session.leave()

    async def _work_directory(self, settings: Settings) -> Path:
        """The scratch directory; when it is first used, what dead plans left in it is removed."""
        from bondstone.activities.terraform.workspace import sweep_plans

        work = settings.work_dir.absolute()
        if work not in self._swept:
            self._swept.add(work)
            work.mkdir(parents=True, exist_ok=True, mode=0o700)
            await asyncio.to_thread(sweep_plans, work)
        return work
