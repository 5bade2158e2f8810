"""What the Helm executor decides without Helm: sections, charts, releases, change sets, masking, errors."""

from __future__ import annotations

import base64
import gzip
import json
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from bondstone.activities.clusters.jsonpath import JsonPath
from bondstone.activities.clusters.manifests import Ref, masked, project, read_manifests, secret_texts
from bondstone.activities.helm import HelmExecutor
from bondstone.activities.helm.artefact import Artefact, Header, Location, pack, unpack
from bondstone.activities.helm.changes import Reality, drifted_changes, planned_changes, removed_changes
from bondstone.activities.helm.chart import check_digest, from_bundle
from bondstone.activities.helm.diagnostics import to_error
from bondstone.activities.helm.dialects import leaves_empty_in_braces
from bondstone.activities.helm.release import (
    ATTEMPT_LABEL,
    MAX_NAME,
    Release,
    is_interrupted,
    marked,
    read_release,
    release_name,
)
from bondstone.activities.helm.section import HelmSection
from bondstone.activities.helm.version import helm_version
from bondstone.activities.kubernetes.changes import owned
from bondstone.base.cluster_settings import ClusterSettings, cluster_settings
from bondstone.base.errors import ObjectCorrupt, PlanStale, Refused, SettingsInvalid, ToolFailed, ToolUnavailable
from bondstone.base.redact import MASK, Redactor
from bondstone.base.settings import Settings
from bondstone.model.service import ServiceId

SERVICE = ServiceId(team="shop", name="orders")
REF = Ref("v1", "ConfigMap", "shop", "web")
SECRET = "hunter2-hunter2"


def config(**data: str) -> dict:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}, "data": data}


# Sections and charts -----------------------------------------------------------------------------------------


def test_a_chart_from_elsewhere_is_pinned_by_version_and_digest():
    with pytest.raises(ValidationError, match="pinned"):
        HelmSection(chart="oci://example.com/web", version="1.0.0")
    with pytest.raises(ValidationError, match="https"):
        HelmSection(chart="web", repository="http://example.com", version="1.0.0", digest="0" * 64)
    assert (
        HelmSection(chart="oci://example.com/web", version="1.0.0", digest="sha256:" + "0" * 64).sha256 == "0" * 64
    )


def test_another_archive_than_the_pinned_one_is_refused():
    with pytest.raises(ToolFailed, match="not the one"):
        check_digest(b"other", "0" * 64, "oci://example.com/web")


def test_a_chart_is_packed_the_same_way_each_time(tmp_path):
    for name in ("one", "two"):
        folder = tmp_path / name / "chart" / "templates"
        folder.mkdir(parents=True)
        (folder.parent / "Chart.yaml").write_text("apiVersion: v2\nname: web\nversion: 1.0.0\n")
        (folder / "a.yaml").write_text("{}")
    assert from_bundle(tmp_path / "one", "chart") == from_bundle(tmp_path / "two", "chart")


def publish(tmp_path, section: dict, files: dict[str, str]):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return HelmExecutor().check(HelmSection.model_validate(section), tmp_path)


GOOD = {"chart/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n"}


def test_publishing_says_what_the_outputs_are_and_which_are_secret(tmp_path):
    outputs = {
        "url": {"from": "Service/web", "path": "{.spec.clusterIP}"},
        "password": {"from": "v1/Secret/web", "path": "{.data.password}"},
    }
    report = publish(tmp_path, {"chart": "chart", "outputs": outputs}, GOOD)
    assert not report.problems
    assert not report.keys
    assert report.outputs == {"url": "dyn", "password": "dyn"}
    assert report.sensitive == {"password"}


