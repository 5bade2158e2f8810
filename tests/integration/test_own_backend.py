"""`backend: own`: the state stays in the module's own backend; real Terraform, a local backend and PostgreSQL."""

from __future__ import annotations

import asyncio
import dataclasses
import fcntl
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from terraform_kit import BINARIES, Bench, chain, lines

from bondstone.activities.terraform import command
from bondstone.activities.terraform.section import TerraformSection
from bondstone.base.errors import InvalidInput, PlanStale, ToolUnavailable
from bondstone.executors.protocol import Outcome, Planned, StepContext
from bondstone.store.state.fence import Kind
from harness.servers.postgres import USER
from harness.waiting import until

pytestmark = pytest.mark.integration


@dataclass
class Own:
    """A step whose module has a backend block of its own."""

    bench: Bench
    kind: str
    config: dict[str, Any]

    @property
    def file(self) -> Path:
        """Where the local backend keeps the state."""
        return Path(self.config["path"])

    def write(self, module: str) -> None:
        self.bench.write(f'terraform {{\n  backend "{self.kind}" {{}}\n}}\n{module}')

    def context(self, **variables: object) -> StepContext:
        plain = self.bench.context(**variables)
        section = TerraformSection(
            module=plain.section.module, variables=variables, backend="own", backend_config=self.config
        )
        return dataclasses.replace(plain, section=section)

    async def plan(self, **variables: object) -> Planned:
        return await self.bench.executor.plan(self.context(**variables))

    async def apply(self, planned: Planned, **variables: object) -> Outcome:
        return await self.bench.executor.apply(self.context(**variables), planned.artefact, planned.position)


@pytest.fixture
async def local(tmp_path: Path) -> Own:
    bench = await Bench.open(tmp_path, BINARIES[0])
    return Own(bench, "local", {"path": str(tmp_path / "elsewhere" / "orders.tfstate")})


@pytest.fixture(params=["local", "pg"])
async def local_or_pg(request: pytest.FixtureRequest, local: Own) -> Own:
    if request.param == "pg":
        server = request.getfixturevalue("postgres")
        address = f"postgres://{USER}:{server.password}@127.0.0.1:{server.port}/postgres?sslmode=disable"
        local.kind, local.config = "pg", {"conn_str": address, "schema_name": f"own_{uuid.uuid4().hex[:8]}"}
    return local


@contextmanager
def held(file: Path) -> Iterator[None]:
    """The lock that Terraform's local backend takes, taken by somebody else."""
    with file.open("a+b") as opened:
        fcntl.lockf(opened, fcntl.LOCK_EX)
        yield


async def kept_by_the_platform(bench: Bench) -> tuple[bytes | None, set[Kind]]:
    """The payload in the state log, and the kinds of its entries."""
    return (await bench.state.read()).payload, {entry.kind for entry in await bench.state.entries()}


async def test_a_step_lives_its_life_with_its_state_elsewhere(local_or_pg, tmp_path):
    made = tmp_path / "made"
    local_or_pg.write(chain(2))
    how = {"made": str(made), "pause": 0}
    planned = await local_or_pg.plan(**how)
    assert (len(planned.changes), planned.position, planned.empty) == (2, 0, False)
    outcome = await local_or_pg.apply(planned, **how)
    assert outcome.outputs["last"].value
    assert lines(made) == ["0", "1"]
    assert await kept_by_the_platform(local_or_pg.bench) == (None, {Kind.CLAIM, Kind.RELEASE})
    again = await local_or_pg.plan(**how)
    assert again.empty, "the next attempt finds the state in its backend"
    assert (await local_or_pg.apply(again, **how)).outputs == outcome.outputs
    assert not (await local_or_pg.bench.executor.detect_drift(local_or_pg.context(**how))).changes
    gone = await local_or_pg.bench.executor.plan_destroy(local_or_pg.context(**how))
    assert {change.action for change in gone.changes} == {"delete"}
    await local_or_pg.apply(gone, **how)
    assert (await local_or_pg.bench.executor.plan_destroy(local_or_pg.context(**how))).empty
    assert local_or_pg.bench.left_behind() == []


async def test_a_plan_is_stale_when_somebody_else_has_moved_the_state(local_or_pg, tmp_path):
    local_or_pg.write(chain(1))
    how = {"made": str(tmp_path / "made"), "pause": 0}
    first, second = await local_or_pg.plan(**how), await local_or_pg.plan(**how)
    await local_or_pg.apply(first, **how)
    with pytest.raises(PlanStale):
        await local_or_pg.apply(second, **how)
    assert lines(tmp_path / "made") == ["0"]


async def test_the_state_is_where_the_configuration_says_and_nowhere_else(local, tmp_path):
    local.write(chain(1))
    how = {"made": str(tmp_path / "made"), "pause": 0}
    await local.apply(await local.plan(**how), **how)
    state = json.loads(local.file.read_bytes())
    assert [item["name"] for item in state["resources"]] == ["thing_0"]
    assert local.bench.left_behind() == []


async def test_the_lock_of_the_backend_is_obeyed(local, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "LOCK_SECONDS", 1)
    local.write(chain(1))
    how = {"made": str(tmp_path / "made"), "pause": 0}
    planned = await local.plan(**how)
    local.file.parent.mkdir(exist_ok=True)
    with held(local.file), pytest.raises(ToolUnavailable) as caught:
        await local.apply(planned, **how)
    assert "force-unlock" in caught.value.hint
    assert caught.value.transient
    assert lines(tmp_path / "made") == []


async def test_an_interrupted_apply_leaves_its_state_in_the_backend_and_the_rest_is_made_later(
    local_or_pg, tmp_path
):
    made = tmp_path / "made"
    local_or_pg.write(chain(4))
    how = {"made": str(made), "pause": 0.5}
    applying = asyncio.create_task(local_or_pg.apply(await local_or_pg.plan(**how), **how))
    await until(lambda: len(lines(made)) >= 2)
    applying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await applying
    rest = await local_or_pg.plan(**how)
    assert 0 < len(rest.changes) < 4, "what was made is known"
    await local_or_pg.apply(rest, **how)
    assert set(lines(made)) == {"0", "1", "2", "3"}
    assert await kept_by_the_platform(local_or_pg.bench) == (None, {Kind.CLAIM, Kind.RELEASE})


async def test_a_local_backend_that_would_be_thrown_away_is_refused(local, tmp_path):
    local.write(chain(1))
    local.config = {"path": "beside.tfstate"}
    with pytest.raises(InvalidInput, match="is deleted after each run"):
        await local.plan(made=str(tmp_path / "made"), pause=0)


async def test_a_test_of_a_promise_does_not_touch_the_backend(local, tmp_path):
    local.write(chain(1))
    how = {"made": str(tmp_path / "made"), "pause": 0}
    context = dataclasses.replace(local.context(**how), trial=True)
    planned = await local.bench.executor.plan(context)
    again = dataclasses.replace(local.context(**how), trial=True)
    await local.bench.executor.apply(again, planned.artefact, planned.position)
    assert not local.file.exists()
    assert (await local.bench.state.read()).payload
