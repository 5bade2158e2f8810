"""A step that brings a kind and objects of it, a namespace and what is in it: there, changed, stuck, and gone."""

from __future__ import annotations

import json
import urllib.error
import uuid
from typing import Any

import pytest
from kubernetes_kit import Bench, shown

from bondstone.base.errors import Refused, StepTimedOut, ToolFailed

pytestmark = pytest.mark.integration


def definition(group: str) -> str:
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}},
    }
    return f"""
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: widgets.{group}}}
spec:
  group: {group}
  scope: Namespaced
  names: {{kind: Widget, plural: widgets, singular: widget}}
  versions: [{{name: v1, served: true, storage: true, schema: {{openAPIV3Schema: {json.dumps(schema)}}}}}]
"""


def widget(group: str, name: str, size: Any = 3) -> str:
    return f"\n---\napiVersion: {group}/v1\nkind: Widget\nmetadata: {{name: {name}}}\nspec: {{size: {size}}}\n"


@pytest.fixture
def names() -> tuple[str, str]:
    """A group of kinds and a namespace that nobody has."""
    unique = uuid.uuid4().hex[:8]
    return f"g{unique}.example.com", f"kinds-{unique}"


def find(plane, path: str) -> Any:
    try:
        return plane.call("GET", path)
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise
        return None


async def test_a_kind_its_objects_and_their_namespace_come_change_get_stuck_and_go(tmp_path, control_plane, names):
    group, namespace = names
    path = f"/apis/{group}/v1/namespaces/{namespace}/widgets"
    crd = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.{group}"
    bench = await Bench.open(tmp_path, control_plane.kubeconfig, namespace)
    namespace_manifest = f"\n---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n"
    wait = [{"object": "Widget/first", "path": "{.spec.size}", "equals": 3}]
    options = {"cluster_scoped": True, "wait": wait, "timeout": "90s"}
    # what needs others is declared before them
    bench.write(
        widget(group, "first")[5:] + widget(group, "second") + "\n---" + definition(group) + namespace_manifest
    )
    with pytest.raises(Refused, match="is in no namespace"):
        await bench.plan()
    planned = await bench.plan(**options)
    assert [action for action, _ in shown(planned)] == ["create"] * 4
    assert find(control_plane, crd) is None
    await bench.apply(planned, **options)
    assert find(control_plane, f"{path}/first")["spec"] == {"size": 3}
    assert (await bench.plan(**options)).empty
    assert await bench.drift(**options) == []

    # server-side apply takes no null for a field that may not be null; a new object that is posted would lose it
    bench.write(widget(group, "first", size="null") + "\n---" + definition(group) + namespace_manifest)
    with pytest.raises(ToolFailed, match=r'spec.size in body must be of type integer: "null"') as refused:
        await bench.plan(**options)
    assert "leave the field out" in refused.value.hint

    # now that the kind is served, its objects are tried like all others
    bench.write(widget(group, "first", size=4) + "\n---" + definition(group) + namespace_manifest)
    options["wait"] = []
    planned = await bench.plan(**options)
    assert shown(planned) == [
        ("update", f"{group}/v1/Widget/{namespace}/first"),
        ("delete", f"{group}/v1/Widget/{namespace}/second"),
    ]
    await bench.apply(planned, **options)
    assert find(control_plane, f"{path}/second") is None
    bench.write(widget(group, "first", size="much") + "\n---" + definition(group) + namespace_manifest)
    with pytest.raises(ToolFailed, match=r"Widget.*spec\.size: expected numeric"):
        await bench.plan(**options)

    # an operator's finalizer holds the object: nothing that it stands on goes before it
    live = find(control_plane, f"{path}/first")
    live["metadata"]["finalizers"] = ["example.com/operator"]
    control_plane.call("PUT", f"{path}/first", live)
    with pytest.raises(StepTimedOut, match="1 object is still there") as caught:
        await bench.destroy(**{**options, "timeout": "2s"})
    [problem] = caught.value.problems
    assert problem.message.startswith(f"{group}/v1/Widget/{namespace}/first: being deleted since 2")
    assert "waits for finalizer" in problem.message
    assert "example.com/operator" in problem.message
    assert find(control_plane, crd) is not None
    assert find(control_plane, f"/api/v1/namespaces/{namespace}")["status"]["phase"] == "Active"
    live = find(control_plane, f"{path}/first")
    live["metadata"]["finalizers"].remove("example.com/operator")
    control_plane.call("PUT", f"{path}/first", live)
    await bench.destroy(**options)
    assert find(control_plane, crd) is None
    assert find(control_plane, f"/api/v1/namespaces/{namespace}") is None
    assert (await bench.inventory())["objects"] == []


async def test_what_is_stuck_in_a_namespace_is_named_with_what_holds_it(tmp_path, control_plane, names):
    _, namespace = names
    bench = await Bench.open(tmp_path, control_plane.kubeconfig, namespace)
    bench.write(f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n")
    await bench.provision(cluster_scoped=True)
    held = {"metadata": {"name": "theirs", "finalizers": ["example.com/hold"]}}
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    control_plane.call("POST", path, held)
    with pytest.raises(StepTimedOut) as caught:
        await bench.destroy(cluster_scoped=True, timeout="8s")
    [problem] = caught.value.problems
    assert problem.message.startswith(f"v1/Namespace/{namespace}: being deleted since 2")
    assert "example.com/hold" in problem.message
    live = find(control_plane, f"{path}/theirs")
    control_plane.call("PUT", f"{path}/theirs", {**live, "metadata": {**live["metadata"], "finalizers": []}})
    await bench.destroy(cluster_scoped=True, timeout="60s")


async def test_a_kind_that_nobody_brings_is_said(tmp_path, control_plane, names):
    group, _ = names
    bench = await Bench.open(tmp_path, control_plane.kubeconfig, "default")
    bench.write(widget(group, "first"))
    with pytest.raises(ToolFailed, match="does not know the kind Widget"):
        await bench.plan()
