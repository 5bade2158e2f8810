"""The Helm executor with a real Helm and a real control plane: what is planned is what happens."""

from __future__ import annotations

import base64
import json
import random
import urllib.error
import uuid

import pytest
from helm_kit import CHART, HELMS, ONE_HELM, OUTPUTS, STEADY, Bench, write_chart

from bondstone.base.errors import PlanStale, Refused, ToolFailed
from bondstone.base.redact import MASK, Redactor, known_secrets
from bondstone.model.service import ServiceId
from bondstone.policy.plan_secrets import masked_marks, sensitive_values
from harness.pinned import TOOLS
from harness.servers.kubernetes import STAYS_PENDING

pytestmark = pytest.mark.integration

CANARY = "canary-7f3a-secret"


@pytest.fixture(params=HELMS)
async def bench(request, control_plane, tmp_path) -> Bench:
    name = f"test-{uuid.uuid4().hex[:8]}"
    control_plane.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    return await Bench.open(tmp_path, control_plane, name, tool=request.param)


async def test_a_service_is_installed_updated_and_taken_away(bench):
    planned = await bench.plan(options={"outputs": OUTPUTS})
    assert {change.action for change in planned.changes} == {"create"}
    assert f"apps/v1/Deployment/{bench.namespace}/orders-web" in {change.address for change in planned.changes}
    assert planned.tool == f"helm {TOOLS[bench.tool].version}"
    outcome = await bench.apply(planned, options={"outputs": OUTPUTS})
    assert outcome.outputs["address"].value.startswith("10.96.")
    assert not outcome.outputs["address"].sensitive
    assert outcome.outputs["password"].value == "correct horse battery"
    assert outcome.outputs["password"].sensitive
    again = await bench.plan(options={"outputs": OUTPUTS})
    assert again.empty
    assert (await bench.apply(again, options={"outputs": OUTPUTS})).outputs == outcome.outputs
    update = await bench.plan(colour="green")
    [change] = update.changes
    assert (change.action, change.before["data"], change.after["data"]) == (
        "update",
        {"colour": "blue"},
        {"colour": "green"},
    )
    await bench.apply(update, colour="green")
    assert bench.get("/api/v1/namespaces/{ns}/configmaps/orders-web")["data"] == {"colour": "green"}
    gone = await bench.executor.plan_destroy(bench.context())
    assert {change.action for change in gone.changes} == {"delete"}
    assert len(gone.changes) == 4
    await bench.apply(gone)
    with pytest.raises(urllib.error.HTTPError, match="404"):
        bench.get("/apis/apps/v1/namespaces/{ns}/deployments/orders-web")
    assert (await bench.executor.plan_destroy(bench.context())).empty


async def test_exactly_what_was_planned_is_applied_also_where_the_chart_is_random(bench):
    write_chart(bench.root / "bundle" / "chart", CHART)
    planned = await bench.plan()
    await bench.apply(planned)
    token = bench.get("/api/v1/namespaces/{ns}/secrets/orders-web")["data"]["token"]
    (bench.root / "token").write_text(token)
    assert base64.b64decode(token) in planned.artefact


@ONE_HELM
async def test_a_plan_is_stale_once_the_release_has_moved(bench):
    await bench.provision()
    planned = await bench.plan(colour="green")
    await bench.provision(colour="red")
    with pytest.raises(PlanStale, match="revision 1 to 2"):
        await bench.apply(planned, colour="green")
    assert bench.get("/api/v1/namespaces/{ns}/configmaps/orders-web")["data"] == {"colour": "red"}


@ONE_HELM
async def test_a_release_of_another_step_or_person_is_not_touched(bench):
    await bench.provision()
    bench.service = ServiceId(team="shop", name="other")
    with pytest.raises(Refused, match="another service owns it"):
        await bench.plan(options={"release": "orders-web"})


