"""Rule 5: an executor worker that is cut off from Temporal, and lives, never works beside the one that follows it.

Temporal misses its heartbeats and gives the apply to another worker. The first notices that Temporal is silent,
stops its Terraform, keeps what that has made in the state log and lets go of the state; the second, which has
waited for that, goes on. (A worker that is cut off from the store too cannot renew its lease, and stops its tool
by itself: see the state log's own tests, and those of interrupted applies.)
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
from datetime import timedelta
from pathlib import Path

import pytest
from platforms import until
from temporalio import workflow
from temporalio.client import Client
from temporalio.exceptions import ActivityError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from bondstone.base import names
from bondstone.base.errors import PlanStale
from bondstone.base.settings import Settings
from bondstone.model.plan import PlanRef
from bondstone.model.service import OperationKind, ServiceId
from bondstone.model.step import Applied, ApplyCall, StepCall
from bondstone.promise.bundle import pack
from bondstone.promise.load import load_promise
from bondstone.store import Store
from bondstone.store.state.fence import Kind
from bondstone.temporal.failures import info_of
from harness.waiting import until_async

pytestmark = [pytest.mark.integration, pytest.mark.kills]

STEP = "things"
POOL = "far"
HEARTBEAT_SECONDS = 10
"""More than two beats: else the first worker's attempt may be given up before the cable is cut."""

PROMISE = """
apiVersion: bondstone.dev/v1
kind: Promise
metadata: {name: gated, version: 1.0.0}
spec:
  inputs: {type: object, properties: {made: {type: string}}}
  steps: [{id: things, pool: far, terraform: {module: terraform, variables: {made: "${inputs.made}"}}}]
"""
MODULE = """
variable "made" { type = string }

locals {
  # Whoever holds the lock is the only one at work; finding it held is what must never happen.
  make = <<-SH
    wait='until [ -e "$GO" ]; do sleep 0.1; done'
    flock -n "$MADE.lock" sh -c "echo begun $NAME >> $MADE; $wait; echo made $NAME >> $MADE" ||
    { echo $NAME >> "$MADE.violation"; exit 1; }
  SH
}

resource "terraform_data" "first" {
  provisioner "local-exec" {
    command     = local.make
    environment = { NAME = "first", MADE = var.made, GO = "/" }
  }
}

resource "terraform_data" "second" {
  depends_on = [terraform_data.first]
  provisioner "local-exec" {
    command     = local.make
    environment = { NAME = "second", MADE = var.made, GO = "${var.made}.go" }
  }
}

output "value" { value = "one" }
"""
"""The second of its two things is not made before the test says so."""


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
        other, back = await asyncio.open_connection(host, int(port))
        self._open |= {writer, back}
        for source, sink in ((reader, back), (other, writer)):
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
    wire = Wire(target)
    address = await wire.start()
    try:
        yield wire, address
    finally:
        await wire.cut()


@contextmanager
def worker(root: Path, name: str, settings: Settings, address: str) -> Iterator[subprocess.Popen[bytes]]:
    """An executor worker of the pool, as on a machine of its own: another scratch directory."""
    worker_settings = settings.changed(work=root / name, temporal_address=address)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("BOND_", "TEMPORAL_"))}
    with (root / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "bondstone.workers.executor"],
            env={**inherited, **worker_settings.as_environment()},
            stdout=log,
            stderr=log,
            cwd=root,
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=120)
            except subprocess.TimeoutExpired:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()


def log_of(root: Path, name: str) -> str:
    return (root / f"{name}.log").read_text(errors="replace")


@workflow.defn(name="PlanAndApply")
class PlanAndApply:
    """What an operation does with one step, with a short heartbeat time-out."""

    @workflow.run
    async def run(self, call: StepCall) -> Applied:
        while True:
            plan = await self._tool(names.VERB_PLAN, call, PlanRef)
            try:
                return await self._tool(names.VERB_APPLY, ApplyCall(**dict(call), plan=plan), Applied)
            except ActivityError as error:
                if info_of(error).code != PlanStale.code:
                    raise

    async def _tool(self, verb, call, result):
        return await workflow.execute_activity(
            names.executor_activity("terraform", verb),
            call,
            result_type=result,
            task_queue=names.pool_queue(POOL),
            start_to_close_timeout=timedelta(minutes=3),
            heartbeat_timeout=timedelta(seconds=HEARTBEAT_SECONDS),
        )


async def test_rule_5_a_worker_that_is_cut_off_from_temporal_stops_and_is_not_worked_beside(
    tmp_path: Path, temporal: Client, temporal_address: str
) -> None:
    made = tmp_path / "made.txt"
    service = ServiceId(team="payments", name=f"svc-{uuid.uuid4().hex[:8]}")
    settings = Settings(data=tmp_path / "data", pools=(POOL,), drain_seconds=0, log_format="json")
    store = await Store.open(settings, create_keys=True)
    folder = tmp_path / "gated"
    (folder / "terraform").mkdir(parents=True)
    (folder / "promise.yaml").write_text(PROMISE, encoding="utf-8")
    (folder / "terraform" / "main.tf").write_text(MODULE, encoding="utf-8")
    revision = await store.revisions.publish(pack(folder), load_promise(folder))
    call = StepCall(
        service=service,
        operation=1,
        kind=OperationKind.PROVISION,
        revision=revision,
        step=STEP,
        inputs={"made": str(made)},
    )

    log = store.state(service, STEP)

    def begun(what: str) -> bool:
        return made.exists() and f"begun {what}" in made.read_text()

    async def has_let_go() -> bool:
        return Kind.RELEASE in {entry.kind for entry in await log.entries()}

    queue = f"partition-{uuid.uuid4().hex[:8]}"
    control = Worker(
        temporal, task_queue=queue, workflows=[PlanAndApply], workflow_runner=UnsandboxedWorkflowRunner()
    )

    async with wire(temporal_address) as (cable, behind), control:
        with worker(tmp_path, "first", settings, behind) as first:
            handle = await temporal.start_workflow(PlanAndApply.run, call, id=queue, task_queue=queue)
            await until(lambda: begun("second"), what="the first worker makes something")
            with worker(tmp_path, "second", settings, temporal_address) as second:
                await until(lambda: '"ready"' in log_of(tmp_path, "second"), what="the second worker")
                await cable.cut()
                await until(lambda: "cut off from Temporal" in log_of(tmp_path, "first"), what="it notices")
                await until_async(has_let_go, "it lets go")
                made.with_suffix(".txt.go").touch()
                applied = await handle.result()
                assert first.poll() is None, "the first worker lives"
    assert applied.outputs.values == {"value": "one"}
    entries = await log.entries()
    releases = [entry.holder.pid for entry in entries if entry.kind is Kind.RELEASE]
    assert releases[0] == first.pid
    assert set(releases[1:]) == {second.pid}
    assert not entries[-1].fences, "the second waited until the first had let go: it took nothing over"
    assert not made.with_suffix(".txt.violation").exists(), "two Terraforms were at work at once"
    things = made.read_text().splitlines()
    assert things == ["begun first", "made first", "begun second", "begun second", "made second"], (
        "what the first worker had made is not made again; what was in flight is"
    )
