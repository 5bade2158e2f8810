"""Rule 2: kill anything at any moment. Nothing is lost, nothing stays locked, and nobody has to clean up.

Each test has one service in the middle of its apply, or two, the other in the middle of its plan, and kills. The
things that the services make count themselves, see `promises/counting`.
"""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from platforms import PROMISES, LocalPlatform, publish, running, until

from bondstone.activities.executors import DIED
from bondstone.client import Operation
from bondstone.client.direct.client import DirectClient
from bondstone.model.service import OperationStatus, Phase, ServiceId, StepRecord
from bondstone.store.state.fence import Kind

pytestmark = [pytest.mark.integration, pytest.mark.kills]

THINGS = [f"thing_{number}" for number in range(6)]
STEP = "things"
READY_SECONDS = 240
"""A killed worker is missed after 30 s without a heartbeat; the rest is the work itself, on a busy machine."""


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPlatform]:
    with running(tmp_path_factory.mktemp("kills") / "data") as platform:
        yield platform


@pytest.fixture
async def bond(platform: LocalPlatform) -> AsyncIterator[DirectClient]:
    async with platform.client() as bond:
        await publish(bond, PROMISES / "counting")
        yield bond


class Counting:
    """A service whose things count themselves."""

    def __init__(self, platform: LocalPlatform, bond: DirectClient, root: Path) -> None:
        self.id = ServiceId(team="payments", name=f"svc-{uuid.uuid4().hex[:8]}")
        self._platform = platform
        self._bond = bond
        self._made = root / f"{self.id.name}.txt"
        self._gate = root / f"{self.id.name}.gate"
        self._held: int | None = None

    async def request(self, *, gated: bool = False) -> Operation:
        """Ask for it; a gated one stays in its plan until `open_gate`."""
        if gated:
            os.mkfifo(self._gate)
        else:
            self._gate.write_text("open")
        inputs = {"made": str(self._made), "gate": str(self._gate)}
        return await self._bond.services.request("counting", str(self.id), inputs)

    async def in_plan(self) -> None:
        """Wait until Terraform reads the gate while it plans."""
        await until(self._reads_gate, what=f"{self.id} plans")

    def open_gate(self) -> None:
        """Let this plan, if it still lives, and all later ones pass."""
        assert self._held is not None
        regular = self._gate.with_suffix(".open")
        regular.write_text("open")
        regular.replace(self._gate)
        with suppress(BrokenPipeError):
            os.write(self._held, b"open")
        os.close(self._held)

    async def in_apply(self, thing: str = "thing_2") -> None:
        """Wait until this thing is being made."""
        await until(lambda: self.count("begun")[thing], what=f"{self.id} makes {thing}")

    def count(self, what: str) -> Counter[str]:
        """How often each thing was begun, made or gone."""
        text = self._made.read_text() if self._made.exists() else ""
        return Counter(name for word, name in map(str.split, text.splitlines()) if word == what)

    def twice(self, what: str) -> int:
        """How many things too many."""
        return sum(times - 1 for times in self.count(what).values())

    def terraform(self) -> int:
        """The Terraform that applies for it."""
        runs = self._platform.settings.work_dir / "runs" / self.id.team / self.id.name / STEP
        (record,) = runs.glob("*.apply/attempt.json")
        return int(json.loads(record.read_text())["pid"])

    async def becomes_ready(self, operation: Operation) -> StepRecord:
        """With no hand, all things made, nothing locked; what the operation says of its step."""
        async with asyncio.timeout(READY_SECONDS):
            record = await operation.wait()
        assert record.status is OperationStatus.SUCCEEDED, record.error
        state = await self._bond.services.get(str(self.id))
        assert (state.phase, state.outputs) == (Phase.READY, {"last": "thing_5"})
        assert set(self.count("made")) == set(THINGS)
        await self._nothing_is_left()
        return record.steps[0]

    async def goes_away(self) -> None:
        """The next operation works, and takes away what was made."""
        async with asyncio.timeout(READY_SECONDS):
            record = await (await self._bond.services.decommission(str(self.id))).wait()
        assert record.status is OperationStatus.SUCCEEDED, record.error
        assert self.count("gone") == Counter(THINGS)
        await self._nothing_is_left()

    async def _nothing_is_left(self) -> None:
        entries = await (await self._bond.connection.store()).state(self.id, STEP).entries()
        assert entries[-1].kind is Kind.RELEASE
        work = self._platform.settings.work_dir
        assert not list((work / "runs" / self.id.team / self.id.name).glob("*/*"))
        assert not list((work / "orphans").glob("*"))

    def _reads_gate(self) -> bool:
        try:
            self._held = os.open(self._gate, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # ENXIO: nobody reads it
            return False
        return True


@pytest.fixture
def new_service(platform: LocalPlatform, bond: DirectClient, tmp_path: Path):
    return lambda: Counting(platform, bond, tmp_path)


async def test_rule_2_the_executor_worker_dies_while_one_service_plans_and_another_applies(platform, new_service):
    planning, applying = new_service(), new_service()
    plan = await planning.request(gated=True)
    apply = await applying.request()
    await planning.in_plan()
    await applying.in_apply()
    terraform, worker = applying.terraform(), platform.pid("executor")
    platform.kill(worker)
    await until(lambda: not psutil.pid_exists(terraform), what="its Terraform has stopped by itself")
    planning.open_gate()
    _, step = await asyncio.gather(planning.becomes_ready(plan), applying.becomes_ready(apply))
    assert step.changes.create == len(THINGS), "what all attempts made, added up"
    assert step.earlier_attempts == (DIED,)
    assert platform.pid("executor") != worker
    assert (planning.twice("begun"), applying.twice("made")) == (0, 0)
    # Terraform stops at once when its worker dies, and the thing it was making begins again.
    assert applying.twice("begun") <= 1
    await asyncio.gather(planning.goes_away(), applying.goes_away())


async def test_rule_2_terraform_dies_while_it_applies(platform, new_service):
    service = new_service()
    operation = await service.request()
    await service.in_apply()
    platform.kill(service.terraform())
    step = await service.becomes_ready(operation)
    assert step.changes.create == len(THINGS)
    assert "was killed by signal 9" in step.earlier_attempts[0]
    assert service.twice("begun") <= 1, "no more than the one that was being made"
    assert service.twice("made") == 0
    await service.goes_away()


async def test_rule_2_the_control_workers_die_while_a_service_applies(platform, new_service):
    service = new_service()
    operation = await service.request()
    await service.in_apply()
    workers = platform.workers("control")
    platform.kill(*workers.values())
    await service.becomes_ready(operation)
    assert not set(workers.values()) & set(platform.workers("control").values())
    assert service.twice("begun") == 0
    await service.goes_away()


async def test_rule_2_the_temporal_server_dies_while_a_service_applies(platform, new_service):
    service = new_service()
    operation = await service.request()
    await service.in_apply()
    server = platform.pid("temporal")
    platform.kill(server)
    await service.becomes_ready(operation)
    assert platform.pid("temporal") != server
    assert service.twice("begun") == 0
    await service.goes_away()


async def test_rule_2_the_whole_platform_dies_while_one_service_plans_and_another_applies(platform, new_service):
    planning, applying = new_service(), new_service()
    plan = await planning.request(gated=True)
    apply = await applying.request()
    await planning.in_plan()
    await applying.in_apply()
    platform.kill_everything()
    planning.open_gate()
    platform.up()
    await asyncio.gather(planning.becomes_ready(plan), applying.becomes_ready(apply))
    assert (planning.twice("begun"), applying.twice("made")) == (0, 0)
    assert applying.twice("begun") <= 1
    await asyncio.gather(planning.goes_away(), applying.goes_away())