@ONE_HELM
async def test_drift_is_seen_field_by_field_and_the_next_plan_repairs_it(bench):
    await bench.provision()
    assert await bench.drift() == []
    bench.patch("/api/v1/namespaces/{ns}/configmaps/orders-web", {"data": {"colour": "pink", "extra": "1"}})
    bench.plane.call("DELETE", f"/api/v1/namespaces/{bench.namespace}/services/orders-web")
    drifted = {change.type: change for change in await bench.drift()}
    assert drifted["ConfigMap"].after["data"] == {"colour": "pink"}
    assert drifted["Service"].action == "delete"
    assert len(drifted) == 2
    repair = await bench.plan()
    assert {change.type: change.action for change in repair.changes} == {
        "ConfigMap": "update",
        "Service": "create",
    }
    await bench.apply(repair)
    assert await bench.drift() == []


async def test_pods_that_never_get_ready_are_named_and_a_first_install_leaves_nothing(bench):
    options = {"annotations": {STAYS_PENDING: "yes"}, "options": {"timeout": "6s"}}
    with pytest.raises(ToolFailed) as caught:
        await bench.provision(**options)
    assert "Deployment" in " ".join(problem.message for problem in caught.value.problems)
    assert bench.statuses() == {}
    assert (await bench.executor.plan_destroy(bench.context())).empty


async def test_a_failed_upgrade_is_rolled_back(bench):
    await bench.provision()
    values = {"colour": "green", "annotations": {STAYS_PENDING: "yes"}, "extra": ["left"]}
    with pytest.raises(ToolFailed):
        await bench.provision(**values, options={"timeout": "8s"})
    assert bench.get("/api/v1/namespaces/{ns}/configmaps/orders-web")["data"] == {"colour": "blue"}
    assert [*bench.statuses().values()][-1] == "deployed"
    assert await bench.drift() == []
    # as if Helm had still been at work on the upgrade when it was told to stop, and rolled back
    marks = {"meta.helm.sh/release-name": "orders-web", "meta.helm.sh/release-namespace": bench.namespace}
    body = {"metadata": {"name": "extra-left", "annotations": marks}}
    bench.plane.call("POST", f"/api/v1/namespaces/{bench.namespace}/configmaps", body)
    [change] = await bench.drift()
    assert (change.action, change.address) == ("create", f"v1/ConfigMap/{bench.namespace}/extra-left")
    await bench.provision(colour="green")
    assert await bench.drift() == []
    assert bench.get("/api/v1/namespaces/{ns}/configmaps/orders-web")["data"] == {"colour": "green"}


async def test_what_a_finalizer_holds_is_named_and_waited_for_the_next_time(bench):
    finalizers = ["example.com/hold"]
    await bench.provision(finalizers=finalizers)
    with pytest.raises(ToolFailed) as caught:
        await bench.destroy(options={"timeout": "3s"})
    [problem] = caught.value.problems
    assert "ConfigMap" in problem.message
    assert "waits for finalizer example.com/hold" in problem.message
    again = await bench.executor.plan_destroy(bench.context())
    assert [change.type for change in again.changes] == ["ConfigMap"]
    bench.patch("/api/v1/namespaces/{ns}/configmaps/orders-web", {"metadata": {"finalizers": None}})
    await bench.destroy()
    assert (await bench.executor.plan_destroy(bench.context())).empty


async def test_secrets_are_nowhere_but_in_the_cluster_and_in_the_artefact(bench):
    options = {"password": CANARY, "colour": f"x-{CANARY}", "secrets": [CANARY]}
    planned = await bench.plan(**options)
    shown = json.dumps([change.model_dump(mode="json", exclude={"fingerprints"}) for change in planned.changes])
    redact = Redactor(known_secrets(sensitive_values(planned.document)))
    assert CANARY not in shown + json.dumps(redact.masked(masked_marks(planned.document)))  # which policies see
    assert MASK in shown
    await bench.apply(planned, **options)
    drifted = await bench.drift(secrets=[CANARY])
    assert CANARY not in "".join(bench.log) + json.dumps([change.model_dump(mode="json") for change in drifted])
    left = [path for path in (bench.settings.work_dir / "helm" / "runs").rglob("*") if path.is_file()]
    assert left == []


