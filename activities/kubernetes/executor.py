"""The executor `kubernetes`: what the rest of Bondstone sees of this package."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeVar

from bondstone.activities.kubernetes.section import KubernetesSection
from bondstone.executors.protocol import Drifted, Executor, Outcome, Planned, SectionReport, StepContext

if TYPE_CHECKING:
    from bondstone.activities.kubernetes.session import ClusterSession
    from bondstone.activities.tooling.heartbeat import Stop

# Commands that only want to know which executors there are load this module: what does the work is imported by
# the first call that needs it.
# ruff: noqa: PLC0415

T = TypeVar("T")


class KubernetesExecutor(Executor):
    """Applies manifests by server-side apply. One instance serves all steps of a worker."""

    kind: ClassVar[str] = "kubernetes"
    section: ClassVar[type[KubernetesSection]] = KubernetesSection

    def check(self, section: KubernetesSection, promise: Path) -> SectionReport:
        """Look at the section and its files, at publish; asks no cluster."""
        from bondstone.activities.kubernetes.inspect import report

        return report(section, promise)

    def held(self, state: bytes) -> tuple[str, ...] | None:
        """The objects of an inventory."""
        from bondstone.activities.kubernetes.documents import inventory_addresses

        return inventory_addresses(state)

    async def plan(self, context: StepContext) -> Planned:
        """Ask the API server what applying would change, by a dry run of each object."""
        from bondstone.activities.kubernetes import planning, trial

        return await self._work(context, trial.plan if context.trial else planning.plan)

    async def apply(self, context: StepContext, artefact: bytes, position: int) -> Outcome:
        """Apply exactly that plan, wait for what the section says, remove what it no longer declares.

        Raises:
            PlanStale: when the inventory has moved since `position`, or objects have in fields the plan changes.
            Fenced: when another attempt took the state.
            StepTimedOut: when something is not ready, or not gone, in time.
            ToolFailed: when the API server refused; what was made is in the inventory.
            ToolUnavailable: when the cluster does not answer.
        """
        from bondstone.activities.kubernetes import applying, trial

        work = trial.apply if context.trial else applying.apply
        return await self._work(context, lambda session: work(session, artefact, position))

    async def plan_destroy(self, context: StepContext) -> Planned:
        """Plan to remove whatever the step has applied; nothing where there is nothing."""
        from bondstone.activities.kubernetes import planning, trial

        return await self._work(context, trial.plan_destroy if context.trial else planning.plan_destroy)

    async def detect_drift(self, context: StepContext) -> Drifted:
        """Compare what the cluster holds with what was applied, field by field that the step sets."""
        from bondstone.activities.kubernetes import planning

        return await self._work(context, planning.detect_drift)

    async def _work(self, context: StepContext, work: Callable[[ClusterSession], Awaitable[T]]) -> T:
        from bondstone.activities.kubernetes.session import ClusterSession
        from bondstone.activities.tooling.heartbeat import Pulse, to_its_end

        async def whole(stop: Stop) -> T:
            async with Pulse(context.heartbeat) as pulse:
                return await work(ClusterSession(context, pulse, stop))

        return await to_its_end(whole)