def test_publishing_finds_a_missing_chart_a_bad_path_and_an_expression(tmp_path):
    [(key, problem)] = publish(tmp_path, {"chart": "charts"}, GOOD).keys
    assert key == ("chart",)
    assert "did you mean 'chart'" in problem.hint
    [(key, _)] = publish(tmp_path, {"chart": "../chart"}, GOOD).keys
    assert key == ("chart",)
    [(key, _)] = publish(tmp_path, {"chart": "${inputs.chart}"}, GOOD).keys
    assert key == ("chart",)
    outputs = {"url": {"from": "Service/web", "path": "{.spec[}"}}
    [(key, _)] = publish(tmp_path, {"chart": "chart", "outputs": outputs}, GOOD).keys
    assert key == ("outputs", "url", "path")
    outputs = {"url": {"from": "Service", "path": "{.spec.clusterIP}"}}
    [(key, _)] = publish(tmp_path, {"chart": "chart", "outputs": outputs}, GOOD).keys
    assert key == ("outputs", "url", "from")


def test_publishing_finds_values_that_the_charts_schema_does_not_know(tmp_path):
    schema = {"properties": {"image": {"properties": {"tag": {}}, "additionalProperties": False}, "replicas": {}}}
    files = {**GOOD, "chart/values.schema.json": json.dumps(schema)}
    section = {"chart": "chart", "values": {"image": {"tga": "1"}, "replica": 2, "something": "${inputs.x}"}}
    unknown = publish(tmp_path, section, files).keys
    assert [key for key, _ in unknown] == [("values", "image", "tga"), ("values", "replica")]


def test_publishing_finds_what_is_wrong_inside_the_chart(tmp_path):
    files = {
        "chart/Chart.yaml": "apiVersion: v2\nname: web\ndependencies: [{name: redis, version: 1.0.0}]\n",
        "chart/values.yaml": "a: [1\n",
    }
    problems = publish(tmp_path, {"chart": "chart"}, files).problems
    assert {(problem.file, problem.line > 0) for problem in problems} == {
        ("chart/Chart.yaml", False),
        ("chart/values.yaml", True),
    }
    assert len(problems) == 3


def test_release_names_fit_and_differ():
    long = ServiceId(team="shop", name="a" * 40)
    names = {release_name("", long, f"step-{'b' * 12}-{number}") for number in range(20)}
    assert len(names) == 20
    assert max(map(len, names)) <= MAX_NAME
    assert release_name("", SERVICE, "web") == "orders-web"


# Releases ----------------------------------------------------------------------------------------------------


def stored_release(status: str = "pending-upgrade", revision: int = 2) -> dict:
    content = {
        "name": "web",
        "namespace": "shop",
        "version": revision,
        "manifest": "a: b",
        "info": {"status": status},
    }
    packed = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(content).encode()))).decode()
    labels = {"owner": "helm", "status": status, "version": str(revision)}
    return {
        "metadata": {"name": f"sh.helm.release.v1.web.v{revision}", "labels": labels},
        "data": {"release": packed},
    }


def test_a_pending_release_is_marked_as_failed_as_helm_itself_would():
    secret = marked(stored_release(), "failed", "interrupted")
    assert secret["metadata"]["labels"]["status"] == "failed"
    release = read_release(secret)
    assert (release.status, release.revision, release.manifest) == ("failed", 2, "a: b")


def test_a_release_that_is_none_is_refused():
    with pytest.raises(ToolFailed, match="stored in an unknown form"):
        read_release({"metadata": {"name": "x"}, "data": {"release": base64.b64encode(b"nonsense").decode()}})


def release(status: str, attempt: str, **labels: str) -> Release:
    return Release("web", "shop", 2, status, labels={ATTEMPT_LABEL: attempt, **labels})


def test_only_what_an_attempt_of_ours_left_is_recovered():
    now = datetime.now(UTC)
    before = release("deployed", "one")
    assert is_interrupted(release("pending-upgrade", "two"), before, now)
    assert is_interrupted(release("pending-install", "one"), None, now)
    by_hand = release("pending-upgrade", "one", createdAt=str(int(now.timestamp())))
    assert not is_interrupted(by_hand, before, now)
    assert is_interrupted(by_hand, before, now + timedelta(hours=3))
    assert is_interrupted(release("pending-rollback", "one"), release("failed", "two"), now)
    assert not is_interrupted(release("pending-rollback", "one"), before, now)


