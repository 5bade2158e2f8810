"""Container steps as Jobs: a real API server, Job controller, scheduler and garbage collector.

The node's kubelet is a stand-in that runs pods by podman (`harness/servers/kubelet.py` says what it leaves out).
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
import urllib.error
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from container_kit import Bench, shown

from bondstone.activities.container.jobs import manifests
from bondstone.base.errors import PlanStale, StepTimedOut, ToolFailed, ToolUnavailable
from harness.pinned import ROOT, find
from harness.servers import kubelet as kubelet_server
from harness.servers.kubelet import TAINT, WORKER, Kubelet
from harness.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

SECRET = "canary-of-a-job-4471"
BATCH, CORE, NETWORK = "/apis/batch/v1", "/api/v1", "/apis/networking.k8s.io/v1"


@pytest.fixture(scope="module")
def node(control_plane, containers) -> Iterator[Kubelet]:
    with kubelet_server.running(control_plane, containers.command) as kubelet:
        yield kubelet


@pytest.fixture
def namespace(control_plane):
    name = f"jobs-{uuid.uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    control_plane.call("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
    return name


@pytest.fixture
def kubeconfig(control_plane, node, namespace: str, tmp_path: Path) -> Path:
    """An identity with the rights that the chart gives a worker, and no others."""
    image = f"registry/executor@sha256:{'a' * 64}"
    values = (
        *(
            "temporal.address=t:7233",
            "store.url=s3://b/p",
            "keys.secret=k",
            "signing.secret=s",
            "api.enabled=false",
        ),
        *(f"images.executor={image}", f"images.control={image}", f"pools.default.jobs.namespace={namespace}"),
    )
    chart = str(ROOT / "deploy" / "helm" / "bondstone")
    options = [word for value in values for word in ("--set", value)]
    command = [str(find("helm")), "template", "bond", chart, "--kube-version", "1.37.0", *options]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    wanted = ("NetworkPolicy", "Role", "RoleBinding")
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "worker"}}
    control_plane.call("POST", f"{CORE}/namespaces/{namespace}/serviceaccounts", account)
    for document in yaml.safe_load_all(shown):
        if document and document["kind"] in wanted and document["metadata"].get("namespace") == namespace:
            if document["kind"] == "RoleBinding":
                document["subjects"] = [{"kind": "ServiceAccount", "name": "worker", "namespace": namespace}]
            root = f"/apis/{document['apiVersion']}/namespaces/{namespace}"
            control_plane.call(
                "POST", f"{root}/{document['kind'].lower().replace('policy', 'policie')}s", document
            )
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": 3600},
    }
    path = f"{CORE}/namespaces/{namespace}/serviceaccounts/worker/token"
    token = control_plane.call("POST", path, request)["status"]["token"]
    config = json.loads(control_plane.kubeconfig.read_text())
    config["users"] = [{"name": "test", "user": {"token": token}}]
    file = tmp_path / "worker.kubeconfig"
    file.write_text(json.dumps(config))
    return file


def settings(kubeconfig: Path, namespace: str, **more: Any) -> dict[str, Any]:
    toleration = {"key": TAINT["key"], "operator": "Exists", "effect": TAINT["effect"]}
    jobs = {
        "namespace": namespace,
        "collector": WORKER,
        "network": True,
        "node_selector": {TAINT["key"]: "yes"},
        "tolerations": [toleration],
        **more,
    }
    return {"container_jobs": jobs, "clusters": {"default": {"kubeconfig": str(kubeconfig)}}}


@pytest.fixture
async def bench(tmp_path: Path, control_plane, containers, kubeconfig, namespace) -> AsyncIterator[Bench]:
    name = f"thing-{uuid.uuid4().hex[:8]}"
    told = (containers.command, containers.image, containers.things.url, name)
    yield await Bench.open(tmp_path, *told, **settings(kubeconfig, namespace))

    def nothing_is_left() -> bool:
        left = [items(control_plane, namespace, "jobs", BATCH)]
        left += [items(control_plane, namespace, plural) for plural in ("pods", "secrets")]
        return not any(left)

    # the cluster clears a Job of a plan away by itself
    await until(nothing_is_left, "no Job, pod or Secret is left", in_thread=True)
    assert containers.names() == [], "no container is left"


def items(plane, namespace: str, plural: str, root: str = CORE) -> list[dict[str, Any]]:
    return plane.call("GET", f"{root}/namespaces/{namespace}/{plural}")["items"]


def made_thing(bench: Bench, containers):
    return containers.things.space(bench.service.name).get("thing")


def begun(bench: Bench, containers) -> int:
    return containers.things.begun.get(bench.service.name, 0)


async def test_a_thing_is_made_changed_looked_after_and_taken_down(bench: Bench, containers, control_plane):
    planned = await bench.plan()
    assert (shown(planned), planned.tool) == ([("create", "thing")], "Jobs of Kubernetes 1.37.2")
    assert made_thing(bench, containers) is None
    outcome = await bench.apply(planned)
    assert {name: output.value for name, output in outcome.outputs.items()} == {"colour": "blue", "version": "1"}
    assert made_thing(bench, containers) == {"colour": "blue", "version": "1"}
    assert "applying blue" in bench.log
    made_thing(bench, containers)["colour"] = "pink"
    [drifted] = (await bench.drift()).changes
    assert (drifted.before["colour"], drifted.after["colour"]) == ("blue", "pink")
    gone = await bench.plan_destroy()
    assert shown(gone) == [("delete", "thing")]
    await bench.apply(gone)
    assert made_thing(bench, containers) is None


async def test_secrets_are_in_the_jobs_secret_alone_and_the_jobs_limits_are_the_steps(
    bench: Bench, containers, control_plane, namespace
):
    section = {
        "files": {"key": SECRET},
        "outputs": {"key": {"sensitive": True}},
        "secrets": (SECRET,),
        "inputs": {"slow_seconds": 2},
        "memory_mib": 64,
        "time": "90s",
    }
    planned = await bench.plan(**section)
    applying = asyncio.create_task(bench.apply(planned, **section))
    await until(lambda: begun(bench, containers))
    [job] = items(control_plane, namespace, "jobs", BATCH)
    [pod] = items(control_plane, namespace, "pods")
    [secret] = items(control_plane, namespace, "secrets")
    log = f"{CORE}/namespaces/{namespace}/pods/{pod['metadata']['name']}/log?container="
    logs: list[str] = []

    def collected() -> bool:
        try:
            logs.append(control_plane.call("GET", f"{log}{manifests.COLLECTOR}"))
        except urllib.error.HTTPError:
            return any(logs)  # else it has not begun
        return False

    outcome, _ = await asyncio.gather(applying, until(collected, in_thread=True))
    assert outcome.outputs["key"].value == SECRET
    assert base64.b64decode(secret["data"]["files.key"]).decode() == SECRET
    visible = json.dumps([job, pod]) + "".join(logs) + "\n".join(bench.log)
    assert "bond-output-1 1/1" in visible, "the output has gone through the log"
    for text in (SECRET, base64.b64encode(SECRET.encode()).decode(), "slow_seconds"):
        assert text not in visible

    spec = pod["spec"]
    step = next(each for each in spec["initContainers"] if each["name"] == manifests.STEP)
    assert (step["image"], step["resources"]["limits"]["memory"]) == (bench.image, "64Mi")
    assert (job["spec"]["backoffLimit"], job["spec"]["activeDeadlineSeconds"]) == (0, 90)
    assert (spec["restartPolicy"], spec["automountServiceAccountToken"]) == ("Never", False)
    assert step["securityContext"]["readOnlyRootFilesystem"] is True
    assert step["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert {kind for volume in spec["volumes"] for kind in volume} == {"name", "secret", "emptyDir"}
    assert {mount["name"] for mount in step["volumeMounts"]} == {"input", "output", "scratch"}, "not the key"


@pytest.mark.parametrize(
    ("inputs", "section", "error", "words"),
    [
        ({"exit": 3}, {}, PlanStale, "its plan is stale: told to fail"),
        ({"exit": 75}, {}, ToolUnavailable, "for the moment: told to fail"),
        ({"exit": 4}, {}, ToolFailed, r"failed to apply \(exit code 4\): told to fail"),
        ({"memory_mib": 400}, {"memory_mib": 64}, ToolFailed, "exceeded its memory limit|was killed"),
        ({"slow_seconds": 300}, {"time": "20s"}, StepTimedOut, "not ended within 20 s"),
    ],
)
async def test_how_it_fails_is_said(bench: Bench, inputs, section, error, words):
    planned = await bench.plan(inputs=inputs, **section)
    with pytest.raises(error, match=words):
        await bench.apply(planned, inputs=inputs, **section)


async def test_network_none_is_a_policy_that_the_pod_is_under(bench: Bench, control_plane, namespace):
    with pytest.raises(ToolUnavailable, match="dial tcp"):
        await bench.plan(network="none")
    [policy] = items(control_plane, namespace, "networkpolicies", NETWORK)
    assert policy["spec"] == manifests.policy_manifest()["spec"]
    path = f"{NETWORK}/namespaces/{namespace}/networkpolicies/{manifests.POLICY}"
    await asyncio.to_thread(
        control_plane.call, "PUT", path, {**policy, "spec": {**policy["spec"], "egress": [{}]}}
    )
    with pytest.raises(ToolFailed, match="does not keep Jobs off the network"):
        await bench.plan(network="none")
    await asyncio.to_thread(control_plane.call, "DELETE", path)
    with pytest.raises(ToolFailed, match=r"networkpolicies.* is forbidden"):
        await bench.plan(network="none")


async def test_a_cancel_deletes_the_job_and_waits_until_its_pod_is_gone(
    bench: Bench, containers, control_plane, namespace
):
    planned = await bench.plan(inputs={"slow_seconds": 300})
    applying = asyncio.create_task(bench.apply(planned))
    await until(lambda: begun(bench, containers))
    applying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await applying
    assert items(control_plane, namespace, "pods") == []
    assert made_thing(bench, containers) is None


async def killed_worker(bench: Bench, containers, planned, tmp_path: Path, more: dict[str, Any]) -> None:
    (tmp_path / "plan").write_bytes(planned.artefact)
    script = str(Path(__file__).with_name("container_victim.py"))
    told = [str(tmp_path), containers.command, containers.image, containers.things.url, bench.service.name]
    words = [sys.executable, script, *told, str(planned.position), json.dumps(more)]
    victim = await asyncio.create_subprocess_exec(*words, start_new_session=True)
    await until(lambda: begun(bench, containers))
    os.killpg(victim.pid, signal.SIGKILL)
    await victim.wait()


async def test_the_job_of_a_killed_worker_is_followed_by_the_next_one_wherever_it_is(
    bench: Bench, containers, kubeconfig, namespace, tmp_path: Path
):
    planned = await bench.plan(inputs={"slow_seconds": 4})
    await killed_worker(bench, containers, planned, tmp_path, settings(kubeconfig, namespace))
    # another machine: of the work directory nothing is there
    bench.settings = bench.settings.changed(work=tmp_path / "elsewhere")
    outcome = await bench.apply(planned)
    assert outcome.outputs["colour"].value == "blue"
    assert (begun(bench, containers), made_thing(bench, containers)["colour"]) == (1, "blue")
    assert any("waiting for it" in line for line in bench.log)
    assert (await bench.apply(planned)).outputs["colour"].value == "blue", "a lost answer is given again"
    assert begun(bench, containers) == 1


async def test_a_job_that_nobody_follows_after_a_cancel_is_ended_by_the_plan_that_comes_next(
    bench: Bench, containers, control_plane, kubeconfig, namespace
):
    planned = await bench.plan(inputs={"slow_seconds": 300})
    await killed_worker(bench, containers, planned, bench.root, settings(kubeconfig, namespace))
    [left] = items(control_plane, namespace, "pods")
    await bench.plan()  # what an operation does that was cancelled: it counts what was done
    names = [pod["metadata"]["name"] for pod in items(control_plane, namespace, "pods")]
    assert left["metadata"]["name"] not in names
    assert made_thing(bench, containers) is None


async def test_a_pod_that_somebody_deletes_fails_the_step_and_nothing_is_run_again_unasked(
    bench: Bench, containers, control_plane, namespace
):
    planned = await bench.plan(inputs={"slow_seconds": 300})
    applying = asyncio.create_task(bench.apply(planned))
    await until(lambda: begun(bench, containers))
    [pod] = items(control_plane, namespace, "pods")
    control_plane.call("DELETE", f"{CORE}/namespaces/{namespace}/pods/{pod['metadata']['name']}")
    with pytest.raises(ToolFailed, match="was killed during apply"):
        await applying
    assert (begun(bench, containers), made_thing(bench, containers)) == (1, None)
    await bench.provision()
    assert made_thing(bench, containers)["colour"] == "blue"


async def test_an_api_server_that_is_away_for_a_while_does_not_end_a_run(bench: Bench, containers, control_plane):
    planned = await bench.plan(inputs={"slow_seconds": 3})
    applying = asyncio.create_task(bench.apply(planned))
    await until(lambda: begun(bench, containers))
    server = control_plane.servers["kube-apiserver"]
    server.kill()
    server.launch()  # by this thread, with which it dies
    await until(server.ready, in_thread=True)
    assert (await applying).outputs["colour"].value == "blue"
    assert begun(bench, containers) == 1


async def test_a_pod_that_cannot_start_says_why(bench: Bench, tmp_path: Path, kubeconfig, containers, namespace):
    nowhere = settings(kubeconfig, namespace, node_selector={"no": "node"})
    told = (containers.command, containers.image, containers.things.url, bench.service.name)
    other = await Bench.open(tmp_path / "other", *told, **nowhere)
    with pytest.raises(StepTimedOut, match=r"not ended within 4 s.*is not scheduled: Unschedulable"):
        await other.plan(time="4s")
    no_network = await Bench.open(tmp_path / "more", *told, **settings(kubeconfig, namespace, network=False))
    with pytest.raises(ToolUnavailable, match="the pool has none for Jobs"):
        await no_network.plan()
