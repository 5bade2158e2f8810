"""The drill of docs/how-to/back-up-and-restore.md: back up, destroy, restore elsewhere, go on."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from obstore.store import from_url
from platforms import PROMISES, publish

from bondstone.base.settings import Settings
from bondstone.client import Operation
from bondstone.client.direct.client import DirectClient
from bondstone.model.service import OperationStatus, Phase
from harness.compose import Compose
from harness.pinned import ROOT, ToolMissing
from harness.servers import composed
from harness.servers.composed import Composed
from harness.waiting import until_async
from tools import compose_secrets

pytestmark = pytest.mark.integration

SECONDS = 240
WITHOUT_MEMBERS = "--exclude-table-data=cluster_membership"
"""A new server would take the members of the old one for its own, and wait for them."""

DATABASES = ("temporal", "temporal_visibility")


@pytest.fixture(scope="module")
def variables() -> dict[str, str]:
    """What is in `.env`; it is kept with the key rings."""
    lines = compose_secrets.content().splitlines()
    return {**dict(line.split("=", 1) for line in lines), "BOND_DRAIN_SECONDS": "2"}


@contextmanager
def platform(variables: dict[str, str], **how) -> Iterator[Composed]:
    directory = Path(tempfile.mkdtemp(prefix="bond-backup-"))
    directory.chmod(0o711)
    try:
        with composed.running(directory, Compose.read(ROOT / "docker-compose.yml", variables), **how) as running:
            yield running
    except ToolMissing as error:
        pytest.skip(str(error))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def environment(running: Composed, patch: pytest.MonkeyPatch) -> Settings:
    for name, value in running.environment(running.compose.services["bond"], "bond").items():
        patch.setenv(name, value)
    return Settings.load()


async def succeeds(operation: Operation) -> None:
    async with asyncio.timeout(SECONDS):
        record = await operation.wait(through_approvals=True)
    assert record.status is OperationStatus.SUCCEEDED, record.error


class Backup:
    """As the page says: the databases, then the objects; the key rings apart."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._objects: dict[str, bytes] = {}

    def take(self, running: Composed, settings: Settings) -> None:
        for database in DATABASES:
            file = self._directory / database
            running.postgres.run("pg_dump", "--format=custom", WITHOUT_MEMBERS, f"--file={file}", database)
        store = from_url(settings.store_url)
        for page in store.list():
            for info in page:
                self._objects[info["path"]] = bytes(store.get(info["path"]).bytes())
        shutil.copytree(running.directory / "volumes" / "keys", self._directory / "keys")

    def restore_databases(self, running: Composed) -> None:
        for database in DATABASES:
            running.postgres.run("createdb", database)
            running.postgres.run("pg_restore", f"--dbname={database}", str(self._directory / database))

    def restore_objects_and_keys(self, running: Composed) -> None:
        shutil.copytree(self._directory / "keys", running.directory / "volumes" / "keys", dirs_exist_ok=True)
        with pytest.MonkeyPatch.context() as patch:
            store = from_url(environment(running, patch).store_url)
            for key, content in self._objects.items():
                store.put(key, content)


async def lived(settings: Settings) -> str:
    """A service that is ready, and one that waits for people; the id of what waits."""
    async with DirectClient.connect(settings, by="ada") as bond:
        await publish(bond, PROMISES / "patient")
        await succeeds(await bond.services.request("patient", "payments/kept", {"password": "correct horse"}))
        waiting = await bond.services.request("patient", "payments/waits", ask=True)
        await until_async(bond.approvals.list, "it waits for people")
        return waiting.id


async def goes_on(settings: Settings, waiting: str) -> None:
    async with DirectClient.connect(settings, by="grace") as bond:
        assert (await bond.services.get("payments/kept")).phase is Phase.READY
        assert (await bond.services.outputs("payments/kept", reveal=True))["password"] == "correct horse"
        await succeeds(await bond.services.update("payments/kept", {"size": "medium"}))
        await succeeds(await bond.services.decommission("payments/kept"))
        kinds = [str(record.operation_kind) for record in await bond.services.history("payments/kept")]
        assert kinds == ["provision", "update", "decommission"]
        operation = bond.operation(waiting)

        async def approved_to_its_end() -> bool:
            for gate in await bond.approvals.list():
                await operation.approve(gate.digest, step=gate.step)
            return (await bond.operations.record(operation.id)).status is OperationStatus.SUCCEEDED

        await until_async(approved_to_its_end, "what waited has ended")
        assert (await bond.services.get("payments/waits")).phase is Phase.READY


def test_a_platform_that_was_destroyed_goes_on_from_its_backup(variables, tmp_path, monkeypatch):
    backup = Backup(tmp_path)
    with platform(variables) as first:
        settings = environment(first, monkeypatch)
        waiting = asyncio.run(lived(settings))
        backup.take(first, settings)
    restoring = {"temporal-schema": backup.restore_databases, "setup": backup.restore_objects_and_keys}
    with platform(variables, before=restoring) as second:
        asyncio.run(goes_on(environment(second, monkeypatch), waiting))
