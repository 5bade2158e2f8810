"""A service of manifests through its life, by the command and real workflows; and a worker that is killed."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
import urllib.error
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from kubernetes_kit import Bench
from platforms import LocalPlatform, running

from harness.pinned import ROOT

pytestmark = pytest.mark.integration

KEY = "canary-of-a-manifest-77aa31"
SERVICE = "shop/manifests"
PROMISE = """
apiVersion: bondstone.dev/v1
kind: Promise
metadata: {name: manifests, version: 1.0.0, title: Manifests, owner: shop}
spec:
  description: A web app of plain manifests.
  inputs:
    type: object
    required: [namespace, key]
    additionalProperties: false
    properties:
      namespace: {type: string}
      replicas: {type: integer, default: 2}
      key: {type: string, writeOnly: true}
  outputs:
    address: {type: string, value: "${steps.app.outputs.address}"}
    key: {type: string, value: "${steps.app.outputs.key}", secret: true}
  steps:
    - id: app
      kubernetes:
        manifests: [app.yaml]
        namespace: "${inputs.namespace}"
        cluster_scoped: true
        outputs:
          address: {from: "Service/${service.name}", path: "{.spec.clusterIP}"}
          key: {from: Secret/key, path: "{.data.key}"}
"""
APP = """
apiVersion: v1
kind: Namespace
metadata: {name: "${inputs.namespace}"}
---
apiVersion: v1
kind: Secret
metadata: {name: key}
stringData: {key: "${inputs.key}"}
---
apiVersion: v1
kind: Service
metadata: {name: "${service.name}"}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: "${inputs.replicas}"
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: "example/web:1"}]}
"""


@pytest.fixture(scope="module")
def platform(control_plane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPlatform]:
    clusters = {"default": {"kubeconfig": str(control_plane.kubeconfig)}}
    environment = {"BOND_CLUSTERS": json.dumps(clusters), "BOND_LOG_LEVEL": "debug"}
    root = tmp_path_factory.mktemp("kubernetes")
    (root / "promise").mkdir()
    (root / "promise" / "promise.yaml").write_text(PROMISE)
    (root / "promise" / "app.yaml").write_text(APP)
    with running(root / "data", environment) as local:
        local.bond("promise", "publish", str(root / "promise"))
        yield local


def test_a_service_of_manifests_lives_and_ends(platform, control_plane):
    namespace = f"life-{uuid.uuid4().hex[:8]}"
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/web"
    request = ["service", "request", "manifests", SERVICE, "--set", f"namespace={namespace}", "--secret", "key"]
    platform.bond(*request, "--wait", stdin_text=KEY, seconds=150)
    assert control_plane.call("GET", path)["status"]["readyReplicas"] == 2
    shown = json.loads(platform.bond("service", "outputs", SERVICE, "-o", "json").stdout)
    assert shown["address"].startswith("10.96.")
    assert KEY not in json.dumps(shown)
    revealed = platform.bond("service", "outputs", SERVICE, "--reveal", "-o", "json").stdout
    assert json.loads(revealed)["key"] == KEY

    platform.bond("service", "update", SERVICE, "--set", "replicas=1", "--wait", seconds=150)
    assert control_plane.call("GET", path)["spec"]["replicas"] == 1

    control_plane.call("DELETE", path)
    assert "Deployment" in platform.bond("service", "reconcile", SERVICE, "--wait", status=None).stdout
    platform.bond("service", "reconcile", SERVICE, "--repair", "--wait", seconds=150)
    assert control_plane.call("GET", path)["spec"]["replicas"] == 1

    output = platform.bond("service", "logs", SERVICE).stdout
    output += platform.bond("service", "history", SERVICE, "-o", "json").stdout
    database = next(platform.data.rglob("*.db"))
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        output += "\n".join(connection.iterdump())
    assert KEY not in output
    files = [path for path in platform.data.rglob("*") if path.is_file() and "keys" not in path.name]
    assert [str(path) for path in files if KEY.encode() in path.read_bytes()] == []

    ended = platform.bond("service", "decommission", SERVICE, "--yes", "--wait", seconds=150)
    assert "still stands" not in ended.stdout + ended.stderr
    with pytest.raises(urllib.error.HTTPError, match="404"):
        control_plane.call("GET", f"/api/v1/namespaces/{namespace}")


@pytest.mark.kills
@pytest.mark.parametrize("lines", [1, 3, 7])
async def test_a_killed_worker_is_carried_on_with_the_same_plan(tmp_path, control_plane, lines):
    namespace = f"kill-{uuid.uuid4().hex[:8]}"
    control_plane.call("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
    bench = await Bench.open(tmp_path, control_plane.kubeconfig, namespace)

    def write(names: list[str]) -> None:
        bench.write("---\n".join(f"{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {n}}}}}\n" for n in names))

    write(["old-1", "old-2"])
    await bench.provision()
    names = [f"new-{n}" for n in range(6)]
    write(names)
    planned = await bench.plan()
    (tmp_path / "plan").write_bytes(planned.artefact)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("kubernetes_victim.py")),
        *(str(tmp_path), str(control_plane.kubeconfig), namespace, str(planned.position)),
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{Path(__file__).parent}"},
        stdout=asyncio.subprocess.PIPE,
    )
    for _ in range(lines):
        assert await process.stdout.readline()
    process.kill()
    await process.wait()
    await bench.apply(planned)
    items = control_plane.call("GET", f"/api/v1/namespaces/{namespace}/configmaps")["items"]
    assert sorted({item["metadata"]["name"] for item in items} - {"kube-root-ca.crt"}) == names
    assert (await bench.plan()).empty
