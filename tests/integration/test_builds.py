"""A new build of the control workers takes over under load: nothing is lost, each operation is done once.

Workers are processes against a real server, in a namespace of their own: which build is current is a matter of the
namespace. "Builds" are one source under two names; what Temporal does with them depends on the name alone, and
the histories say which build completed each workflow task.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

import jsonschema_rs
import pytest
from platforms import PROMISES, SCHEMAS, publish, refused
from temporalio.client import Client

from bondstone.base.settings import Settings
from bondstone.client import Operation
from bondstone.client.direct.client import DirectClient
from bondstone.model.service import OperationRecord, OperationStatus
from bondstone.store import Store
from bondstone.temporal.connection import ensure_namespace
from harness.servers import workers
from harness.servers.process import Server
from harness.waiting import until, until_async

pytestmark = pytest.mark.integration

SECONDS = 240
CAMPAIGN = """
apiVersion: bondstone.dev/v1
kind: Campaign
metadata: {name: quiet, owner: t, reason: looking for drift}
spec:
  operation: reconcile
  promise: held
  select: {where: 'name in ["idle", "other"]'}
  waves:
    - {name: first, count: 1, soak: 1h}
    - {name: rest, rest: true}
"""
THINGS = ("thing_0", "thing_1", "thing_2")


on = partial(pytest.mark.parametrize, "settings", indirect=True, scope="module")
"""The kinds of servers that a test runs on."""


@pytest.fixture(scope="module")
def settings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A platform without workers, in a new namespace of a kind of server; one for each parameter."""
    dev = request.param != "production"
    address = request.getfixturevalue("temporal_address" if dev else "production_temporal")
    return asyncio.run(_prepare(address if dev else address.address, tmp_path_factory.mktemp("builds")))


async def _prepare(address: str, data: Path) -> Settings:
    settings = Settings(
        data=data,
        temporal_address=address,
        temporal_namespace=f"builds-{secrets.token_hex(4)}",
        drain_seconds=20,
    )
    async with asyncio.timeout(SECONDS):
        await ensure_namespace(await _client(settings), timedelta(days=1))
    await Store.open(settings, create_keys=True)
    async with DirectClient.connect(settings, by="ada") as bond:
        await publish(bond, PROMISES / "held")
    return settings


async def _client(settings: Settings) -> Client:
    return await until_async(
        lambda: Client.connect(settings.temporal_address, namespace=settings.temporal_namespace),
        "Temporal serves",
        not_yet=(RuntimeError,),
    )


@pytest.fixture(scope="module")
def executor(settings: Settings) -> Iterator[None]:
    """One executor worker: it has no build, and works for all of them."""
    directory = settings.data / "executor"
    directory.mkdir()
    with workers.running(directory, settings, control=0):
        yield


@pytest.fixture
async def bond(settings: Settings, executor: None) -> AsyncIterator[DirectClient]:
    async with DirectClient.connect(settings, by="ada") as client:
        yield client


@contextmanager
def build(settings: Settings, name: str) -> Iterator[Server]:
    """A control worker of a build."""
    directory = settings.data / name
    directory.mkdir(exist_ok=True)
    told = settings.changed(build_id=name)
    with workers.running(directory, told, control=1, executors=()) as servers:
        yield servers["control-1"]


async def leaves(worker: Server) -> int:
    """Tell a worker to stop; its exit status."""
    process = worker.process
    assert process is not None
    os.kill(process.pid, signal.SIGTERM)
    return await asyncio.to_thread(process.wait, SECONDS)


async def holds(bond: DirectClient, name: str, services: int, operations: int, campaigns: int = 0) -> None:
    """Wait until a build holds just this."""
    wanted = {"services": services, "operations": operations, "campaigns": campaigns}

    async def just_this() -> bool:
        [result] = [each for each in await bond.workers.list() if each.build == name]
        return result.holds.model_dump() == wanted

    await until_async(just_this, f"{name} holds {wanted}", seconds=SECONDS)


async def asks(bond: DirectClient, operation: str) -> str:
    """Wait until an operation waits for somebody; the digest of its plan."""

    async def digest() -> str:
        record = await bond.operations.record(operation)
        assert not record.status.ended, record.error
        return next((each.digest for each in record.approvals if each.status == "waiting"), "")

    return await until_async(digest, f"{operation} waits for people", seconds=SECONDS)


