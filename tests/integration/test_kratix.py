"""Kratix steps with real containers (podman, runc) and a real control plane: render, apply, drift, destroy."""

from __future__ import annotations

import json
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kubernetes_kit import Bench

from bondstone.activities.kratix.executor import KratixExecutor
from bondstone.activities.kratix.section import KratixSection
from bondstone.base.destinations import GitDestination
from bondstone.base.errors import OperationFailed, ToolFailed, TryLater
from bondstone.base.settings import Settings
from harness.servers import containers

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        not all(map(shutil.which, ("podman", "runc", "go"))), reason="needs podman, runc and a Go compiler"
    ),
]

PIPELINE = """
package main

import (
	"os"
	"strings"
)

func main() {
	object, err := os.ReadFile("/kratix/input/object.yaml")
	if err != nil {
		panic(err)
	}
	size := "small"
	for _, line := range strings.Split(string(object), "\\n") {
		if value, found := strings.CutPrefix(strings.TrimSpace(line), "size:"); found {
			size = strings.TrimSpace(value)
		}
	}
	name, action := os.Getenv("KRATIX_OBJECT_NAME"), os.Getenv("KRATIX_WORKFLOW_ACTION")
	println(action, name, size, strings.Join(os.Args[1:], " "))
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			panic(err)
		}
	}
	switch {
	case action == "delete":
		return
	case size == "broken":
		println("there is no size broken")
		os.Exit(3)
	case size == "later":
		write("/kratix/metadata/workflow-control.yaml", "retryAfter: 1m\\nmessage: no quota yet\\n")
	case size == "held":
		write("/kratix/metadata/workflow-control.yaml", "suspend: true\\nmessage: ask the lead\\n")
	}
	if err := os.WriteFile("/kratix/input/object.yaml", nil, 0o644); err == nil {
		panic("the input can be written")
	}
	head := "apiVersion: v1\\nkind: ConfigMap\\n"
	write("/kratix/output/map.yaml", head+"metadata: {name: "+name+"}\\ndata: {size: "+size+"}\\n")
	write("/kratix/metadata/status.yaml", "message: a "+size+" one\\n")
}
"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """podman with a store of its own, and one image of one static program."""
    folder = tmp_path_factory.mktemp("podman")
    (folder / "main.go").write_text(PIPELINE)
    with containers.engine(folder) as command:
        containers.image(command, "localhost/it:v1", folder / "main.go", folder / "image")
        yield command


class KratixBench:
    """One worker's view of one Kratix step, on the bench of the executor of manifests."""

    def __init__(self, bench: Bench, engine: str) -> None:
        self.bench = bench
        self.settings: Settings = bench.settings.changed(container_engine=engine)
        self.executor = KratixExecutor()

    def context(self, size: str, **changes: Any):
        containers = [{"name": "render", "image": "localhost/it:v1", "args": ["--render"]}]
        section = KratixSection.model_validate(
            {
                "promise": "cache",
                "api": {"group": "example.org", "version": "v1", "kind": "Cache", "plural": "caches"},
                "object": {
                    "apiVersion": "example.org/v1",
                    "kind": "Cache",
                    "metadata": {"name": "one", "namespace": "default"},
                    "spec": {"size": size},
                },
                "configure": [{"name": "make", "containers": containers}],
                "delete": [{"name": "unmake", "containers": containers}],
                "namespace": self.bench.namespace,
                "timeout": "60s",
                **changes,
            }
        )
        return replace(self.bench.context(), section=section, settings=self.settings)


@pytest.fixture
async def kratix(tmp_path: Path, control_plane: Any, namespace: str, engine: str) -> KratixBench:
    return KratixBench(await Bench.open(tmp_path, control_plane.kubeconfig, namespace), engine)


@pytest.fixture
def namespace(control_plane: Any) -> Iterator[str]:
    name = f"kratix-{uuid.uuid4().hex[:8]}"
    control_plane.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    yield name
    control_plane.call("DELETE", f"/api/v1/namespaces/{name}")


