"""The executor `kratix`: pipelines are run when a step is planned, and what they wrote is applied as planned."""

from __future__ import annotations

import base64
import json
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from bondstone.activities.kratix.section import KratixSection
from bondstone.activities.kubernetes import KubernetesExecutor
from bondstone.activities.kubernetes.section import GeneratedSection
from bondstone.executors.protocol import (
    Drifted,
    Executor,
    Outcome,
    Output,
    Planned,
    SectionReport,
    StepContext,
)

if TYPE_CHECKING:
    from bondstone.activities.kratix.destination.pushing import PushSession
    from bondstone.activities.kratix.pipelines import Rendered
    from bondstone.base.settings import Settings

# ruff: noqa: PLC0415 - commands that only want to know which executors there are load this module

T = TypeVar("T")


class KratixExecutor(Executor):
    """Runs the pipelines of a Kratix promise; the executor of manifests applies what they write."""

    kind: ClassVar[str] = "kratix"
    section: ClassVar[type[KratixSection]] = KratixSection

    def __init__(self) -> None:
        self._manifests = KubernetesExecutor()

    def check(self, section: KratixSection, promise: Path) -> SectionReport:
        """The outputs of the step; what pipelines write is known when they have run."""
        del section, promise
        return SectionReport(outputs={"status": "dyn"})

    def held(self, state: bytes) -> tuple[str, ...] | None:
        """The objects of the inventory, or the files that were pushed."""
        from bondstone.activities.kratix.destination.documents import pushed_addresses

        pushed = pushed_addresses(state)
        return self._manifests.held(state) if pushed is None else pushed

    async def version(self, settings: Settings) -> str:
        """The container engine and its version."""
        from bondstone.activities.tooling.container_engine import ContainerEngine

        return await ContainerEngine.of(settings).version()

    async def plan(self, context: StepContext) -> Planned:
        """Run the pipelines, and ask the API server what applying their output would change."""
        rendered = await _rendered(context, "configure")
        if context.section.destination:
            from bondstone.activities.kratix.destination import pushing

            return await _pushing(context, lambda session: pushing.plan(session, rendered))
        section = _manifests(context.section, rendered.documents)
        planned = await self._manifests.plan(replace(context, section=section))
        document = {**planned.document, "status": dict(rendered.status), "notes": list(rendered.notes)}
        return replace(planned, artefact=_pack(planned.artefact, rendered), document=document)

    async def apply(self, context: StepContext, artefact: bytes, position: int) -> Outcome:
        """Apply exactly what the pipelines had written when the step was planned."""
        if context.section.destination:
            return await _push(context, artefact, position)
        kept: dict[str, Any] = json.loads(artefact)
        if kept["destroy"] and context.section.delete:
            await _rendered(context, "delete")
        inner = replace(context, section=_manifests(context.section, kept["documents"]))
        outcome = await self._manifests.apply(inner, base64.b64decode(kept["plan"]), position)
        if kept["destroy"]:
            return outcome
        return replace(outcome, outputs={**outcome.outputs, "status": Output(kept["status"])})

    async def plan_destroy(self, context: StepContext) -> Planned:
        """Plan to remove whatever was applied; the pipelines of `delete` run before that."""
        if context.section.destination:
            from bondstone.activities.kratix.destination import pushing

            return await _pushing(context, pushing.plan_destroy)
        planned = await self._manifests.plan_destroy(replace(context, section=_manifests(context.section, ())))
        return replace(planned, artefact=_pack(planned.artefact, None))

    async def detect_drift(self, context: StepContext) -> Drifted:
        """Compare what the cluster or the destination holds with what was applied; no pipeline runs."""
        if context.section.destination:
            from bondstone.activities.kratix.destination import pushing

            return await _pushing(context, pushing.detect_drift)
        return await self._manifests.detect_drift(replace(context, section=_manifests(context.section, ())))


def _manifests(section: KratixSection, documents: Any) -> GeneratedSection:
    """The section of the executor of manifests."""
    return GeneratedSection(
        manifests=tuple(documents),
        namespace=section.namespace,
        cluster=section.cluster,
        cluster_scoped=True,
        timeout=section.timeout,
    )


async def _push(context: StepContext, artefact: bytes, position: int) -> Outcome:
    from bondstone.activities.kratix.destination import pushing

    async def before_removal() -> None:
        if context.section.delete:
            await _rendered(context, "delete")

    return await _pushing(context, lambda session: pushing.apply(session, artefact, position, before_removal))


async def _pushing(context: StepContext, work: Callable[[PushSession], Awaitable[T]]) -> T:
    from bondstone.activities.kratix.destination.pushing import PushSession
    from bondstone.activities.tooling.heartbeat import Pulse, Stop, to_its_end

    async def whole(stop: Stop) -> T:
        async with Pulse(context.heartbeat) as pulse:
            return await work(PushSession(context, pulse, stop))

    return await to_its_end(whole)


async def _rendered(context: StepContext, action: str) -> Rendered:
    from bondstone.activities.kratix.engine import Podman
    from bondstone.activities.kratix.pipelines import run_pipelines
    from bondstone.activities.tooling.container_engine import ContainerEngine
    from bondstone.activities.tooling.heartbeat import Pulse, Stop, to_its_end

    section: KratixSection = context.section
    engine = ContainerEngine.of(context.settings)
    network = engine.network(section.network)
    context.settings.work_dir.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="kratix-", dir=context.settings.work_dir))

    async def work(stop: Stop) -> Rendered:
        async with Pulse(context.heartbeat) as pulse:
            pulse.note(f"runs the pipelines of {section.promise}")
            return await stop.unless(
                run_pipelines(
                    Podman(engine),
                    section,
                    directory,
                    action=action,
                    owner=f"{context.settings.work_dir}/{context.service}/{context.step}",
                    log=context.log,
                    network=network,
                )
            )

    try:
        return await to_its_end(work)
    finally:
        if context.cleanup:
            shutil.rmtree(directory, ignore_errors=True)


def _pack(plan: bytes, rendered: Rendered | None) -> bytes:
    """The artefact: what was planned, and what the pipelines wrote."""
    status: Mapping[str, Any] = rendered.status if rendered is not None else {}
    return json.dumps(
        {
            "plan": base64.b64encode(plan).decode(),
            "documents": list(rendered.documents) if rendered is not None else [],
            "status": dict(status),
            "destroy": rendered is None,
        },
        sort_keys=True,
        default=str,
    ).encode()
