"""The shipped promises that name an image of their own, as services: each image is built here, from scratch.

A promise's `image/` is taken as it is. What its Dockerfile would pull, a shell and yq or a Python, comes from this
machine, and yq is a stand-in for the one thing that is asked of it: a value by its path.
"""

from __future__ import annotations

import asyncio
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from platforms import LocalPlatform, publish, running

from bondstone.client.direct.client import DirectClient
from bondstone.model.service import OperationRecord, OperationStatus
from bondstone.promises import CATALOGUE
from harness.kratix_images import bring_libraries
from harness.servers import containers as container_engine
from harness.servers import grafana
from harness.servers.containers import Containers

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

YQ = """
package main

import (
	"fmt"
	"os"
	"strings"
)

func main() {
	text, err := os.ReadFile(os.Args[2])
	if err != nil {
		panic(err)
	}
	var path []string
	for _, line := range strings.Split(string(text), "\\n") {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		path = append(path[:(len(line)-len(strings.TrimLeft(line, " ")))/2], name)
		if "."+strings.Join(path, ".") == os.Args[1] {
			fmt.Println(strings.TrimSpace(value))
			return
		}
	}
	os.Exit(1)
}
"""
UNUSED = shutil.ignore_patterns(
    "test", "tests", "idlelib", "site-packages", "dist-packages", "__pycache__", "config-*", "tkinter", "ensurepip"
)


@pytest.fixture(scope="module")
def platform(
    control_plane, containers: Containers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalPlatform]:
    folder = tmp_path_factory.mktemp("catalogue")
    images = {"cache": with_shell(folder, containers), "dashboards": with_python(folder, containers)}
    clusters = {"default": {"kubeconfig": str(control_plane.kubeconfig)}}
    settings = {"BOND_CLUSTERS": json.dumps(clusters), **containers.environment}
    with running(folder / "data", settings) as local:

        async def published() -> None:
            async with local.client() as bond:
                for name, image in images.items():
                    shutil.copytree(CATALOGUE / name, folder / name)
                    file = folder / name / "promise.yaml"
                    [shipped] = [word for word in file.read_text().split() if "@sha256:" in word]
                    file.write_text(file.read_text().replace(shipped, image))
                    await publish(bond, folder / name)

        asyncio.run(published())
        yield local


@pytest.fixture
async def bond(platform: LocalPlatform) -> AsyncIterator[DirectClient]:
    async with platform.client() as client, asyncio.timeout(400):
        yield client


def with_shell(folder: Path, containers: Containers) -> str:
    """The image of `cache`; its name by digest."""
    root = folder / "shell"
    (root / "bin").mkdir(parents=True)
    for name in ("sh", "cat"):
        shutil.copy(Path(shutil.which(name) or name).resolve(), root / "bin" / name)
    bring_libraries([root / "bin" / "sh", root / "bin" / "cat"], root)
    (folder / "yq.go").write_text(YQ)
    container_engine.image(containers.command, "localhost/yq", folder / "yq.go", folder / "yq")
    shutil.copy(folder / "yq" / "tool", root / "bin" / "yq")
    return built("cache", root, containers)


def with_python(folder: Path, containers: Containers) -> str:
    """The image of `dashboards`; its name by digest."""
    root = folder / "python"
    (root / "bin").mkdir(parents=True)
    library = f"lib/python{sys.version_info.major}.{sys.version_info.minor}"
    shutil.copytree(Path(sys.base_prefix) / library, root / library, ignore=UNUSED)
    program = shutil.copy((Path(sys.base_prefix) / "bin" / "python3").resolve(), root / "bin" / "python3")
    modules = sorted((root / library / "lib-dynload").glob("*.so"))
    bring_libraries([Path(program), *modules], root)
    return built("dashboards", root, containers)


def built(name: str, root: Path, containers: Containers) -> str:
    """Build a shipped image on a root of ours, by those lines of its Dockerfile that fetch nothing."""
    context = root.parent / f"{name}-image"
    shutil.copytree(CATALOGUE / name / "image", context)
    shutil.copytree(root, context / "root")
    for file in context.iterdir():
        if file.is_file():
            file.chmod(0o755)
    lines = (context / "Dockerfile").read_text().splitlines()
    kept = [line for line in lines if line.split()[0] not in {"FROM", "RUN"}]
    head = ["FROM scratch", "COPY root /", "ENV PATH=/usr/bin:/bin PYTHONHOME=/"]
    (context / "Dockerfile").write_text("\n".join([*head, *kept, ""]))
    command = [*shlex.split(containers.command), "build", "--quiet", f"--tag=localhost/{name}", str(context)]
    subprocess.run(command, check=True, capture_output=True)
    return (
        f"localhost/{name}@"
        + containers.engine("image", "inspect", f"localhost/{name}", "--format={{.Digest}}").strip()
    )


async def ended(operation) -> OperationRecord:
    record = await operation.wait(through_approvals=True)
    assert record.status is OperationStatus.SUCCEEDED, record.error
    return record


async def test_the_shipped_cache_lives_and_ends(bond: DirectClient, control_plane, containers: Containers):
    service = "catalogue/sessions"
    path = "/apis/apps/v1/namespaces/default/deployments/catalogue-sessions"

    def limit() -> str:
        [container] = control_plane.call("GET", path)["spec"]["template"]["spec"]["containers"]
        return container["resources"]["limits"]["memory"]

    record = await ended(await bond.services.request("cache", service, {"memory": 256}))
    assert (record.steps[0].changes.create, limit()) == (2, "288Mi")
    assert await bond.services.outputs(service) == {"address": "catalogue-sessions.default.svc:6379"}
    assert (await ended(await bond.services.reconcile(service))).drift == 0
    await ended(await bond.services.update(service, {"memory": 512}))
    assert limit() == "544Mi"
    await ended(await bond.services.decommission(service))
    names = [item["metadata"]["name"] for item in control_plane.call("GET", path.rpartition("/")[0])["items"]]
    assert "catalogue-sessions" not in names
    assert containers.names() == [], "no container is left"


async def test_the_shipped_dashboards_live_and_end(bond: DirectClient, containers: Containers):
    service = "catalogue/orders"
    with grafana.running() as server:
        inputs = {"grafana": server.url, "token": grafana.TOKEN}
        await ended(await bond.services.request("dashboards", service, inputs))
        [(uid, folder)] = server.folders.items()
        assert folder["title"] == "catalogue orders"
        assert await bond.services.outputs(service) == {"url": f"{server.url}/dashboards/f/{uid}"}
        folder["title"] = "by hand"
        assert (await ended(await bond.services.reconcile(service))).drift == 1
        await ended(await bond.services.update(service, {"title": "Orders"}))
        assert server.folders[uid]["title"] == "Orders"
        await ended(await bond.services.decommission(service))
        assert server.folders == {}
    assert containers.names() == [], "no container is left"
