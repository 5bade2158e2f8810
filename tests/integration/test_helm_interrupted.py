"""A worker and its Helm die in the middle of an install or upgrade: the next attempt takes it up again."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from helm_kit import Bench
from terraform_kit import until

from bondstone.errors import ToolUnavailable
from tools.pinned import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.kills]


@pytest.fixture
async def bench(control_plane, tmp_path) -> AsyncIterator[Bench]:
    name = f"test-{uuid.uuid4().hex[:8]}"
    control_plane.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    yield await Bench.open(tmp_path, control_plane, name)
    control_plane.call("DELETE", f"/api/v1/namespaces/{name}")


def victim(bench: Bench, colour: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{Path(__file__).parent}"}
    arguments = [str(bench.root), str(bench.plane.kubeconfig), bench.namespace, colour]
    return subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("helm_victim.py")), *arguments], env=environment
    )


def kill_all(process: subprocess.Popen[bytes]) -> None:
    """A host that goes down: the worker, the shim and Helm at once, with no time to say anything."""
    family = [process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))]
    for pid in family:
        os.kill(pid, signal.SIGSTOP)
    for pid in family:
        os.kill(pid, signal.SIGKILL)
    process.wait()


async def test_a_killed_upgrade_is_taken_up_again(bench):
    await bench.provision()
    process = victim(bench, "green")
    await until(lambda: bench.statuses().get(2) == "pending-upgrade", seconds=60)
    kill_all(process)
    assert bench.statuses()[2] == "pending-upgrade"
    planned = await bench.plan(colour="red")
    assert bench.statuses()[2] == "failed"
    await bench.apply(planned, colour="red")
    assert bench.statuses()[3] == "deployed"
    assert bench.get("/api/v1/namespaces/{ns}/configmaps/orders-web")["data"] == {"colour": "red"}
    assert await bench.drift() == []


async def test_a_killed_install_is_taken_up_again_and_can_be_taken_away(bench):
    process = victim(bench, "green")
    await until(lambda: bench.statuses().get(1) == "pending-install", seconds=60)
    kill_all(process)
    await bench.provision(colour="red")
    assert bench.statuses()[2] == "deployed"
    await bench.destroy()
    assert bench.statuses() == {}


async def test_a_killed_workers_helm_is_told_to_stop_and_the_next_attempt_waits_for_it(bench):
    await bench.provision()
    process = victim(bench, "green")
    await until(lambda: bench.statuses().get(2) == "pending-upgrade", seconds=60)
    process.kill()
    process.wait()
    # Interrupted gently, Helm rolls back before it ends.
    await until(lambda: bench.statuses().get(3) == "deployed", seconds=60)
    await bench.provision(colour="red")
    assert bench.get("/api/v1/namespaces/{ns}/configmaps/orders-web")["data"] == {"colour": "red"}


async def test_a_cancelled_upgrade_stops_helm_and_leaves_the_release_usable(bench):
    from tools.servers.kubernetes import STAYS_PENDING  # noqa: PLC0415

    await bench.provision()
    values = {"colour": "green", "annotations": {STAYS_PENDING: "yes"}, "options": {"timeout": "10m"}}
    planned = await bench.plan(**values)
    task = asyncio.ensure_future(bench.apply(planned, **values))
    await until_async(lambda: bench.statuses().get(2) == "pending-upgrade")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await bench.provision(colour="red")
    assert [*bench.statuses().values()][-1] == "deployed"


async def test_a_release_that_a_person_is_upgrading_is_left_alone(bench):
    await bench.provision()
    environment = {**os.environ, **bench.plane.environment}
    command = [bench.settings.helm, "upgrade", "orders-web", str(bench.root / "bundle" / "chart"), "--wait"]
    command += ["--namespace", bench.namespace, "--set-json", 'annotations={"bond.test/stays-pending":"yes"}']
    person = by_hand(command, environment)
    try:
        await until(lambda: bench.statuses().get(2) == "pending-upgrade", seconds=60)
        with pytest.raises(ToolUnavailable, match="somebody else seems to be at work"):
            await bench.plan(colour="red")
        assert bench.statuses()[2] == "pending-upgrade"
    finally:
        person.kill()
        person.wait()


def by_hand(command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


async def until_async(condition) -> None:
    async with asyncio.timeout(60):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - a fact of other processes
            await asyncio.sleep(0.05)
