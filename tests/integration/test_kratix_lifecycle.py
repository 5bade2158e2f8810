"""A Kratix promise through real workflows: what its pipelines put off survives that every worker is killed."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from platforms import LocalPlatform, publish, running, until

from bondstone.model.service import OperationStatus
from harness.servers import containers as container_engine
from harness.servers.containers import Containers

pytestmark = [pytest.mark.integration, pytest.mark.kills, pytest.mark.timeout(600)]

PIPELINE = """
package main

import (
	"io"
	"net/http"
	"os"
	"strings"
)

func main() {
	if os.Getenv("KRATIX_WORKFLOW_ACTION") == "delete" {
		return
	}
	answer, err := http.Get(os.Args[1])
	if err != nil {
		panic(err)
	}
	quota, err := io.ReadAll(answer.Body)
	if err != nil {
		panic(err)
	}
	object, err := os.ReadFile("/kratix/input/object.yaml")
	if err != nil {
		panic(err)
	}
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			panic(err)
		}
	}
	size := "small"
	if strings.Contains(string(object), "large") {
		size = "large"
	}
	if !strings.Contains(string(quota), size) {
		control := "retryAfter: 2s\\nmessage: no quota yet\\n"
		if size == "large" {
			control = "suspend: true\\nmessage: ask the lead\\n"
		}
		write("/kratix/metadata/workflow-control.yaml", control)
		return
	}
	head := "apiVersion: v1\\nkind: ConfigMap\\nmetadata: {name: cache}\\n"
	write("/kratix/output/map.yaml", head+"data: {size: "+size+"}\\n")
}
"""
PROMISE = """
apiVersion: bondstone.dev/v1
kind: Promise
metadata: {name: cache, version: 1.0.0, title: Cache, owner: shop}
spec:
  description: A cache, made by a pipeline of Kratix.
  inputs:
    type: object
    required: [namespace]
    additionalProperties: false
    properties:
      namespace: {type: string}
      size: {type: string, enum: [small, large], default: small}
  steps:
    - id: main
      kratix:
        promise: cache
        api: {group: example.org, version: v1, kind: Cache, plural: caches}
        object:
          apiVersion: example.org/v1
          kind: Cache
          metadata: {name: "${service.name}", namespace: default}
          spec: {size: "${inputs.size}", place: "${inputs.namespace}"}
        configure:
          - name: make
            containers: [{name: render, image: "IMAGE", args: ["URL"]}]
        network: pool
        namespace: "${inputs.namespace}"
        timeout: 60s
"""


REQUEST = """
apiVersion: example.org/v1
kind: Cache
metadata: {name: NAME, namespace: shop, labels: {app: cart}}
spec: {size: small, place: NAME}
"""


@pytest.fixture
def namespace(control_plane) -> Iterator[str]:
    name = f"cache-{uuid.uuid4().hex[:8]}"
    control_plane.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    yield name
    control_plane.call("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture
def platform(control_plane, containers: Containers, namespace: str, tmp_path: Path) -> Iterator[LocalPlatform]:
    source = tmp_path / "main.go"
    source.write_text(PIPELINE)
    container_engine.image(containers.command, "localhost/cache:v1", source, tmp_path / "image")
    digest = containers.engine("image", "inspect", "localhost/cache:v1", "--format={{.Digest}}").strip()
    folder = tmp_path / "promise"
    folder.mkdir()
    text = PROMISE.replace("IMAGE", f"localhost/cache@{digest}")
    (folder / "promise.yaml").write_text(text.replace("URL", f"{containers.things.url}/{namespace}"))
    clusters = {"default": {"kubeconfig": str(control_plane.kubeconfig)}}
    settings = {"BOND_CLUSTERS": json.dumps(clusters), **containers.environment}
    with running(tmp_path / "data", settings) as local:

        async def published() -> None:
            async with local.client() as bond:
                await publish(bond, folder)

        asyncio.run(published())
        yield local


async def test_what_a_pipeline_puts_off_or_holds_survives_that_every_worker_is_killed(
    platform: LocalPlatform, control_plane, containers: Containers, namespace: str, tmp_path: Path
):
    """It is requested as Kratix's users do, by the object that they would give to kubectl."""
    request = tmp_path / "request.yaml"
    request.write_text(REQUEST.replace("NAME", namespace))
    service, quota = f"shop/{namespace}", containers.things.space(namespace)

    def size() -> str:
        path = f"/api/v1/namespaces/{namespace}/configmaps/cache"
        return control_plane.call("GET", path)["data"]["size"]

    async with platform.client() as bond, asyncio.timeout(400):
        applied = await asyncio.to_thread(platform.bond, "apply", "-f", str(request), "-o", "json")
        operation = bond.operation(json.loads(applied.stdout)["manifests"][0]["operations"][0])
        await until(
            lambda: "no quota yet" in platform.bond("operation", "show", operation.id).stdout,
            "the words of the pipeline",
            in_thread=True,
        )
        kill_workers(platform)
        quota["small"] = {}
        assert (await operation.wait()).status is OperationStatus.SUCCEEDED
        assert size() == "small"
        applied = await asyncio.to_thread(platform.bond, "diff", "-f", str(request))
        assert "1 unchanged" in applied.stdout
        assert (await bond.services.get(service)).labels == {"app": "cart"}

        operation = await bond.services.update(service, {"size": "large"})
        record = await operation.wait()
        assert record.status is OperationStatus.FAILED
        assert record.error is not None
        assert "ask the lead" in record.error.message
        kill_workers(platform)
        assert size() == "small", "what stands is left alone"
        quota["large"] = {}
        assert (await (await bond.services.retry(service)).wait()).status is OperationStatus.SUCCEEDED
        assert size() == "large"
        operation = await bond.services.decommission(service)
        assert (await operation.wait()).status is OperationStatus.SUCCEEDED
    items = control_plane.call("GET", f"/api/v1/namespaces/{namespace}/configmaps")["items"]
    assert "cache" not in {item["metadata"]["name"] for item in items}
    assert containers.names() == [], "no container is left"


def kill_workers(platform: LocalPlatform) -> None:
    """Those of both kinds, at once."""
    pids = [*platform.workers("executor").values(), *platform.workers("control").values()]
    victims = [psutil.Process(pid) for pid in pids]
    for victim in victims:
        victim.kill()
    psutil.wait_procs(victims, timeout=60)
