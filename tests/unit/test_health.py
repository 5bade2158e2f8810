"""The activity `health.probe`: which probes it looks at, how often, and for how long."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from bondstone.activities import probing
from bondstone.activities.health import HealthActivities, passes
from bondstone.base.settings import Settings
from bondstone.model.promise import Probe
from bondstone.model.service import Health, OperationKind, RevisionRef, ServiceId
from bondstone.model.step import HealthCall, HealthReport, Probes, Progress
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
    assert report.message == (
        "health outputs.version == 'patched' (outputs.version is \"common\"): the expression is not true"
    )


async def test_while_it_waits_it_says_what_it_looks_at_and_why_it_did_not_pass(tmp_path: Path) -> None:
    environment = ActivityEnvironment()
    heartbeats: list[Progress] = []
    environment.on_heartbeat = lambda *details: heartbeats.extend(details)
    folder = tmp_path / "db"
    folder.mkdir()
    manifest = MANIFEST.replace("version: 1.0.1", "version: 1.0.2").replace(
        "health: [{expression: \"outputs.version == 'common'\", within: 1s}]",
        "health: [{http: 'http://127.0.0.1:1/${outputs.version}', every: 1s, within: 1s}]",
    )
    (folder / "promise.yaml").write_text(manifest, encoding="utf-8")
    store = await Store.open(Settings(data=tmp_path / "data"), create_keys=True)
    call = HealthCall(
        service=ServiceId(team="payments", name="orders"),
        operation=2,
        kind=OperationKind.UPDATE,
        revision=await store.revisions.publish(pack(folder), load_promise(folder)),
        service_outputs={"version": "live"},
    )
    report = await environment.run(HealthActivities(store, probe_local=True).probe, call)
    assert report.message.startswith("health http http://127.0.0.1:1/live: no answer")
    assert Progress(address="http http://127.0.0.1:1/live") in heartbeats, "before the first look"
    assert heartbeats[-1].note.startswith("no answer")


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


@contextlib.asynccontextmanager
async def listening(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """A server on a free port. No connection outlives it: what is open at the end is cut."""
    connections: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            await answer(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        try:
            yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            for task in connections:
                task.cancel()
            await asyncio.gather(*connections, return_exceptions=True)


async def look(kind: str, address: str, *, local: bool = True, **fields: Any) -> str:
    probe = Probe(**{kind: address, "every": "1s", "within": "1s"} | fields)
    return await passes(probe, {}, note=lambda _problem: None, local=local)


async def test_a_probe_looks_again_until_it_passes() -> None:
    async with listening((web := Web(503, 503, 204)).answer) as address:
        assert await look("http", f"http://{address}/", within="30s") == ""
    assert len(web.at) == 3
    assert web.at[1] - web.at[0] >= 1, "`every`"


async def test_a_probe_gives_up_when_its_time_is_over_and_says_what_it_saw() -> None:
    async with listening((web := Web(503)).answer) as address:
        assert await look("http", f"http://{address}/", within="2s") == "answered 503, expected 2xx"
    assert len(web.at) > 1, "it looked again while there was time"


async def test_a_probe_may_expect_another_status_and_follows_no_redirect() -> None:
    async with listening(Web(302).answer) as address:
        assert await look("http", f"http://{address}/", expect=302) == ""
        assert await look("http", f"http://{address}/", expect=200) == "answered 302, expected 200"


async def test_a_tcp_probe_connects() -> None:
    async with listening(Web(200).answer) as address:
        assert await look("tcp", address) == ""
    assert await look("tcp", address) == "no connection: Connection refused"
    assert await look("tcp", "nowhere") == "the address is not HOST:PORT"


@pytest.mark.parametrize(
    ("kind", "address"),
    [
        ("http", "http://[::1"), ("http", "http://x:port/"), ("http", "http://" + "a" * 70 + ".example/"),
        ("http", "http://127.0.0.1:1/a b"), ("http", "http://127.0.0.1:1/\u00e9"), ("http", "ftp://x/"),
        ("http", ""),
        ("tcp", "a" * 70 + ".example:80"), ("tcp", "x:99999999999999999999"), ("tcp", "x:\u0663"), ("tcp", ".:80"),
    ],
)  # fmt: skip
async def test_a_bad_address_is_a_reason_and_no_surprise(kind: str, address: str) -> None:
    assert await look(kind, "${'" + address + "'}" if address else "${''}")


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 "])
async def test_a_server_that_drips_does_not_hold_a_probe_past_its_bound(
    first: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "ATTEMPT_SECONDS", 0.5)

    async def drip(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        with contextlib.suppress(OSError):
            while True:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.05)

    async with listening(drip) as address:
        started = time.monotonic()
        assert (await probing.look_at_http(f"http://{address}/", None, local=True)).startswith("no answer")
        assert time.monotonic() - started < 60


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433"])
async def test_a_probe_does_not_look_at_the_worker_itself_unless_it_may(name: str) -> None:
    async with listening((web := Web(200)).answer) as address:
        port = address.rpartition(":")[2]
        assert "probe_local" in await look("http", f"http://{name}:{port}/", local=False)
        assert "probe_local" in await look("tcp", f"{name}:{port}", local=False)
        assert web.at == []
        assert await look("http", f"http://{address}/") == ""


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("169.254.169.254", True), ("fe80::1", True), ("fd00:ec2::254", True), ("100.100.100.200", True),
        ("64:ff9b::7f00:1", True), ("2002:7f00:1::", True), ("::ffff:169.254.169.254", True), ("224.0.0.1", True),
        ("10.0.0.1", False), ("192.168.1.1", False), ("93.184.216.34", False), ("2606:2800:220:1::1", False),
        ("64:ff9b::5db8:d822", False),
    ],
)  # fmt: skip
def test_which_addresses_are_local(address: str, local: bool) -> None:  # noqa: FBT001 - a parameter of the test
    assert probing.is_local(ip_address(address)) is local
