"""The kubernetes executor on a real control plane."""

from __future__ import annotations

import asyncio
import base64
import json
import urllib.error
import urllib.request
import uuid

import pytest
from kubernetes_kit import SERVICE, STEP, Bench, shown

from bondstone.base.errors import PlanStale, Refused, StepTimedOut, ToolFailed, ToolUnavailable
from bondstone.model.service import ServiceId
from bondstone.policy.plan_secrets import masked_marks
from harness.servers.kubernetes import STAYS_PENDING
from harness.waiting import until

pytestmark = pytest.mark.integration

CANARY = "canary-7f3a91-secret"

APP = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: "example/web:${inputs.tag}"}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Secret
metadata: {name: web, annotations: {mark: "🎉"}}
stringData: {password: "${inputs.password}"}
"""
CONFIG = """
apiVersion: v1
kind: ConfigMap
metadata: {name: %s}
data: {key: "%s"}
"""
VALUES = {"inputs.tag": "1", "inputs.password": CANARY}
OUTPUTS = {
    "address": {"from": "Service/web", "path": "{.spec.clusterIP}"},
    "password": {"from": "Secret/web", "path": "{.data.password}"},
}


@pytest.fixture
def namespace(control_plane):
    name = f"kube-{uuid.uuid4().hex[:8]}"
    control_plane.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    return name


@pytest.fixture
async def bench(tmp_path, control_plane, namespace):
    return await Bench.open(tmp_path, control_plane.kubeconfig, namespace)


def get(plane, namespace, plural, name, group="/api/v1"):
    try:
        return plane.call("GET", f"{group}/namespaces/{namespace}/{plural}/{name}")
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise
        return None


def put(plane, namespace, item, plural="configmaps"):
    return plane.call("PUT", f"/api/v1/namespaces/{namespace}/{plural}/{item['metadata']['name']}", item)


async def test_an_app_is_installed_updated_watched_and_taken_down(bench, control_plane, namespace):
    options = {"variables": VALUES, "outputs": OUTPUTS, "secrets": [CANARY]}
    bench.write(APP)
    planned = await bench.plan(**options)
    assert sorted(shown(planned)) == [
        ("create", f"apps/v1/Deployment/{namespace}/web"),
        ("create", f"v1/Secret/{namespace}/web"),
        ("create", f"v1/Service/{namespace}/web"),
    ]
    assert get(control_plane, namespace, "services", "web") is None
    outcome = await bench.apply(planned, **options)
    assert outcome.outputs["address"].value.startswith("10.96.")
    assert (outcome.outputs["password"].value, outcome.outputs["password"].sensitive) == (CANARY, True)
    deployment = get(control_plane, namespace, "deployments", "web", "/apis/apps/v1")
    assert deployment["status"]["readyReplicas"] == 2
    assert all(item["uid"] for item in (await bench.inventory())["objects"])

    again = await bench.plan(**options)
    assert (again.empty, list(again.changes)) == (True, [])
    assert (await bench.drift(**options)) == []

    options["variables"] = {**VALUES, "inputs.tag": "2", "inputs.password": f"{CANARY}-2"}
    planned = await bench.plan(**options)
    changes = {change.type: change for change in planned.changes}
    assert set(changes) == {"Deployment", "Secret"}
    image = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "example/web:2"}]}}}}
    assert changes["Deployment"].after == image
    assert changes["Secret"].after == {"data": {"password": "(secret)"}}
    policy_view = masked_marks(planned.document)  # by policies
    text = json.dumps([[change.model_dump(mode="json") for change in planned.changes], policy_view, bench.log])
    for secret in (CANARY, base64.b64encode(CANARY.encode()).decode()):
        assert secret not in text
    await bench.apply(planned, **options)

    planned = await bench.executor.plan_destroy(bench.context(**options))
    assert [action for action, _ in shown(planned)] == ["delete"] * 3
    await bench.apply(planned, **options)
    assert get(control_plane, namespace, "deployments", "web", "/apis/apps/v1") is None
    assert (await bench.executor.plan_destroy(bench.context(**options))).empty


async def test_what_is_no_longer_declared_is_pruned_and_only_that(bench, control_plane, namespace):
    bench.write("---".join(CONFIG % (name, "v") for name in ("one", "two", "three")))
    await bench.provision()
    # somebody replaces one of them by another of that name: it is not the step's any more
    control_plane.call("DELETE", f"/api/v1/namespaces/{namespace}/configmaps/three")
    foreign = {"metadata": {"name": "three"}, "data": {"key": "other"}}
    control_plane.call("POST", f"/api/v1/namespaces/{namespace}/configmaps", foreign)
    bench.write(CONFIG % ("one", "v"))
    kept = await bench.plan(prune=False)
    assert shown(kept) == []
    planned = await bench.plan()
    assert shown(planned) == [("delete", f"v1/ConfigMap/{namespace}/two")]
    await bench.apply(planned)
    assert get(control_plane, namespace, "configmaps", "two") is None
    assert get(control_plane, namespace, "configmaps", "three")["data"] == {"key": "other"}
    assert [item["name"] for item in (await bench.inventory())["objects"]] == ["one"]


async def test_what_others_change_is_drift_and_is_put_back(bench, control_plane, namespace):
    bench.write("---".join(CONFIG % (name, "v") for name in ("one", "two")))
    await bench.provision()
    live = get(control_plane, namespace, "configmaps", "one")
    put(control_plane, namespace, {**live, "data": {"key": "by hand", "more": "is nobody's business"}})
    control_plane.call("DELETE", f"/api/v1/namespaces/{namespace}/configmaps/two")
    changes = {change.address.rpartition("/")[2]: change for change in await bench.drift()}
    assert changes["two"].action == "delete"
    assert (changes["one"].before, changes["one"].after) == ({"data": {"key": "v"}}, {"data": {"key": "by hand"}})
    await bench.provision()
    assert get(control_plane, namespace, "configmaps", "one")["data"] == {
        "key": "v",
        "more": "is nobody's business",
    }
    assert await bench.drift() == []


async def test_fields_of_others_are_left_to_them_unless_forced(bench, control_plane, namespace):
    bench.write(CONFIG % ("one", "v"))
    await bench.provision()
    live = get(control_plane, namespace, "configmaps", "one")
    put(control_plane, namespace, {**live, "data": {"key": "v", "theirs": "x"}})
    bench.write((CONFIG % ("one", "v")).replace("{key:", "{theirs: ours, key:"))
    with pytest.raises(ToolFailed, match="another field manager owns fields") as caught:
        await bench.plan()
    assert any(".data.theirs" in problem.message for problem in caught.value.problems)
    await bench.provision(force_conflicts=True)
    assert get(control_plane, namespace, "configmaps", "one")["data"]["theirs"] == "ours"


async def test_what_is_somebody_elses_is_not_taken_over_unasked(bench, control_plane, namespace):
    foreign = {"metadata": {"name": "one"}, "data": {"key": "other"}}
    control_plane.call("POST", f"/api/v1/namespaces/{namespace}/configmaps", foreign)
    bench.write(CONFIG % ("one", "v"))
    with pytest.raises(Refused, match="exists already"):
        await bench.plan()
    await bench.provision(adopt=True, force_conflicts=True)
    other = {"service": ServiceId(team="shop", name="other"), "adopt": True}
    with pytest.raises(Refused, match="belongs to shop/web/app"):
        await bench.plan(**other)


async def test_immutable_fields_mean_a_replacement(bench, control_plane, namespace):
    immutable = CONFIG % ("one", "v") + "immutable: true\n"
    bench.write(immutable)
    await bench.provision()
    before = get(control_plane, namespace, "configmaps", "one")["metadata"]["uid"]
    bench.write(immutable.replace('"v"', '"w"'))
    planned = await bench.plan()
    assert shown(planned) == [("replace", f"v1/ConfigMap/{namespace}/one")]
    await bench.apply(planned)
    after = get(control_plane, namespace, "configmaps", "one")
    assert (after["data"], after["metadata"]["uid"] != before) == ({"key": "w"}, True)
    # what is wrong in itself is no replacement but an error that names the field
    bench.write(APP.replace("replicas: 2", "replicas: -2"))
    with pytest.raises(ToolFailed, match="Deployment") as caught:
        await bench.plan(variables=VALUES)
    assert any("spec.replicas" in problem.message for problem in caught.value.problems)
    # and so is a field that the kind does not have, which the API server calls an error of its own
    bench.write(APP.replace("replicas: 2", "replica: 2"))
    with pytest.raises(ToolFailed, match=r"\.spec\.replica: field not declared in schema"):
        await bench.plan(variables=VALUES)


async def test_a_plan_is_stale_when_its_fields_or_the_inventory_moved(bench, control_plane, namespace):
    bench.write(CONFIG % ("one", "v"))
    await bench.provision()
    bench.write(CONFIG % ("one", "w"))
    planned = await bench.plan()
    live = get(control_plane, namespace, "configmaps", "one")
    put(control_plane, namespace, {**live, "metadata": {**live["metadata"], "labels": {"other": "field"}}})
    live = get(control_plane, namespace, "configmaps", "one")
    put(control_plane, namespace, {**live, "data": {"key": "by hand"}})
    with pytest.raises(PlanStale, match=r"meanwhile|have changed"):
        await bench.apply(planned)
    planned = await bench.plan()
    live = get(control_plane, namespace, "configmaps", "one")
    put(control_plane, namespace, {**live, "metadata": {**live["metadata"], "labels": {"another": "field"}}})
    await bench.apply(planned)  # what the plan is not about may change
    stale = await bench.plan()
    bench.write(CONFIG % ("one", "x"))
    await bench.provision()
    with pytest.raises(PlanStale, match="inventory has moved"):
        await bench.apply(stale)


async def test_what_does_not_get_ready_is_said_with_its_pods_reason(bench):
    pending = APP.replace(
        "labels: {app: web}}", f'labels: {{app: web}}, annotations: {{"{STAYS_PENDING}": "yes"}}}}'
    )
    bench.write(pending)
    with pytest.raises(StepTimedOut, match=r"Deployment.*not ready after 2s") as caught:
        await bench.provision(variables=VALUES, timeout="2s")
    text = " ".join(problem.message for problem in caught.value.problems)
    assert "0 of 2 replicas are available" in text
    assert "pod web-" in text
    assert any("waiting for" in beat.note for beat in bench.beats)
    assert not (await bench.plan(variables=VALUES)).empty  # nothing to change, and yet not done


async def test_what_holds_a_deletion_up_is_named(bench, control_plane, namespace):
    held = (CONFIG % ("one", "v")).replace("name: one", "name: one, finalizers: [example.com/hold]")
    bench.write(held + "---" + CONFIG % ("two", "v"))
    await bench.provision()
    with pytest.raises(StepTimedOut, match="1 object is still there") as caught:
        await bench.destroy(timeout="2s")
    [problem] = caught.value.problems
    assert f"v1/ConfigMap/{namespace}/one: being deleted since 2" in problem.message
    assert "example.com/hold" in problem.message
    live = get(control_plane, namespace, "configmaps", "one")
    put(control_plane, namespace, {**live, "metadata": {**live["metadata"], "finalizers": []}})
    await bench.destroy()
    assert (await bench.inventory())["objects"] == []


async def test_pools_that_allow_some_namespaces_allow_no_others(tmp_path, control_plane, namespace):
    bench = await Bench.open(tmp_path, control_plane.kubeconfig, namespace, namespaces=["kube-????????"])
    bench.write("apiVersion: v1\nkind: Namespace\nmetadata: {name: another}\n")
    with pytest.raises(Refused, match="another"):
        await bench.plan(cluster_scoped=True)
    bench.write(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: mighty}\nrules: []\n"
    )
    with pytest.raises(Refused, match="ClusterRole"):
        await bench.plan(cluster_scoped=True)
    with pytest.raises(Refused, match="default"):
        await bench.plan(namespace="default")


class _Killed(BaseException):
    """What a kill looks like to everything that could clean up after it."""


@pytest.mark.parametrize("after", [0, 1, 2, 3])
async def test_an_attempt_that_died_is_carried_on_with_the_same_plan(
    bench, control_plane, namespace, after, monkeypatch
):
    from bondstone.activities.kubernetes import applying  # noqa: PLC0415 - heavy

    bench.write(CONFIG % ("one", "v") + "immutable: true\n---" + CONFIG % ("two", "v"))
    await bench.provision()
    # one is replaced, two pruned, three and four are new
    bench.write(
        CONFIG % ("one", "w") + "immutable: true\n---" + "---".join(CONFIG % (n, "v") for n in ("three", "four"))
    )
    planned = await bench.plan()
    assert sorted(action for action, _ in shown(planned)) == ["create", "create", "delete", "replace"]
    real, count = applying._Work._apply, 0

    async def dies(self, api, item, **options):
        nonlocal count
        if not options:
            if count >= after:
                raise _Killed
            count += 1
        return await real(self, api, item, **options)

    async def leaves_nothing(self, error):
        assert isinstance(error, _Killed)

    monkeypatch.setattr(applying._Work, "_apply", dies)
    monkeypatch.setattr(applying._Work, "_keep", leaves_nothing)
    if after < 3:
        with pytest.raises(_Killed):
            await bench.apply(planned)
    else:
        await bench.apply(planned)
    monkeypatch.undo()
    await bench.apply(planned)
    names = [
        item["metadata"]["name"]
        for item in control_plane.call("GET", f"/api/v1/namespaces/{namespace}/configmaps")["items"]
    ]
    assert sorted(set(names) - {"kube-root-ca.crt"}) == ["four", "one", "three"]
    assert all(item["uid"] for item in (await bench.inventory())["objects"])
    assert (await bench.plan()).empty


async def test_what_an_attempt_that_died_had_made_is_taken_down(bench, control_plane, namespace, monkeypatch):
    from bondstone.activities.kubernetes import applying  # noqa: PLC0415 - heavy

    bench.write("---".join(CONFIG % (name, "v") for name in ("one", "two")))
    planned = await bench.plan()

    async def dies(*_arguments):
        raise _Killed

    monkeypatch.setattr(applying._Work, "_keep", lambda *_: asyncio.sleep(0))
    monkeypatch.setattr(applying, "until_ready", dies)
    with pytest.raises(_Killed):
        await bench.apply(planned)
    monkeypatch.undo()
    assert [item["uid"] for item in (await bench.inventory())["objects"]] == ["", ""]
    await bench.destroy()
    assert get(control_plane, namespace, "configmaps", "one") is None
    assert get(control_plane, namespace, "configmaps", "two") is None


async def test_a_namespace_that_is_not_there_is_said_with_what_to_do(bench):
    bench.write(CONFIG % ("one", "v"))
    with pytest.raises(ToolFailed, match="not found") as caught:
        await bench.plan(namespace="kube-nowhere")
    assert "make its namespace first" in caught.value.hint


async def test_a_cluster_that_does_not_answer_is_worth_another_try(tmp_path, control_plane, namespace):
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(control_plane.kubeconfig.read_text().replace(control_plane.url, "https://127.0.0.1:1"))
    bench = await Bench.open(tmp_path, kubeconfig, namespace)
    bench.write(CONFIG % ("one", "v"))
    with pytest.raises(ToolUnavailable, match="does not answer"):
        await bench.plan()


async def test_a_cancelled_apply_keeps_what_it_made_in_the_inventory(bench, control_plane, namespace):
    pending = APP.replace(
        "labels: {app: web}}", f'labels: {{app: web}}, annotations: {{"{STAYS_PENDING}": "yes"}}}}'
    )
    bench.write(pending)
    planned = await bench.plan(variables=VALUES)
    task = asyncio.create_task(bench.apply(planned, variables=VALUES, timeout="1m"))
    await until(lambda: any("waiting for" in beat.note for beat in bench.beats), "it waits")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert all(item["uid"] for item in (await bench.inventory())["objects"])
    assert (await bench.store.state(SERVICE, STEP).read()).holder is None
