"""A worker process says when it is ready, drains when told to stop, and never stays for ever."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from temporalio.client import WorkflowExecutionStatus

from bondstone.activities.tooling.heartbeat import BEAT_SECONDS
from bondstone.base.settings import Settings
from bondstone.store import Store
from bondstone.workers import control, executor
from bondstone.workers.runtime import FORCED_EXIT
from harness.waiting import until

pytestmark = pytest.mark.integration

SCRIPT = Path(__file__).with_name("draining_worker.py")


@pytest.fixture
def start(tmp_path, temporal_address):
    """Start the worker, wait until it is ready, and give it with what it said."""
    started = []

    def _start(address=temporal_address, *, drain=5, cancel=5.0, wait=True):
        reader, writer = os.pipe()
        env = {
            **os.environ,
            "BOND_DATA": str(tmp_path / "data"),
            "BOND_TEMPORAL_ADDRESS": address,
            "BOND_DRAIN_SECONDS": str(drain),
            "BOND_READY_FD": str(writer),
            "BOND_CREATE_KEYS": "1",
        }
        (tmp_path / "data").mkdir(exist_ok=True)
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(tmp_path / "mark"), str(cancel)],
            env=env,
            pass_fds=(writer,),
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            text = [json.loads(line) for line in pipe] if wait else []
        return process, text

    yield _start
    for process in started:
        process.kill()
        process.communicate()


async def mark(tmp_path, text):
    file = tmp_path / "mark"
    await until(lambda: file.exists() and file.read_text() == text, f"{text} in {file}")


async def run_one(temporal, activity, seconds):
    return await temporal.start_workflow(
        "RunOne", args=[activity, seconds], id=str(uuid.uuid4()), task_queue="draining", result_type=str
    )


async def ended(process, within):
    return await asyncio.to_thread(process.wait, within)


async def test_a_worker_says_when_it_is_ready_and_then_what_it_found(start):
    _, text = await asyncio.to_thread(start)
    assert text == [{"ready": True}, {"versions": {"tool": "1.2"}}]


async def test_told_to_stop_it_lets_its_activities_finish(start, temporal, tmp_path):
    process, _ = await asyncio.to_thread(start)
    handle = await run_one(temporal, "sleep", 1.5)
    await mark(tmp_path, "began")
    process.send_signal(signal.SIGTERM)
    assert await ended(process, 45) == 0
    history = await handle.fetch_history()
    kinds = [event.WhichOneof("attributes") for event in history.events]
    assert "activity_task_completed_event_attributes" in kinds, "what it finished is recorded, not done again"


async def test_beyond_the_drain_its_activities_are_cancelled(start, temporal, tmp_path):
    process, _ = await asyncio.to_thread(start, drain=1)
    handle = await run_one(temporal, "sleep", 50)
    await mark(tmp_path, "began")
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert await ended(process, 45) == 0
    assert 1 <= time.monotonic() - began < 45, "the activity would take 50"
    assert (await handle.describe()).status is WorkflowExecutionStatus.RUNNING, "the next worker goes on"
    await handle.terminate()


async def test_an_activity_deaf_to_cancellation_does_not_keep_the_process(start, temporal, tmp_path):
    process, _ = await asyncio.to_thread(start, drain=0, cancel=1.0)
    handle = await run_one(temporal, "stubborn", 50)
    await mark(tmp_path, "began")
    process.send_signal(signal.SIGTERM)
    await mark(tmp_path, "cancelled")
    assert await ended(process, 45) == FORCED_EXIT
    await handle.terminate()


async def test_a_worker_waiting_for_temporal_stops_when_told(start):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        process, _ = await asyncio.to_thread(start, f"127.0.0.1:{port}", wait=False)
        accepted, _ = await asyncio.to_thread(silent.accept)
        with accepted:  # it has set its handlers up, and waits for an answer
            process.send_signal(signal.SIGTERM)
            assert await ended(process, 45) == 0


async def test_the_sdk_passes_each_heartbeat_on_since_a_cancel_comes_with_its_answer(temporal, tmp_path):
    settings = Settings(data=tmp_path / "data")
    store = await Store.open(settings, create_keys=True)
    for process in (control, executor):
        for worker in (await process.build(temporal, store, settings)).workers:
            throttle = worker.config()["max_heartbeat_throttle_interval"]
            assert throttle.total_seconds() < BEAT_SECONDS