def allow(bench: Bench, *namespaces: str) -> None:
    clusters = {name: item.changed(namespaces=namespaces) for name, item in bench.settings.clusters.items()}
    bench.settings = bench.settings.changed(clusters=clusters)


@ONE_HELM
async def test_namespaces_that_the_pool_does_not_allow_are_refused_in_charts_too(bench):
    allow(bench, "team-*")
    with pytest.raises(Refused, match="may not use the namespace"):
        await bench.plan()
    allow(bench, bench.namespace)
    await bench.plan()
    role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: mighty}\nrules: []\n"
    write_chart(bench.root / "bundle" / "chart", {"templates/more.yaml": role})
    with pytest.raises(Refused, match=r"in no namespace of cluster 'default': .*ClusterRole/mighty"):
        await bench.plan()
    hook = (
        "apiVersion: v1\nkind: ConfigMap\n"
        "metadata: {name: x, namespace: kube-system, annotations: {helm.sh/hook: pre-upgrade}}\n"
    )
    write_chart(bench.root / "bundle" / "chart", {"templates/more.yaml": hook})
    with pytest.raises(Refused, match="may not use the namespace 'kube-system'"):
        await bench.plan()


@ONE_HELM
async def test_a_release_that_would_have_to_move_is_refused(bench):
    await bench.provision()
    with pytest.raises(ToolFailed, match="would have to move"):
        await bench.plan(options={"release": "elsewhere"})


@ONE_HELM
async def test_a_field_that_a_kind_does_not_have_is_found_when_it_is_planned(bench):
    chart = bench.root / "bundle" / "chart"
    good = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: more}\ndata: {a: b}\n"
    for text in (good.replace("\ndata:", "\ndta:"), good.replace("a: b", "a: {b: c}")):
        write_chart(chart, {"templates/more.yaml": text})
        with pytest.raises(ToolFailed, match=r"would refuse v1/ConfigMap/.*/more as planned"):
            await bench.plan()
    write_chart(chart, {"templates/more.yaml": good})
    await bench.provision()
    write_chart(chart, {"templates/more.yaml": good.replace("\ndata:", "\nimmutble: true\ndata:")})
    with pytest.raises(ToolFailed, match=r"would refuse v1/ConfigMap/.*/more as planned"):
        await bench.plan()


async def test_what_could_not_be_tried_is_checked_by_helm_before_it_changes_anything(bench):
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: more}\ndta: {a: b}\n"
    write_chart(bench.root / "bundle" / "chart", {"templates/more.yaml": text})
    options = {"namespace": f"{bench.namespace}-new", "create_namespace": True}
    with pytest.raises(ToolFailed, match=r"unknown field|not valid|validating"):
        await bench.provision(options=options)


async def test_an_error_in_a_template_names_its_file_and_line(bench):
    write_chart(bench.root / "bundle" / "chart", {"templates/bad.yaml": "a: b\nc: {{ .Values.x.y.z }}\n"})
    with pytest.raises(ToolFailed) as caught:
        await bench.plan()
    [problem] = caught.value.problems
    assert (problem.file, problem.line) == ("chart/templates/bad.yaml", 2)


KEPT = {
    **STEADY,
    "templates/kept.yaml": (
        "apiVersion: v1\nkind: ConfigMap\n"
        "metadata: {name: data, annotations: {helm.sh/resource-policy: keep}}\ndata: {a: b}\n"
    ),
    "templates/hook.yaml": (
        "apiVersion: v1\nkind: ConfigMap\n"
        "metadata: {name: before, annotations: {helm.sh/hook: 'pre-install,pre-upgrade'}}\ndata: {a: b}\n"
        "---\napiVersion: v1\nkind: ConfigMap\n"
        "metadata: {name: farewell, annotations: {helm.sh/hook: post-delete}}\n"
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: brief, annotations: "
        "{helm.sh/hook: pre-delete, helm.sh/hook-delete-policy: hook-succeeded}}\n"
    ),
}