async def soaks(bond: DirectClient) -> None:
    """Wait until the first wave of the campaign has succeeded."""

    async def one_has() -> bool:
        return (await bond.campaigns.get("quiet")).counts.get("succeeded") == 1

    await until_async(one_has, "the first wave has succeeded", seconds=SECONDS)


async def approve(settings: Settings, operation: str, plan: str) -> None:
    async with DirectClient.connect(settings, by="grace") as grace:
        await grace.operation(operation).approve(plan, step="things", roles=["dba"])


async def ends(bond: DirectClient, operation: str) -> OperationRecord:
    async with asyncio.timeout(SECONDS):
        record = await bond.operations.ended(operation)
    assert record.status is OperationStatus.SUCCEEDED, record.error
    return record


async def ran_on(bond: DirectClient, workflow: str) -> list[str]:
    """The builds that completed a run's workflow tasks, in order; waits for the first of a run that just began."""
    collected: list[str] = []
    async with asyncio.timeout(SECONDS):
        while not collected:
            async for event in (
                (await bond.connection.temporal()).get_workflow_handle(workflow).fetch_history_events()
            ):
                done = event.workflow_task_completed_event_attributes
                name = done.deployment_version.build_id
                if event.HasField("workflow_task_completed_event_attributes") and collected[-1:] != [name]:
                    collected.append(name)
    return collected


def made_once(file: Path) -> bool:
    """Whether each thing was begun and made, and none twice."""
    return sorted(file.read_text().split()) == sorted([*("begun", "made") * 3, *THINGS * 2])


@on(["without-builds"])
async def test_workers_are_replaced_one_by_one_under_load_and_then_by_a_first_build(
    settings: Settings, tmp_path: Path
) -> None:
    started: list[Server] = []
    requests: list[Operation] = []

    async def start() -> list[Server]:
        new = []
        for kind in ("executor", "executor", "control", "control"):
            name = f"{kind}-{len(started)}"
            new.append(workers.worker(tmp_path, name, kind, settings.changed(work=tmp_path / name)))
            started.append(new[-1])
            new[-1].launch()  # not in a thread: it would end with that
        for server in new:
            await asyncio.to_thread(server.wait)
        return new

    async def load(bond: DirectClient) -> None:
        while True:
            name = f"busy-{len(requests)}"
            requests.append(
                await bond.services.request("held", f"t/{name}", {"made": str(tmp_path / name), "pause": "0.5"})
            )
            await asyncio.sleep(1)

    try:
        fleet = await start()
        async with DirectClient.connect(settings, by="ada") as bond:
            loading = asyncio.create_task(load(bond))
            *_, third, fourth = await start()
            for number, old in enumerate(fleet, start=1):
                await until(lambda number=number: len(requests) >= number, "one more request")
                assert await leaves(old) == 0
            loading.cancel()
            for operation in requests:
                await ends(bond, operation.id)
                assert made_once(tmp_path / operation.id.split("/")[1])

            # The first build of a platform that had none takes over what waits, too.
            gated = await bond.services.request(
                "held", "t/gated", {"made": str(tmp_path / "gated"), "gated": True}
            )
            plan = await asks(bond, gated.id)
            with build(settings, "first"):
                await bond.workers.promote("first")
                assert [await leaves(old) for old in (third, fourth)] == [0, 0]
                await approve(settings, gated.id, plan)
                await ends(bond, gated.id)
                assert await ran_on(bond, f"service/{gated.id}") == ["", "first"]
                assert made_once(tmp_path / "gated")
    finally:
        for server in started:
            server.kill()