def test_an_artefact_survives_and_others_are_refused():
    header = Header(
        action="upgrade", location=Location(cluster="a", namespace="b", release="c"), revision=3, values={"x": [1]}
    )
    assert unpack(pack(Artefact(header, b"\x00chart\nmore"))) == Artefact(header, b"\x00chart\nmore")
    for data in (b"", b"bondstone-terraform-plan 1 {}\n", b"bondstone-helm-plan 1 {}\n"):
        with pytest.raises(ObjectCorrupt):
            unpack(data)


# Manifests and change sets -----------------------------------------------------------------------------------


def test_a_plain_equals_sign_is_a_text_as_in_the_crds_of_prometheus():
    text = "apiVersion: v1\nkind: ConfigMap\ndata: {matchTypes: [=, '!=', =~]}\n"
    assert read_manifests(text)[0]["data"]["matchTypes"] == ["=", "!=", "=~"]


def test_manifests_are_read_as_kubernetes_reads_them():
    text = "---\napiVersion: v1\nkind: ConfigMap\ndata: {on: yes, at: 2020-01-01}\n---\n---\n"
    text += "{kind: List, apiVersion: v1, items: []}"
    assert read_manifests(text) == [
        {"apiVersion": "v1", "kind": "ConfigMap", "data": {"true": True, "at": "2020-01-01"}}
    ]
    for bad in ("a: b", "[1", "- x", "kind: X\n"):
        with pytest.raises(ToolFailed):
            read_manifests(bad)


def test_a_bomb_of_aliases_is_refused():
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(ToolFailed, match="can be read"):
        read_manifests("apiVersion: v1\nkind: X\n" + "\n".join(lines))


def test_objects_are_cut_down_to_what_was_set():
    shape = {"spec": {"containers": [{"name": "a", "image": "x"}], "replicas": 1}}
    live = {
        "spec": {
            "containers": [{"name": "side"}, {"name": "a", "image": "y", "tty": False}],
            "replicas": 3,
            "more": 1,
        },
        "status": {},
    }
    assert project(live, shape) == {
        "spec": {"containers": [{"name": "side"}, {"name": "a", "image": "y"}], "replicas": 3}
    }


def test_a_change_set_tells_created_updated_deleted_kept_and_untouched_apart():
    refs = {
        name: Ref("v1", "ConfigMap", "shop", name) for name in ("new", "same", "other", "gone", "kept", "drifted")
    }
    keep = {**config(), "metadata": {"name": "kept", "annotations": {"helm.sh/resource-policy": "keep"}}}
    old = {refs[name]: config(a="1") for name in ("same", "other", "gone", "drifted")} | {refs["kept"]: keep}
    new = {refs[name]: config(a="1") for name in ("new", "same", "drifted")} | {refs["other"]: config(b="2")}
    live = {refs[name]: config(a="1") for name in ("same", "other", "gone", "kept")} | {
        refs["drifted"]: config(a="9")
    }
    merged = {refs["same"]: config(a="1"), refs["other"]: config(b="2"), refs["drifted"]: config(a="1")}
    changes = {
        change.address.rpartition("/")[2]: change
        for change in planned_changes(old, new, Reality(live, merged), Redactor())
    }
    assert {name: change.action for name, change in changes.items()} == {
        "new": "create",
        "other": "update",
        "drifted": "update",
        "gone": "delete",
        "kept": "forget",
    }
    assert changes["other"].before["data"] == {"a": "1"}
    assert changes["other"].after["data"] == {"b": "2"}
    gone = [change.action for change in removed_changes(old, live, Redactor())]
    assert gone == ["delete"] * 4 + ["forget"], "what is to be kept is named, and stays"


def test_what_the_server_writes_otherwise_is_no_drift():
    applied = {REF: {**config(), "spec": {"cpu": "1000m"}}}
    server = {REF: {**config(), "spec": {"cpu": "1"}}}
    assert drifted_changes(applied, Reality(server, server), Redactor()) == []


