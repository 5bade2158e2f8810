"""The main job as in production: Temporal on PostgreSQL, objects on S3, two control and two executor workers."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from platforms import PROMISES, publish

from bondstone.base.errors import SettingsInvalid, Unreachable
from bondstone.base.settings import Settings
from bondstone.client.direct.client import DirectClient
from bondstone.model.service import OperationRecord, OperationStatus
from bondstone.store import Store
from harness.servers import workers
from harness.servers.postgres import Postgres
from harness.servers.process import Server, ServerFailed
from harness.servers.s3 import S3
from harness.servers.temporal import ProductionTemporal
from harness.waiting import until_async

pytestmark = pytest.mark.integration

SECONDS = 240


@pytest.fixture(scope="module")
def settings(
    production_temporal: ProductionTemporal, s3: S3, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """What clients and workers of this platform are told; the credentials of its S3 are in the environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3.environment.items():
            patch.setenv(name, value)
        settings = Settings(
            data=tmp_path_factory.mktemp("production"),
            store=f"{s3.new_bucket()}/bond",
            temporal_address=production_temporal.address,
            temporal_namespace=production_temporal.namespace,
            drain_seconds=2,
        )
        asyncio.run(_prepare(settings))
        yield settings


async def _prepare(settings: Settings) -> None:
    await Store.open(settings, create_keys=True)
    async with DirectClient.connect(settings, by="ada") as bond:
        await publish(bond, PROMISES / "patient")


@pytest.fixture(scope="module")
def fleet(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    directory = tmp_path_factory.mktemp("fleet")
    with workers.running(
        directory, settings, control=2, executors=[("default",), ("default", "other")]
    ) as servers:
        yield servers


@pytest.fixture
async def bond(settings: Settings, fleet: dict[str, Server]):
    async with DirectClient.connect(settings, by="ada") as client:
        yield client


async def ended(bond: DirectClient, operation_id: str) -> OperationRecord:
    async with asyncio.timeout(SECONDS):
        record = await bond.operations.ended(operation_id)
    assert record.status is OperationStatus.SUCCEEDED, record.error
    return record


async def test_a_service_is_provisioned_updated_and_decommissioned(bond: DirectClient) -> None:
    operation = await bond.services.request("patient", "payments/one", {"password": "correct horse"})
    await ended(bond, operation.id)
    assert (await bond.services.outputs("payments/one", reveal=True))["password"] == "correct horse"
    await ended(bond, (await bond.services.update("payments/one", {"size": "medium"})).id)
    assert (await bond.services.get("payments/one")).outputs["size"] == "medium"
    await ended(bond, (await bond.services.decommission("payments/one")).id)
    kinds = [record.operation_kind for record in await bond.services.history("payments/one")]
    assert [str(kind) for kind in kinds] == ["provision", "update", "decommission"]


async def test_services_are_found_by_the_search_attributes_of_sql_visibility(bond: DirectClient) -> None:
    operation = await bond.services.request("patient", "found/two", {"pool": "other"})
    await ended(bond, operation.id)
    rows = await until_async(lambda: bond.services.list(team="found", phase="ready"), "visibility lists it")
    assert [row.name for row in rows] == ["two"]


async def test_an_operation_outlives_kill_9_of_temporal_and_of_its_database(
    bond: DirectClient, production_temporal: ProductionTemporal, postgres: Postgres
) -> None:
    operation = await bond.services.request("patient", "payments/three", {"seconds": 3})
    await asyncio.to_thread(production_temporal.server.kill)
    await asyncio.to_thread(postgres.server.kill)
    # Not in a thread: a server dies with the thread that started it, and those of this loop end with the test.
    postgres.server.start()
    production_temporal.server.start()
    await ended(bond, operation.id)


async def test_a_worker_says_what_is_wrong_with_its_store_and_does_not_start(settings: Settings, tmp_path: Path):
    environment = {"AWS_CONDITIONAL_PUT": "disabled"}
    with pytest.raises(ServerFailed, match="AWS_CONDITIONAL_PUT is set to disabled"):
        await asyncio.to_thread(_run_workers, tmp_path, settings, environment)
    assert SettingsInvalid.__name__ not in (tmp_path / "control-1.log").read_text(), "no traceback"


def _run_workers(directory: Path, settings: Settings, environment: dict[str, str]) -> None:
    with workers.running(directory, settings, environment, executors=[]):
        pass


def test_workers_leave_in_order_when_told_to(settings: Settings, tmp_path: Path) -> None:
    with workers.running(tmp_path, settings) as servers:
        processes = [server.process for server in servers.values() if server.process]
        for process in processes:
            os.kill(process.pid, signal.SIGTERM)
        assert [process.wait(60) for process in processes] == [0, 0]


def test_rule_9_a_command_says_one_thing_while_the_database_is_away(
    settings: Settings, postgres: Postgres
) -> None:
    postgres.server.kill()
    try:
        ran = subprocess.run(
            [sys.executable, "-m", "bondstone.cli.app", "service", "list", "-o", "json"],
            env={**os.environ, **settings.as_environment()},
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
    finally:
        postgres.server.start()
    [line] = ran.stderr.splitlines()
    assert ran.stdout == ""
    assert (json.loads(line)["error"]["code"], ran.returncode) == (Unreachable.code, Unreachable.exit_code)
