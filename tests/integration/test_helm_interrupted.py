"""A worker and its Helm die in the middle of an install or upgrade: the next attempt takes it up again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import psutil
import pytest
from helm_kit import HELMS, ONE_HELM, Bench

from bondstone.activities.helm.release import marked
from bondstone.base.errors import ToolFailed, ToolUnavailable
from harness.pinned import ROOT
from harness.servers.kubernetes import STAYS_PENDING
from harness.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.kills]


@pytest.fixture(params=HELMS)
async def bench(request, control_plane, tmp_path) -> Bench:
    name = f"test-{uuid.uuid4().hex[:8]}"
    control_plane.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    return await Bench.open(tmp_path, control_plane, name, tool=request.param)


def victim(bench: Bench, **values: object) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{Path(__file__).parent}"}
    arguments = [str(bench.root), str(bench.plane.kubeconfig), bench.namespace, json.dumps(values), bench.tool]
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


LEFT = {"colour": "green", "env": [{"name": "LEFT", "value": "x"}], "extra": ["kept", "left"]}
PENDING = {STAYS_PENDING: "yes"}


def deployment(bench: Bench) -> dict[str, Any]:
    return bench.get("/apis/apps/v1/namespaces/{ns}/deployments/orders-web")


def template(bench: Bench) -> tuple[dict[str, str], list[dict[str, str]]]:
    """What its pods are annotated with, and their environment."""
    result = deployment(bench)["spec"]["template"]
    return result["metadata"].get("annotations") or {}, result["spec"]["containers"][0].get("env") or []


def extras(bench: Bench) -> set[str]:
    items = bench.get("/api/v1/namespaces/{ns}/configmaps")["items"]
    return {item["metadata"]["name"] for item in items if item["metadata"]["name"].startswith("extra-")}


async def interrupted(bench: Bench, how: str) -> None:
    """Leave a second revision half-way: all of it is in the cluster, and it is not what anybody wants."""
    if how == "killed":
        process = victim(bench, **LEFT)
        await until(lambda: PENDING.items() <= template(bench)[0].items())
        kill_all(process)
        assert bench.statuses()[2] == "pending-upgrade"
    elif how == "failed":
        options = {"atomic": False, "timeout": "2s"}
        with pytest.raises(ToolFailed):
            await bench.provision(**LEFT, annotations=PENDING, options=options)
    else:
        # a person, who does not give up: Helm merges the second against the last deployed one, too
        for values in ({**LEFT, "annotations": PENDING}, {"extra": ["kept"], "annotations": PENDING}):
            command = [bench.settings.helm, "upgrade", "orders-web", str(bench.root / "bundle" / "chart")]
            command += ["--namespace", bench.namespace, "--wait", "--timeout", "2s"]
            command += [f"--set-json={key}={json.dumps(value)}" for key, value in values.items()]
            assert by_hand(command, {**os.environ, **bench.plane.environment}).wait() != 0
    assert extras(bench) == {"extra-kept", "extra-left"}


@pytest.mark.parametrize("how", ["killed", "failed twice by hand"])
async def test_what_an_upgrade_that_came_to_nothing_had_set_and_made_is_taken_back(bench, how):
    await bench.provision(extra=["kept"], env=[{"name": "OURS", "value": "1"}])
    await interrupted(bench, how)
    newest = max(bench.statuses())
    wanted = {"colour": "red", "extra": ["kept", "new"], "env": [{"name": "OURS", "value": "1"}]}
    planned = await bench.plan(**wanted)
    assert PENDING.items() <= template(bench)[0].items()  # a plan changes nothing
    changes = {
        change.address.rpartition("/")[2]: change for change in planned.changes if "extra" in change.address
    }
    assert {name: change.action for name, change in changes.items()} == {
        "extra-left": "delete",
        "extra-new": "create",
    }
    [change] = [change for change in planned.changes if change.type == "Deployment"]
    assert change.before["spec"]["template"]["metadata"]["annotations"] == PENDING
    await bench.apply(planned, **wanted)
    assert [*bench.statuses().values()] == ["superseded", *["failed"] * (newest - 1), "deployed"]
    assert template(bench) == ({}, [{"name": "OURS", "value": "1"}])
    assert extras(bench) == {"extra-kept", "extra-new"}
    assert bench.get("/api/v1/namespaces/{ns}/configmaps/orders-web")["data"] == {"colour": "red"}
    assert await bench.drift() == []
    assert (await bench.plan(**wanted)).empty


async def test_what_a_killed_upgrade_made_goes_with_the_service(bench):
    await bench.provision(extra=["before"])
    await interrupted(bench, "killed")
    # as if Helm had been killed before it took away what the new revision has no more
    labels = {"app.kubernetes.io/managed-by": "Helm"}
    marks = {"meta.helm.sh/release-name": "orders-web", "meta.helm.sh/release-namespace": bench.namespace}
    body = {"metadata": {"name": "extra-before", "labels": labels, "annotations": marks}}
    bench.plane.call("POST", f"/api/v1/namespaces/{bench.namespace}/configmaps", body)
    body = {"metadata": {"name": "extra-foreign"}}
    bench.plane.call("POST", f"/api/v1/namespaces/{bench.namespace}/configmaps", body)
    await bench.destroy()
    assert bench.statuses() == {}
    assert extras(bench) == {"extra-foreign"}


async def test_atomic_goes_back_to_what_worked_also_after_a_rollback_that_failed(bench):
    """Helm calls the failed revision before a failed rollback superseded, and takes it for one that worked."""
    await bench.provision()
    await interrupted(bench, "failed")
    path = f"/api/v1/namespaces/{bench.namespace}/secrets/sh.helm.release.v1.orders-web.v2"
    bench.plane.call("PUT", path, marked(bench.plane.call("GET", path), "superseded", "as by Helm"))
    with pytest.raises(ToolFailed):
        await bench.provision(colour="red", annotations=PENDING, options={"timeout": "2s"})
    assert bench.statuses()[2] == "failed"
    assert bench.get("/api/v1/namespaces/{ns}/configmaps/orders-web")["data"] == {"colour": "blue"}
    assert (extras(bench), template(bench)) == (set(), ({}, []))


async def test_a_killed_install_is_taken_up_again_and_can_be_taken_away(bench):
    process = victim(bench, colour="green")
    await until(lambda: bench.statuses().get(1) == "pending-install")
    kill_all(process)
    await bench.provision(colour="red")
    assert bench.statuses()[2] == "deployed"
    await bench.destroy()
    assert bench.statuses() == {}


async def test_a_killed_workers_helm_is_told_to_stop_and_the_next_attempt_waits_for_it(bench):
    await bench.provision()
    process = victim(bench, colour="green")
    await until(lambda: bench.statuses().get(2) == "pending-upgrade")
    process.kill()
    process.wait()
    # Interrupted gently, Helm rolls back before it ends.
    await until(lambda: bench.statuses().get(3) == "deployed")
    await bench.provision(colour="red")
    assert bench.get("/api/v1/namespaces/{ns}/configmaps/orders-web")["data"] == {"colour": "red"}


async def test_a_cancelled_upgrade_stops_helm_and_leaves_the_release_usable(bench):
    await bench.provision()
    values = {"colour": "green", "annotations": {STAYS_PENDING: "yes"}, "options": {"timeout": "10m"}}
    planned = await bench.plan(**values)
    task = asyncio.ensure_future(bench.apply(planned, **values))
    await until(lambda: bench.statuses().get(2) == "pending-upgrade", in_thread=True)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await bench.provision(colour="red")
    assert [*bench.statuses().values()][-1] == "deployed"


@ONE_HELM
async def test_a_release_that_a_person_is_upgrading_is_left_alone(bench):
    await bench.provision()
    environment = {**os.environ, **bench.plane.environment}
    command = [bench.settings.helm, "upgrade", "orders-web", str(bench.root / "bundle" / "chart"), "--wait"]
    command += ["--namespace", bench.namespace, "--set-json", 'annotations={"bond.test/stays-pending":"yes"}']
    person = by_hand(command, environment)
    try:
        await until(lambda: bench.statuses().get(2) == "pending-upgrade")
        with pytest.raises(ToolUnavailable, match="somebody else seems to be at work"):
            await bench.plan(colour="red")
        assert bench.statuses()[2] == "pending-upgrade"
    finally:
        person.kill()
        person.wait()


def by_hand(command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