def test_the_rules_of_an_aggregating_role_are_the_control_planes():
    ref = Ref("rbac.authorization.k8s.io/v1", "ClusterRole", "", "all")
    role = {"apiVersion": ref.api_version, "kind": ref.kind, "metadata": {"name": "all"}, "rules": []}
    filled = {"rules": [{"verbs": ["get"]}]}
    for aggregation, count in (({"aggregationRule": {"clusterRoleSelectors": []}}, 0), ({}, 1)):
        manifest = {**role, **aggregation}
        reality = Reality({ref: {**manifest, **filled}}, {ref: manifest})
        assert len(drifted_changes({ref: manifest}, reality, Redactor())) == count
        assert len(planned_changes({ref: manifest}, {ref: manifest}, reality, Redactor())) == count
        assert ("rules" in owned(manifest, "t/s/p", "")) == bool(count)


def test_an_entry_that_is_null_is_no_reason_for_an_upgrade():
    manifest = {**config(), "data": {"a": None, "b": "x"}}
    made, upgraded = {**manifest, "data": {"a": "", "b": "x"}}, {**manifest, "data": {"b": "x"}}
    for live in (made, upgraded):
        reality = Reality({REF: live}, {REF: upgraded})
        assert planned_changes({REF: manifest}, {REF: manifest}, reality, Redactor()) == []
        assert drifted_changes({REF: manifest}, reality, Redactor()) == []
    by_hand = Reality({REF: {**manifest, "data": {"a": "y", "b": "x"}}}, {REF: upgraded})
    assert len(drifted_changes({REF: manifest}, by_hand, Redactor())) == 1
    assert len(planned_changes({REF: manifest}, {REF: manifest}, by_hand, Redactor())) == 1


@pytest.mark.parametrize(
    ("text", "empty"),
    [
        ("{annotations: , name: web}", True),
        ("spec: {a: {b: 1}, c: }", True),
        ("spec: {a}", True),
        ("- {a: 1}\n- b:", False),
        ("{a: '', b: null, c: ~}", False),
        ("text: '{a: }'", False),
    ],
)
def test_values_left_empty_in_braces_are_noticed(text, empty):
    assert leaves_empty_in_braces(text) is empty


def test_what_secrets_hold_is_masked_wherever_it_is():
    encoded = base64.b64encode(SECRET.encode()).decode()
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"password": encoded}}
    redact = Redactor(secret_texts([secret]))
    assert masked(secret, redact)["data"] == {"password": MASK}
    shown = json.dumps(masked(config(url=f"https://u:{SECRET}@h"), redact))
    assert SECRET not in shown
    ref = Ref("v1", "Secret", "shop", "s")
    [change] = planned_changes({}, {ref: {**secret, "stringData": {"more": SECRET}}}, Reality(), redact)
    assert SECRET not in change.model_dump_json()
    assert encoded not in change.model_dump_json()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("{.spec.clusterIP}", "10.0.0.1"),
        ("spec.ports[0].port", 80),
        ("{.spec.ports[*].name}", ["http", "metrics"]),
        ("{.spec.ports[?(@.name=='metrics')].port}", 90),
        ("{.metadata['a.b/c']}", "x"),
        (r"{.metadata.a\.b/c}", "x"),
        ("{.spec.ports[-1].port}", 90),
    ],
)
def test_paths_find_fields(path, value):
    item = {
        "metadata": {"a.b/c": "x"},
        "spec": {
            "clusterIP": "10.0.0.1",
            "ports": [{"name": "http", "port": 80}, {"name": "metrics", "port": 90}],
        },
    }
    assert JsonPath(path).find(item) == value


@pytest.mark.parametrize("path", ["", "{}", "{.a[}", "{range .items[*]}", "{.a b}", "." * 600])
def test_other_paths_are_refused(path):
    with pytest.raises(ValueError, match="path"):
        JsonPath(path)


