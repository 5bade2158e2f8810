"""What tests of Kratix steps with a destination share: one worker's view of one step, pipelines made by hand."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from bondstone.activities.kratix import executor as kratix
from bondstone.activities.kratix.pipelines import Rendered
from bondstone.activities.kratix.section import KratixSection
from bondstone.base.settings import Settings
from bondstone.executors.protocol import Outcome, StepContext
from bondstone.model.service import ServiceId
from bondstone.store import Store

MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\ndata: {size: %s}\n"
SECTION = {
    "promise": "cache",
    "api": {"group": "example.org", "version": "v1", "kind": "Cache", "plural": "caches"},
    "object": {"apiVersion": "example.org/v1", "kind": "Cache", "metadata": {"name": "one"}},
    "configure": [{"name": "make", "containers": [{"name": "render", "image": "example.org/it"}]}],
    "delete": [{"name": "unmake", "containers": [{"name": "render", "image": "example.org/it"}]}],
    "destination": "fleet",
}


class DestinationBench:
    """One worker's view of one step whose pipelines write `files`.

    Args:
        store: Everything that is kept.
        settings: Of the worker, with the destination `fleet`.
    """

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store, self.settings = store, settings
        self.executor = kratix.KratixExecutor()
        self.files: dict[str, str] = {"make/map.yaml": MAP % "small", "make/notes.txt": "plain words\r\n"}
        self.status: dict[str, Any] = {"message": "a small one"}
        self.log: list[str] = []
        self.actions: list[str] = []

    def context(self, secrets: tuple[str, ...] = (), **changes: Any) -> StepContext:
        service = ServiceId(team="shop", name="web")
        return StepContext(
            service=service, operation=1, step="main", section=KratixSection.model_validate(SECTION | changes),
            bundle=Path("/nowhere"), revision_digest="r", state=self.store.state(service, "main"),
            settings=self.settings, attempt=f"attempt-{os.urandom(4).hex()}", heartbeat=lambda _: None,
            log=self.log.append, secrets=frozenset(secrets),
        )  # fmt: skip

    async def rendered(self, _context: StepContext, action: str) -> Rendered:
        """What stands in for containers: `bondstone.activities.kratix.executor._rendered`."""
        self.actions.append(action)
        return Rendered((), self.status, (), dict(self.files))

    async def plan(self, **options: Any) -> Any:
        return await self.executor.plan(self.context(**options))

    async def plan_destroy(self) -> Any:
        return await self.executor.plan_destroy(self.context())

    async def apply(self, planned: Any) -> Outcome:
        return await self.executor.apply(self.context(), planned.artefact, planned.position)

    async def provision(self) -> Outcome:
        return await self.apply(await self.plan())


def actions(planned: Any) -> list[tuple[str, str]]:
    """What a plan does to each file."""
    return [(change.action, change.address) for change in planned.changes]
