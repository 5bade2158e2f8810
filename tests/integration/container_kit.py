"""What the tests of the container executor share: a real store, contexts made by hand."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bondstone.activities.container import ContainerExecutor
from bondstone.activities.container.section import ContainerSection
from bondstone.base.settings import Settings
from bondstone.executors.protocol import Drifted, Outcome, Planned, StepContext
from bondstone.model.service import ServiceId
from bondstone.model.step import Progress
from bondstone.store import Store

STEP = "thing"


@dataclass
class Bench:
    """One worker's view of one step: what the activities would hand to the executor."""

    root: Path
    store: Store
    settings: Settings
    image: str
    url: str
    service: ServiceId
    executor: ContainerExecutor = field(default_factory=ContainerExecutor)
    beats: list[Progress] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    attempts: itertools.count = field(default_factory=lambda: itertools.count(1))

    @classmethod
    async def open(cls, root: Path, command: str, image: str, url: str, name: str, **settings: Any) -> Bench:
        made = Settings(data=root / "data", container_engine=command, container_network="host", **settings)
        store = await Store.open(made, create_keys=True)
        return cls(root, store, made, image, f"{url}/{name}", ServiceId(team="shop", name=name))

    def context(self, *, secrets=(), attempt="", trial=False, **section: Any) -> StepContext:
        told = {"url": self.url, "colour": "blue", "version": "1", **section.pop("inputs", {})}
        declared = {"colour": {}, "version": {}}
        whole = {"image": self.image, "network": "pool", "outputs": declared, "inputs": told, **section}
        return StepContext(
            service=self.service,
            operation=1,
            step=STEP,
            section=ContainerSection.model_validate(whole),
            bundle=self.root,
            revision_digest="digest-of-the-bundle",
            state=self.store.state(self.service, STEP),
            settings=self.settings,
            attempt=attempt or f"attempt-{next(self.attempts)}",
            heartbeat=self.beats.append,
            log=self.log.append,
            secrets=frozenset(secrets),
            trial=trial,
        )

    async def plan(self, **options: Any) -> Planned:
        return await self.executor.plan(self.context(**options))

    async def apply(self, planned: Planned, **options: Any) -> Outcome:
        return await self.executor.apply(self.context(**options), planned.artefact, planned.position)

    async def provision(self, **options: Any) -> Outcome:
        return await self.apply(await self.plan(**options), **options)

    async def plan_destroy(self, **options: Any) -> Planned:
        return await self.executor.plan_destroy(self.context(**options))

    async def drift(self, **options: Any) -> Drifted:
        return await self.executor.detect_drift(self.context(**options))

    async def record(self) -> dict[str, Any]:
        payload = (await self.store.state(self.service, STEP).read()).payload
        return json.loads(payload) if payload else {}


def shown(planned: Planned) -> list[tuple[str, str]]:
    """A plan as short as can be."""
    return [(change.action, change.address) for change in planned.changes]