# Errors and clusters -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("complaint", "kind", "hint"),
    [
        ("Error: Kubernetes cluster unreachable: dial tcp: connection refused", ToolUnavailable, "temporary"),
        ('Error: secrets is forbidden: User "x" cannot list resource', ToolFailed, "RBAC"),
        ("Error: UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress", PlanStale, "plan"),
        ("Error: UPGRADE FAILED: context deadline exceeded", ToolFailed, "timeout"),
        ("Error: values don't meet the specifications of the schema(s)", ToolFailed, "schema"),
        ("Error: x exists and cannot be imported into the current release: invalid", ToolFailed, "rename one"),
        ('Error: jobs.batch "migrate" already exists', ToolFailed, "delete a hook that an earlier attempt left"),
    ],
)
def test_what_helm_complains_of_becomes_a_typed_error(complaint, kind, hint):
    error = to_error(complaint, verb="upgrade", code=1)
    assert type(error) is kind
    assert hint in error.hint


def test_reasons_of_pods_are_in_the_error():
    error = to_error(
        "Error: context deadline exceeded", verb="upgrade", code=1, reasons=["Deployment x: no image"]
    )
    assert [problem.message for problem in error.problems] == ["Deployment x: no image"]


def test_clusters_are_named_and_unknown_ones_refused():
    clusters = {"default": ClusterSettings(in_cluster=True, namespaces=("team-*",), create_namespaces=False)}
    with pytest.raises(SettingsInvalid, match="knows no Kubernetes cluster named 'prod': this pool has default"):
        cluster_settings(clusters, "prod")
    cluster = cluster_settings(clusters, "default")
    cluster.check_namespace("team-a", cluster="default")
    with pytest.raises(Refused, match="may not use"):
        cluster.check_namespace("kube-system", cluster="default")
    with pytest.raises(Refused, match="may not make"):
        cluster.check_namespace("team-a", cluster="default", create=True)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"in_cluster": True, "kubeconfig": "x"},
        {"context": "x", "in_cluster": True},
        {"service_account": "/x", "kubeconfig": "x"},
        {"exec": {"command": "aws"}},
        {"exec": {"command": "aws"}, "server": "http://x"},
    ],
)
def test_a_cluster_is_reached_in_exactly_one_way(settings):
    with pytest.raises(ValidationError):
        ClusterSettings.model_validate(settings)


@pytest.mark.parametrize("says", ["v3.12.3", "v5.0.0-alpha.1", "v2.17.0", "Client: error"])
async def test_a_helm_that_is_not_supported_is_refused_by_every_verb_and_in_status(tmp_path, says):
    helm = tmp_path / "helm"
    helm.write_text(f"#!/bin/sh\necho {says}\n")
    helm.chmod(0o755)
    with pytest.raises(ToolFailed, match=r"not supported|cannot be read") as caught:
        await HelmExecutor().version(Settings(data=tmp_path, helm=str(helm)))
    assert "3 (3.13 or newer) or 4" in caught.value.hint
    assert caught.value.where == str(helm)


@pytest.mark.parametrize(("says", "major"), [("v3.13.0", 3), ("v3.22.0+g1234567", 3), ("v4.0.0-rc.1", 4)])
async def test_helm_3_and_4_are_supported(tmp_path, says, major):
    helm = tmp_path / "helm"
    helm.write_text(f"#!/bin/sh\necho {says}\n")
    helm.chmod(0o755)
    version = await helm_version(str(helm))
    assert (version.major, version.label) == (major, f"helm {says[1:]}")


async def test_another_helm_in_the_same_place_is_asked_again(tmp_path):
    helm = tmp_path / "helm"
    for says in ("v3.22.0", "v4.3.22"):
        helm.write_text(f"#!/bin/sh\necho {says}\n")
        helm.chmod(0o755)
        assert (await helm_version(str(helm))).text == says[1:]


def test_what_a_chart_says_of_itself_is_not_tried_again():
    complaint = "Error: execution error at (c/templates/x.yaml:1:4): too many requests a second"
    assert not to_error(complaint, verb="upgrade", code=1).transient
    assert to_error("Error: too many requests", verb="upgrade", code=1).transient


def test_the_reason_at_the_end_of_a_long_complaint_is_kept():
    error = to_error(f"Error: Deployment is invalid: {'body ' * 900}: field is immutable", verb="upgrade", code=1)
    assert error.message.endswith("field is immutable")
    assert len(error.message) < 1_700
