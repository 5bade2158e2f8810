"""What the tests of the Ansible executor share: a bundle on disk, a real store, contexts made by hand."""

from __future__ import annotations

import itertools
import json
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bondstone.activities.ansible import AnsibleExecutor
from bondstone.activities.ansible.section import AnsibleSection
from bondstone.base.settings import Settings
from bondstone.executors.protocol import Drifted, Outcome, Planned, StepContext
from bondstone.model.service import ServiceId
from bondstone.model.step import Progress
from bondstone.store import Store
from harness.servers.hosts import Hosts

SERVICE = ServiceId(team="shop", name="web")
STEP = "setup"


def inventory(hosts: Hosts, *indices: int) -> dict[str, Any]:
    """Some of the hosts, called web0, web1, …"""
    return {"all": {"hosts": {f"web{index}": hosts.variables(index) for index in indices}}}


@dataclass
class Bench:
    """One worker's view of one step: what the activities would hand to the executor."""

    root: Path
    store: Store
    settings: Settings
    hosts: Hosts
    indices: tuple[int, ...] = (0,)
    executor: AnsibleExecutor = field(default_factory=AnsibleExecutor)
    beats: list[Progress] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    attempts: itertools.count = field(default_factory=lambda: itertools.count(1))

    @classmethod
    async def open(cls, root: Path, hosts: Hosts, *indices: int) -> Bench:
        made = Settings(data=root / "data")
        return cls(root, await Store.open(made, create_keys=True), made, hosts, indices or (0,))

    def write(self, text: str, file: str = "site.yml") -> None:
        path = self.root / "bundle" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))

    def context(
        self, *, service=SERVICE, secrets=(), attempt="", trial=False, cleanup=True, **section: Any
    ) -> StepContext:
        whole = {
            "playbook": "site.yml",
            "verify": False,  # a run of Ansible costs two seconds of CPU: one test looks at this
            "inventory": inventory(self.hosts, *self.indices),
            "private_key": self.hosts.private_key,
            "known_hosts": self.hosts.known_hosts,
            **section,
        }
        return StepContext(
            service=service,
            operation=1,
            step=STEP,
            section=AnsibleSection.model_validate(whole),
            bundle=self.root / "bundle",
            revision_digest="digest-of-the-bundle",
            state=self.store.state(service, STEP),
            settings=self.settings,
            attempt=attempt or f"attempt-{next(self.attempts)}",
            heartbeat=self.beats.append,
            log=self.log.append,
            secrets=frozenset(secrets),
            trial=trial,
            cleanup=cleanup,
        )

    async def plan(self, **options: Any) -> Planned:
        return await self.executor.plan(self.context(**options))

    async def apply(self, planned: Planned, **options: Any) -> Outcome:
        return await self.executor.apply(self.context(**options), planned.artefact, planned.position)

    async def provision(self, **options: Any) -> Outcome:
        return await self.apply(await self.plan(**options), **options)

    async def plan_destroy(self, **options: Any) -> Planned:
        return await self.executor.plan_destroy(self.context(**options))

    async def destroy(self, **options: Any) -> Outcome:
        return await self.apply(await self.plan_destroy(**options), **options)

    async def drift(self, **options: Any) -> Drifted:
        return await self.executor.detect_drift(self.context(**options))

    async def record(self) -> dict[str, Any]:
        payload = (await self.store.state(SERVICE, STEP).read()).payload
        return json.loads(payload) if payload else {}

    def home(self, index: int = 0) -> Path:
        return self.hosts.home(index)


def shown(planned: Planned) -> list[tuple[str, str]]:
    """A plan as short as can be."""
    return [(change.action, change.address) for change in planned.changes]
