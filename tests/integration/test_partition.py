"""Rule 5: an executor worker that is cut off from Temporal, and lives, never works beside the one that follows it.

Temporal misses its heartbeats and gives the apply to another worker. The first still reaches the object store, so
its lease goes on and the second has to wait; what the first has made is then in the log, and not made again. (A
worker that is cut off from the store too cannot renew its lease, and stops its Terraform by itself: see the state
log's own tests, and those of interrupted applies.)
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest
from platforms import PROMISES, LocalPlatform, publish, running, until

from bondstone.model.service import OperationStatus, ServiceId
from bondstone.store.fence import Kind

pytestmark = [pytest.mark.integration, pytest.mark.kills]

STEP = "things"
POOL = "far"
PAUSE_SECONDS = 20


class Wire:
    """A TCP proxy in front of the Temporal server, which can be cut."""

    def __init__(self, target: str) -> None:
        self._target = target.rpartition(":")
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> str:
        """Listen; its address."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        return f"127.0.0.1:{port}"

    async def cut(self) -> None:
        """Drop every connection, and take no more."""
        assert self._server is not None
        self._server.close()
        for writer in self._open:
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self._target
        there, back = await asyncio.open_connection(host, int(port))
        self._open |= {writer, back}
        for source, sink in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._pump(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    @staticmethod
    async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        sink.close()


@asynccontextmanager
async def wire(target: str) -> AsyncIterator[tuple[Wire, str]]:
    found = Wire(target)
    address = await found.start()
    try:
        yield found, address
    finally:
        await found.cut()


@contextmanager
def worker(platform: LocalPlatform, root: Path, name: str, address: str) -> Iterator[subprocess.Popen[bytes]]:
    """An executor worker of the pool, as on a machine of its own: another scratch directory."""
    settings = platform.settings.model_copy(
        update={"work": root / name, "pools": (POOL,), "temporal_address": address, "drain_seconds": 0}
    )
    with (root / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "workers.executor"],
            env={**platform.environment, **settings.as_environment()},
            stdout=log,
            stderr=log,
            cwd=root,
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()


@pytest.mark.timeout(300)
async def test_rule_5_a_worker_that_is_cut_off_from_temporal_is_not_worked_beside(tmp_path: Path) -> None:
    made = tmp_path / "made.txt"
    service = ServiceId(team="payments", name=f"svc-{uuid.uuid4().hex[:8]}")

    def begun(name: str) -> bool:
        return made.exists() and f"begun {name}" in made.read_text()

    with running(tmp_path / "data") as platform:
        address = platform.settings.temporal_address
        async with wire(address) as (cable, behind), platform.client() as bond:
            await publish(bond, PROMISES / "held")
            with worker(platform, tmp_path, "first", behind) as first:
                inputs = {"made": str(made), "pause": str(PAUSE_SECONDS), "pool": POOL}
                operation = await bond.request("held", str(service), inputs)
                await until(lambda: begun("thing_0"), what="the first worker makes something", seconds=60)
                with worker(platform, tmp_path, "second", address) as second:
                    await cable.cut()
                    async with asyncio.timeout(240):
                        record = await operation.wait()
                    assert first.poll() is None, "the first worker lives"
            assert record.status is OperationStatus.SUCCEEDED, record.error
            entries = await bond.store.state(service, STEP).entries()
    assert [entry.holder.pid for entry in entries if entry.kind is Kind.RELEASE] == [first.pid, second.pid]
    assert not entries[-1].fences, "the second waited until the first had let go: it took nothing over"
    assert not made.with_suffix(".txt.violation").exists(), "two Terraforms were at work at once"
    things = [f"{what} thing_{number}" for number in range(3) for what in ("begun", "made")]
    assert made.read_text().splitlines() == things, "each once"
