"""The executor `helm`: what the rest of Bondstone sees of this package."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeVar

from bondstone.activities.helm.section import HelmSection
from bondstone.base.settings import Settings
from bondstone.executors.protocol import Drifted, Executor, Outcome, Planned, SectionReport, StepContext

if TYPE_CHECKING:
    from bondstone.activities.helm.session import HelmSession, Workspace
    from bondstone.activities.tooling.heartbeat import Stop

# Commands that only want to know which executors there are load this module: what does the work is imported by
# the first call that needs it.
# ruff: noqa: PLC0415

T = TypeVar("T")


class HelmExecutor(Executor):
    """Runs Helm. One instance serves all steps of a worker."""

    kind: ClassVar[str] = "helm"
    section: ClassVar[type[HelmSection]] = HelmSection

    def __init__(self) -> None:
        self._swept: set[Path] = set()

    def check(self, section: HelmSection, promise: Path) -> SectionReport:
        """Look at the section and its chart, at publish; runs nothing."""
        from bondstone.activities.helm.inspect import report

        return report(section, promise)

    def held(self, state: bytes) -> tuple[str, ...] | None:
        """The release that a record names."""
        from bondstone.activities.helm.artefact import release_record

        record = release_record(state)
        return None if record is None else (str(record.location),)

    async def version(self, settings: Settings) -> str:
        """What `helm version` says.

        Raises:
            ToolFailed: its version is not supported.
            ToolUnavailable: there is none, or it does not answer.
        """
        from bondstone.activities.helm.version import find_helm, helm_version

        return f"Helm {(await helm_version(find_helm(settings.helm))).text}"

    async def plan(self, context: StepContext) -> Planned:
        """Render the chart and compare it with the release and with what the cluster holds."""
        from bondstone.activities.helm import planning, trial

        return await self._work(context, trial.plan if context.trial else planning.plan)

    async def apply(self, context: StepContext, artefact: bytes, position: int) -> Outcome:
        """Apply exactly that plan.

        Raises:
            PlanStale: when the release has moved since.
            ToolFailed: when Helm failed; a first install is taken away, an upgrade rolled back (`atomic`).
            ToolUnavailable: when it looks temporary.
        """
        from bondstone.activities.helm import applying, trial

        work = trial.apply if context.trial else applying.apply
        return await self._work(context, lambda session: work(session, artefact, position))

    async def plan_destroy(self, context: StepContext) -> Planned:
        """Plan to uninstall the release; nothing where there is none."""
        from bondstone.activities.helm import planning, trial

        return await self._work(context, trial.plan_destroy if context.trial else planning.plan_destroy)

    async def detect_drift(self, context: StepContext) -> Drifted:
        """Compare what the cluster holds with what was applied, field by field that the chart sets."""
        from bondstone.activities.helm import planning

        return await self._work(context, planning.detect_drift)

    async def _work(self, context: StepContext, work: Callable[[HelmSession], Awaitable[T]]) -> T:
        from bondstone.activities.helm.session import HelmSession
        from bondstone.activities.tooling.heartbeat import Pulse, to_its_end

        workspace = await self._workspace(context.settings.work_dir.absolute())

        async def whole(stop: Stop) -> T:
            with (
                workspace.run(keep=not context.cleanup) as run,
                workspace.lock_file(context.service, context.step) as lock,
            ):
                async with Pulse(context.heartbeat) as pulse:
                    return await work(HelmSession(context, workspace, run, lock, pulse, stop, context.redact))

        return await to_its_end(whole)

    async def _workspace(self, work: Path) -> Workspace:
        """The scratch directory; when it is first used, what dead attempts left in it is removed."""
        from bondstone.activities.helm.session import Workspace as Space

        space = await asyncio.to_thread(Space, work)
        if work not in self._swept:
            self._swept.add(work)
            await asyncio.to_thread(space.sweep)
        return space