@on(["dev", "production"])
async def test_a_new_build_takes_over_under_load_and_nothing_is_lost_or_done_twice(
    bond: DirectClient, settings: Settings, tmp_path: Path
) -> None:
    def inputs(name: str, **others: object) -> dict[str, object]:
        return {"made": str(tmp_path / name), **others}

    with build(settings, "a") as old, build(settings, "b") as new:
        await bond.workers.promote("a")
        for request in [
            await bond.services.request("held", f"t/{name}", inputs(name)) for name in ("idle", "other", "third")
        ]:
            await ends(bond, request.id)
        gated = await bond.services.request("held", "t/gated", inputs("gated", gated=True))
        plan = await asks(bond, gated.id)
        await bond.campaigns.run(CAMPAIGN.encode(), "campaign.yaml")
        await soaks(bond)
        done = tmp_path / "done"
        busy = [
            await bond.services.request("held", f"t/busy-{n}", inputs(f"busy-{n}", until=str(done)))
            for n in range(3)
        ]
        files = [tmp_path / f"busy-{n}" for n in range(3)]
        await until(lambda: all(file.exists() for file in files), "the first thing of each service is being made")
        behind = await bond.services.update("t/busy-0", {"value": "two"})

        await bond.workers.promote("b")
        early = await bond.services.update("t/third", {"value": "two"})
        in_flight = [not (await bond.operations.record(operation.id)).status.ended for operation in busy]
        assert in_flight == [True] * 3
        done.touch()
        for operation in (*busy, behind, early):
            await ends(bond, operation.id)
        # Idle ones too, and a campaign that waits: nobody has asked anything of them.
        await holds(bond, "a", services=1, operations=1)
        for waiting in ("service/t/idle", "campaign/quiet"):
            assert await ran_on(bond, waiting) == ["b"]
        await bond.campaigns.next_wave("quiet")
        async with asyncio.timeout(SECONDS):
            assert (await bond.campaigns.wait("quiet", through_approvals=True)).counts == {"succeeded": 2}

        await approve(settings, gated.id, plan)
        await ends(bond, gated.id)
        await holds(bond, "a", services=0, operations=0)
        assert await leaves(old) == 0
        update = await bond.services.update("t/busy-1", {"value": "two"})
        await ends(bond, update.id)

        for request in (gated, *busy):
            assert await ran_on(bond, f"service/{request.id}") == ["a"], "an operation ends where it began"
        for request in (behind, early, update):
            assert await ran_on(bond, f"service/{request.id}") == ["b"]
        for name in ("idle", "gated", "third", *(f"busy-{n}" for n in range(3))):
            assert await ran_on(bond, f"service/t/{name}") == ["b"]
            records = await bond.services.history(f"t/{name}")
            numbers = [record.operation for record in records if record.kind == "operation"]
            once = [f"t/{name}/op/{number + 1}" for number in range(len(numbers))]
            assert numbers == once, "the ledger has each once"
        for name in ("idle", "gated", "busy-2"):
            assert made_once(tmp_path / name), (tmp_path / name).read_text()
        assert await leaves(new) == 0


@on(["dev"])
async def test_the_command_ramps_takes_back_and_evicts_what_a_lost_build_held_in_the_middle_of_its_run(
    bond: DirectClient, settings: Settings, tmp_path: Path
) -> None:
    with build(settings, "c") as lost, build(settings, "d"):
        assert "there is no build 'e'" in refused(_bond(settings, "promote", "e"), "NOT_FOUND")["message"]
        await bond.workers.promote("c")
        assert "gets new work" in refused(_bond(settings, "evict", "c"), "REFUSED")["message"]
        result = _listed(_bond(settings, "promote", "d", "--percent", "25"))
        assert (result["d"]["status"], result["d"]["percent"]) == ("ramping", 25)
        assert (result["c"]["status"], result["c"]["workers"]) == ("current", 1)
        await bond.workers.promote("c")
        assert [each.status for each in await bond.workers.list() if each.build in "cd"] == ["current", "draining"]

        operation = await bond.services.request(
            "held", "t/stranded", {"made": str(tmp_path / "made"), "gated": True}
        )
        plan = await asks(bond, operation.id)
        lost.kill()
        await bond.workers.promote("d")
        await holds(bond, "c", services=1, operations=1)
        evicted = json.loads(_bond(settings, "evict", "c").stdout)
        assert (evicted["to"], evicted["moved"]) == ("d", {"services": 1, "operations": 1, "campaigns": 0})
        await approve(settings, operation.id, plan)
        await ends(bond, operation.id)
        assert await ran_on(bond, f"service/{operation.id}") == ["c", "d"]
        assert made_once(tmp_path / "made")
        await holds(bond, "c", services=0, operations=0)


def _bond(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bondstone.cli.app", "worker", *arguments, "-o", "json"],
        env={**os.environ, **settings.as_environment()},
        capture_output=True,
        text=True,
        check=False,
    )


def _listed(ran: subprocess.CompletedProcess[str]) -> dict[str, dict]:
    """What `bond worker list -o json` says, checked against its schema, by build."""
    assert ran.returncode == 0, ran.stderr
    document: list[dict] = json.loads(ran.stdout)
    schema = json.loads((SCHEMAS / "worker-list.json").read_text())
    jsonschema_rs.validator_for(schema, validate_formats=True).validate(document)
    return {each["build"]: each for each in document}
