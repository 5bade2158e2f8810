"""The activity `health.probe`: which probes it looks at, how often, and for how long."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from bondstone.activities.health import HealthActivities, passes
from bondstone.base.settings import Settings
from bondstone.model.promise import Probe
from bondstone.model.service import Health, OperationKind, RevisionRef, ServiceId
from bondstone.model.step import HealthCall, HealthReport, Probes
from bondstone.promise.bundle import pack
from bondstone.promise.load import load_promise
from bondstone.store import Store

MANIFEST = """
apiVersion: bondstone.dev/v1
kind: Promise
metadata: {name: db, version: 1.0.1}
spec:
  outputs: {version: {value: "${context.operation}"}}
  steps: [{id: database, terraform: {module: terraform}}]
  health: [{expression: "outputs.version == 'common'", within: 1s}]
  patch: {health: [{expression: "outputs.version == 'patched'", within: 1s}]}
  upgrade: {before: [database], health: [{expression: "outputs.version == 'upgraded'", within: 1s}]}
"""


async def probe(tmp_path: Path, probes: Probes, version: str) -> HealthReport:
    folder = tmp_path / "db"
    folder.mkdir()
    (folder / "promise.yaml").write_text(MANIFEST, encoding="utf-8")
    store = await Store.open(Settings(data=tmp_path / "data"), create_keys=True)
    revision: RevisionRef = await store.revisions.publish(pack(folder), load_promise(folder))
    call = HealthCall(
        service=ServiceId(team="payments", name="orders"),
        operation=2,
        kind=OperationKind.PATCH,
        revision=revision,
        service_outputs={"version": version},
        probes=probes,
    )
    report: HealthReport = await ActivityEnvironment().run(HealthActivities(store).probe, call)
    return report


@pytest.mark.parametrize(("probes", "version"), [("", "common"), ("patch", "patched"), ("upgrade", "upgraded")])
async def test_a_patch_and_an_upgrade_have_probes_of_their_own(
    tmp_path: Path, probes: Probes, version: str
) -> None:
    assert (await probe(tmp_path, probes, version)).health is Health.HEALTHY


async def test_which_probe_did_not_pass_is_said(tmp_path: Path) -> None:
    report = await probe(tmp_path, "patch", "common")
    assert report.health is Health.UNHEALTHY
    assert report.message == "health outputs.version == 'patched': the expression is not true"


class Web:
    """Answers each request with the next status, and the last one from then on."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.at: list[float] = []

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.at.append(time.monotonic())
        await reader.readline()
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        writer.write(f"HTTP/1.1 {status} x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def serving(web: Web) -> AsyncIterator[str]:
    server = await asyncio.start_server(web.answer, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def look(kind: str, address: str, **fields: Any) -> str:
    return await passes(Probe(**{kind: address, "every": "1s", "within": "1s"} | fields), {}, beat=lambda: None)


async def test_a_probe_looks_again_until_it_passes() -> None:
    async with serving(web := Web(503, 503, 204)) as address:
        assert await look("http", f"http://{address}/", within="30s") == ""
    assert len(web.at) == 3
    assert web.at[1] - web.at[0] >= 1, "`every`"


async def test_a_probe_gives_up_when_its_time_is_over_and_says_what_it_saw() -> None:
    async with serving(web := Web(503)) as address:
        assert await look("http", f"http://{address}/", within="2s") == "answered 503, expected 2xx"
    assert len(web.at) > 1, "it looked again while there was time"


async def test_a_probe_may_expect_another_status_and_follows_no_redirect() -> None:
    async with serving(Web(302)) as address:
        assert await look("http", f"http://{address}/", expect=302) == ""
        assert await look("http", f"http://{address}/", expect=200) == "answered 302, expected 200"


async def test_a_tcp_probe_connects() -> None:
    async with serving(Web(200)) as address:
        assert await look("tcp", address) == ""
    assert (await look("tcp", address)).startswith("no connection: ")
    assert await look("tcp", "nowhere") == "the address is not HOST:PORT"
