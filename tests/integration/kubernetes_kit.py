"""What the tests of the Kubernetes executor share: a bundle on disk, a real store, contexts made by hand."""

from __future__ import annotations

import itertools
import json
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bondstone.activities.kubernetes import KubernetesExecutor
from bondstone.activities.kubernetes.section import KubernetesSection
from bondstone.base.settings import Settings
from bondstone.executors.protocol import Outcome, Planned, StepContext
from bondstone.model.service import ServiceId
from bondstone.model.step import Progress
from bondstone.store import Store

SERVICE = ServiceId(team="shop", name="web")
STEP = "app"


@dataclass
class Bench:
    """One worker's view of one step: what the activities would hand to the executor."""

    root: Path
    store: Store
    settings: Settings
    namespace: str
    executor: KubernetesExecutor = field(default_factory=KubernetesExecutor)
    beats: list[Progress] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    attempts: itertools.count = field(default_factory=lambda: itertools.count(1))

    @classmethod
    async def open(cls, root: Path, kubeconfig: Path, namespace: str, **cluster: Any) -> Bench:
        made = Settings(data=root / "data", clusters={"default": {"kubeconfig": str(kubeconfig), **cluster}})
        return cls(root, await Store.open(made, create_keys=True), made, namespace)

    def write(self, text: str, file: str = "app.yaml") -> None:
        path = self.root / "bundle" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))

    def context(self, *, service=SERVICE, secrets=(), variables=None, attempt="", **section: Any) -> StepContext:
        section.setdefault("manifests", ["app.yaml"])
        return StepContext(
            service=service,
            operation=1,
            step=STEP,
            section=KubernetesSection.model_validate({"namespace": self.namespace, "timeout": "30s", **section}),
            bundle=self.root / "bundle",
            revision_digest="digest-of-the-bundle",
            state=self.store.state(service, STEP),
            settings=self.settings,
            attempt=attempt or f"attempt-{next(self.attempts)}",
            heartbeat=self.beats.append,
            log=self.log.append,
            secrets=frozenset(secrets),
            variables=variables or {},
        )

    async def plan(self, **options: Any) -> Planned:
        return await self.executor.plan(self.context(**options))

    async def apply(self, planned: Planned, **options: Any) -> Outcome:
        return await self.executor.apply(self.context(**options), planned.artefact, planned.position)

    async def provision(self, **options: Any) -> Outcome:
        return await self.apply(await self.plan(**options), **options)

    async def destroy(self, **options: Any) -> Outcome:
        planned = await self.executor.plan_destroy(self.context(**options))
        return await self.apply(planned, **options)

    async def drift(self, **options: Any):
        return (await self.executor.detect_drift(self.context(**options))).changes

    async def inventory(self) -> dict[str, Any]:
        payload = (await self.store.state(SERVICE, STEP).read()).payload
        return json.loads(payload) if payload else {}


def shown(planned: Planned) -> list[tuple[str, str]]:
    """A plan as short as can be."""
    return [(change.action, change.address) for change in planned.changes]
