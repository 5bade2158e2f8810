"""The executor `container`: what the rest of Bondstone sees of this package."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeVar

from bondstone.activities.container.section import ContainerSection
from bondstone.base.settings import Settings
from bondstone.executors.protocol import Drifted, Executor, Outcome, Planned, SectionReport, StepContext

if TYPE_CHECKING:
    from bondstone.activities.container.engine import StepEngine
    from bondstone.activities.container.session import ContainerSession
    from bondstone.activities.tooling.heartbeat import Stop

# Commands that only want to know which executors there are load this module: what does the work is imported by
# the first call that needs it.
# ruff: noqa: PLC0415

T = TypeVar("T")


class ContainerExecutor(Executor):
    """Runs images that keep a contract of files. One instance serves all steps of a worker."""

    kind: ClassVar[str] = "container"
    section: ClassVar[type[ContainerSection]] = ContainerSection

    def __init__(self) -> None:
        self._label = ""

    def check(self, section: ContainerSection, promise: Path) -> SectionReport:
        """Look at the section, at publish; asks no engine and no registry."""
        del promise
        return SectionReport(
            outputs=dict.fromkeys(section.outputs, "dyn"),
            sensitive=frozenset(name for name, output in section.outputs.items() if output.sensitive),
        )

    def held(self, state: bytes) -> tuple[str, ...] | None:
        """Whether a record stands for something."""
        from bondstone.activities.container.documents import held

        return held(state)

    async def version(self, settings: Settings) -> str:
        """What the engine says of itself.

        Raises:
            ToolUnavailable: there is none, or it does not answer.
        """
        async with _engine(settings) as engine:
            return await engine.version()

    async def plan(self, context: StepContext) -> Planned:
        """Ask the image what it would change."""
        from bondstone.activities.container import planning

        tool = await self._tool(context.settings)
        return await self._work(context, lambda session: planning.plan(session, tool))

    async def apply(self, context: StepContext, artefact: bytes, position: int) -> Outcome:
        """Run the image of exactly that plan.

        Raises:
            PlanStale: when the record has moved since, or the image says that its plan is stale.
            ToolFailed: when the image failed, or was killed.
            StepTimedOut: when it took longer than it may.
            Fenced: when another attempt took the state.
        """
        from bondstone.activities.container import applying

        return await self._work(context, lambda session: applying.apply(session, artefact, position))

    async def plan_destroy(self, context: StepContext) -> Planned:
        """Ask the image what taking everything down would change."""
        from bondstone.activities.container import planning

        tool = await self._tool(context.settings)
        return await self._work(context, lambda session: planning.plan_destroy(session, tool))

    async def detect_drift(self, context: StepContext) -> Drifted:
        """Ask the image what is no longer as it made it."""
        from bondstone.activities.container import planning

        return await self._work(context, planning.detect_drift)

    async def _work(self, context: StepContext, work: Callable[[ContainerSession], Awaitable[T]]) -> T:
        from bondstone.activities.container.session import ContainerSession
        from bondstone.activities.tooling.heartbeat import Pulse, to_its_end

        async def whole(stop: Stop) -> T:
            async with Pulse(context.heartbeat) as pulse, _engine(context.settings) as engine:
                return await work(ContainerSession(context, engine, pulse, stop))

        return await to_its_end(whole)

    async def _tool(self, settings: Settings) -> str:
        """The engine and its version, asked for once."""
        self._label = self._label or await self.version(settings)
        return self._label


@asynccontextmanager
async def _engine(settings: Settings) -> AsyncIterator[StepEngine]:
    """What runs the containers of a worker: Jobs of a cluster where its settings say so, else podman or Docker."""
    from bondstone.activities.container.engine import CommandEngine
    from bondstone.activities.tooling.container_engine import ContainerEngine

    if settings.container_jobs is None:
        yield CommandEngine(ContainerEngine.of(settings))
        return
    from bondstone.activities.container.jobs.engine import JobEngine

    async with JobEngine.opened(settings, settings.container_jobs) as engine:
        yield engine