async def test_what_stays_when_the_service_goes_is_named_before_and_after(bench):
    write_chart(bench.root / "bundle" / "chart", KEPT)
    await bench.provision()
    assert (await bench.plan()).empty, "a second plan of hooks that stand is empty too"
    gone = await bench.executor.plan_destroy(bench.context())
    named = {change.address for change in gone.changes if change.action == "forget"}
    assert named == {f"v1/ConfigMap/{bench.namespace}/{name}" for name in ("data", "before", "farewell")}
    await bench.apply(gone)
    standing = {item["metadata"]["name"] for item in bench.get("/api/v1/namespaces/{ns}/configmaps")["items"]}
    assert standing - {"kube-root-ca.crt"} == {"data", "before", "farewell"}
    for name in ("data", "before", "farewell"):
        assert any(f"/{name} stays in the cluster" in line for line in bench.log)


@ONE_HELM
async def test_an_object_that_is_kept_is_forgotten_by_the_upgrade_without_it(bench):
    write_chart(bench.root / "bundle" / "chart", KEPT)
    await bench.provision()
    (bench.root / "bundle" / "chart" / "templates" / "kept.yaml").unlink()
    [change] = (await bench.plan()).changes
    assert (change.action, change.address) == ("forget", f"v1/ConfigMap/{bench.namespace}/data")


HOOK = """
apiVersion: batch/v1
kind: Job
metadata:
  name: migrate
  annotations: {helm.sh/hook: 'pre-install,pre-upgrade', helm.sh/hook-delete-policy: POLICY}
spec:
  activeDeadlineSeconds: 1
  backoffLimit: 0
  template:
    metadata: {annotations: {STAYS: 'yes'}}
    spec: {restartPolicy: Never, containers: [{name: main, image: example/never-pulled:1}]}
"""


def hook(policy: str) -> str:
    return HOOK.replace("POLICY", policy).replace("STAYS", STAYS_PENDING)


async def test_a_failed_hook_of_its_own_is_called_its_own_when_it_stands_in_the_way(bench):
    write_chart(bench.root / "bundle" / "chart", {**STEADY, "templates/hook.yaml": hook("hook-succeeded")})
    with pytest.raises(ToolFailed):
        await bench.provision()
    with pytest.raises(ToolFailed, match=r"exist already.*lacks before-hook-creation") as caught:
        await bench.plan()
    [problem] = caught.value.problems
    assert problem.message.startswith(
        f"batch/v1/Job/{bench.namespace}/migrate: a hook of this release that failed"
    )
    assert f"kubectl delete job migrate --namespace {bench.namespace}" in caught.value.hint
    # with Helm's own default, the hook that failed is replaced
    write_chart(bench.root / "bundle" / "chart", {**STEADY, "templates/hook.yaml": hook("before-hook-creation")})
    assert not (await bench.plan()).empty


@ONE_HELM
async def test_a_release_that_helm_could_not_keep_is_refused_when_it_is_planned(bench):
    write_chart(bench.root / "bundle" / "chart", {**STEADY, "files/noise.txt": noise(900_000)})
    with pytest.raises(ToolFailed, match=r"too large for Helm to keep: 1\.\d MiB packed"):
        await bench.plan()
    assert bench.statuses() == {}
    # what the cluster takes is not refused: the estimate is that of the Secret
    write_chart(bench.root / "bundle" / "chart", {**STEADY, "files/noise.txt": noise(760_000)})
    await bench.provision(options={"wait": False, "atomic": False})
    path = f"/api/v1/namespaces/{bench.namespace}/secrets/sh.helm.release.v1.orders-web.v1"
    assert 900_000 < len(base64.b64decode(bench.get(path)["data"]["release"])) < 1024 * 1024


def noise(count: int) -> str:
    """Text that packs to three quarters of its size, always the same."""
    return base64.b64encode(random.Random(1).randbytes(count * 3 // 4)).decode()  # noqa: S311 - no secret
