"""A chart that brings kinds in `crds/` and objects of them: planned before the cluster knows the kinds."""

from __future__ import annotations

import urllib.error
import uuid
from http import HTTPStatus

import pytest
from helm_kit import STEADY, Bench, write_chart

from bondstone.base.errors import Refused
from harness.servers.kubernetes import ControlPlane
from harness.waiting import until

pytestmark = pytest.mark.integration


async def test_a_chart_that_brings_its_own_kinds_is_planned_applied_and_taken_away(tmp_path, control_plane):
    unique = uuid.uuid4().hex[:8]
    group, namespace = f"h{unique}.example.com", f"kinds-{unique}"
    control_plane.call("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
    bench = await Bench.open(tmp_path, control_plane, namespace)
    schema = "{type: object, x-kubernetes-preserve-unknown-fields: true}"
    chart = {
        "crds/widgets.yaml": (
            f"apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n"
            f"metadata: {{name: widgets.{group}}}\nspec:\n  group: {group}\n  scope: Namespaced\n"
            f"  names: {{kind: Widget, plural: widgets, singular: widget}}\n"
            f"  versions: [{{name: v1, served: true, storage: true, schema: {{openAPIV3Schema: {schema}}}}}]\n"
        ),
        "templates/widget.yaml": (
            f'{{{{ if .Capabilities.APIVersions.Has "{group}/v1" }}}}\napiVersion: {group}/v1\nkind: Widget\n'
            "metadata: {name: first}\nspec:\n"
            '  namespace: {{ (lookup "v1" "Namespace" "" .Release.Namespace).metadata.name }}\n{{ end }}\n'
        ),
        "templates/hook.yaml": (
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: hook, annotations: {helm.sh/hook: pre-install}}\n"
        ),
    }
    write_chart(tmp_path / "bundle" / "chart", {**STEADY, **chart})
    planned = await bench.plan(replicas=0)
    created = {change.address for change in planned.changes if change.action == "create"}
    crd = f"apiextensions.k8s.io/v1/CustomResourceDefinition/widgets.{group}"
    assert created >= {crd, f"{group}/v1/Widget/{namespace}/first"}
    assert {"CustomResourceDefinition", "Widget"} <= {item["kind"] for item in planned.document["manifests"]}
    assert "hook" not in {change.address.rpartition("/")[2] for change in planned.changes}
    await bench.apply(planned, replicas=0)
    path = f"/apis/{group}/v1/namespaces/{namespace}/widgets"
    assert control_plane.call("GET", f"{path}/first")["spec"] == {"namespace": namespace}
    assert (await bench.plan(replicas=0)).empty
    assert await bench.drift() == []
    # Helm itself would leave what somebody changed in an object of such a kind
    bench.patch(f"{path}/first", {"spec": {"namespace": "other", "more": 1}})
    [change] = await bench.drift()
    assert (change.before["spec"], change.after["spec"]) == ({"namespace": namespace}, {"namespace": "other"})
    repair = await bench.plan(replicas=0)
    assert [item.address for item in repair.changes] == [f"{group}/v1/Widget/{namespace}/first"]
    await bench.apply(repair, replicas=0)
    assert control_plane.call("GET", f"{path}/first")["spec"] == {"namespace": namespace, "more": 1}
    assert (await bench.plan(replicas=0)).empty
    await bench.destroy()
    assert control_plane.call("GET", path)["items"] == []  # the kind stays, as Helm has it

    # a pool that allows this namespace only does not let a chart bring kinds
    control_plane.call("DELETE", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.{group}")
    await until(lambda: gone(control_plane, path))
    clusters = {name: item.changed(namespaces=(namespace,)) for name, item in bench.settings.clusters.items()}
    bench.settings = bench.settings.changed(clusters=clusters)
    with pytest.raises(Refused, match="in no namespace"):
        await bench.plan(replicas=0)
    control_plane.call("DELETE", f"/api/v1/namespaces/{namespace}")


def gone(plane: ControlPlane, path: str) -> bool:
    try:
        plane.call("GET", path)
    except urllib.error.HTTPError as error:
        return error.code == HTTPStatus.NOT_FOUND
    return False