async def test_what_a_pipeline_writes_is_planned_applied_watched_and_removed(
    kratix, control_plane, namespace
) -> None:
    executor = kratix.executor
    planned = await executor.plan(kratix.context("small"))
    assert [(change.action, change.type) for change in planned.changes] == [("create", "ConfigMap")]
    assert planned.document["status"] == {"message": "a small one"}
    log = "\n".join(kratix.bench.log)
    assert "render: configure one small --render" in log

    outcome = await executor.apply(kratix.context("small"), planned.artefact, planned.position)
    assert outcome.outputs["status"].value == {"message": "a small one"}
    path = f"/api/v1/namespaces/{namespace}/configmaps/one"
    live = control_plane.call("GET", path)
    assert live["data"] == {"size": "small"}
    assert (await executor.plan(kratix.context("small"))).empty

    changed = await executor.plan(kratix.context("large"))
    assert [change.action for change in changed.changes] == ["update"]
    await executor.apply(kratix.context("large"), changed.artefact, changed.position)
    live = control_plane.call("GET", path)
    control_plane.call("PUT", path, {**live, "data": {"size": "by hand"}})
    [drifted] = (await executor.detect_drift(kratix.context("large"))).changes
    assert drifted.after == {"data": {"size": "by hand"}}

    gone = await executor.plan_destroy(kratix.context("large"))
    assert [change.action for change in gone.changes] == ["delete"]
    await executor.apply(kratix.context("large"), gone.artefact, gone.position)
    assert "render: delete one large --render" in "\n".join(kratix.bench.log), (
        "its pipelines of `delete` run first"
    )
    assert (await executor.plan_destroy(kratix.context("large"))).empty


async def test_a_pipeline_says_later_held_or_no_in_its_own_words(kratix) -> None:
    with pytest.raises(TryLater, match="runs again in 60 s: no quota yet"):
        await kratix.executor.plan(kratix.context("later"))
    with pytest.raises(OperationFailed, match="ask the lead"):
        await kratix.executor.plan(kratix.context("held"))
    with pytest.raises(ToolFailed, match=r"render ended with 3: [\s\S]*there is no size broken"):
        await kratix.executor.plan(kratix.context("broken"))
    left = subprocess.run(  # noqa: ASYNC221 - the test has nothing else to do
        [*kratix.settings.container_engine.split(), "ps", "--all", "--format=json"],
        capture_output=True,
        check=True,
    )
    assert json.loads(left.stdout) == [], "no container is left"
    assert list(kratix.settings.work_dir.glob("kratix-*")) == []


async def test_what_a_pipeline_writes_is_pushed_to_a_git_destination(kratix, tmp_path: Path) -> None:
    bare = tmp_path / "fleet.git"
    subprocess.run(["git", "init", "--quiet", "--bare", str(bare)], check=True)  # noqa: ASYNC221 - as above
    kratix.settings = kratix.settings.changed(
        git_destinations={"fleet": GitDestination(url=bare.as_uri(), path="clusters/eu")}
    )

    def context(size: str):
        made = kratix.context(size)
        written = made.section.model_dump(exclude={"cluster", "namespace"}) | {"destination": "fleet"}
        return replace(made, section=KratixSection.model_validate(written))

    planned = await kratix.executor.plan(context("small"))
    assert [(change.action, change.address) for change in planned.changes] == [("create", "make/map.yaml")]
    outcome = await kratix.executor.apply(context("small"), planned.artefact, planned.position)
    assert outcome.outputs["status"].value == {"message": "a small one"}
    show = ["git", f"--git-dir={bare}", "show", "main:clusters/eu/shop/web/app/make/map.yaml"]
    pushed = subprocess.run(show, check=True, capture_output=True, text=True)  # noqa: ASYNC221 - as above
    assert pushed.stdout.endswith("metadata: {name: one}\ndata: {size: small}\n")
    assert (await kratix.executor.plan(context("small"))).empty
    gone = await kratix.executor.plan_destroy(context("small"))
    await kratix.executor.apply(context("small"), gone.artefact, gone.position)
    assert "render: delete one small --render" in "\n".join(kratix.bench.log)
    assert subprocess.run(show, check=False, capture_output=True).returncode != 0, "the file is gone"  # noqa: ASYNC221
