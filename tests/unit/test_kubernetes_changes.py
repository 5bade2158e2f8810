"""What differs between objects, whose a field is, in which order objects go: the pure parts of the executor."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bondstone.activities.clusters.manifests import Ref
from bondstone.activities.clusters.outputs import ObjectOutput, value_at
from bondstone.activities.clusters.status import pod_reason, rollout, stuck_reason
from bondstone.activities.kubernetes.changes import change, difference, difference_digest, holds, owned, owner_of
from bondstone.activities.kubernetes.documents import (
    Held,
    Inventory,
    Named,
    inventory_addresses,
    read_inventory,
    read_plan,
)
from bondstone.activities.kubernetes.order import tiers
from bondstone.activities.kubernetes.section import Wait
from bondstone.activities.kubernetes.waiting import judge
from bondstone.base.errors import ObjectCorrupt
from bondstone.base.redact import MASK, Redactor

names = st.sampled_from(["a", "b", "c"])
trees = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(0, 3), st.text("xy", max_size=2)),
    lambda inner: st.one_of(
        st.dictionaries(names, inner, max_size=3),
        st.lists(inner, max_size=3),
        st.lists(st.builds(lambda name, value: {"name": name, "v": value}, names, inner), max_size=3),
    ),
    max_leaves=12,
)


def spec(value):
    return {"metadata": {"uid": "1", "resourceVersion": "5"}, "spec": value, "status": {"x": 1}}


@given(trees, trees)
def test_there_is_a_difference_exactly_when_something_differs(one, other):
    before, after = difference(spec(one), spec(other))
    assert (one == other) == (before == {} and after == {})
    back = difference(spec(other), spec(one))
    assert json.dumps([after, before], sort_keys=True) == json.dumps([*back], sort_keys=True)


def test_what_the_server_and_controllers_write_is_no_difference():
    one = {"metadata": {"name": "x", "uid": "1", "generation": 1, "managedFields": [1]}, "status": {"ready": 1}}
    assert difference(one, {"metadata": {"name": "x", "uid": "2"}}) == ({}, {})


def test_entries_of_lists_are_told_apart_by_name():
    live = spec([{"name": "a", "image": "1", "port": 1}, {"name": "b", "image": "1"}])
    would = spec([{"name": "a", "image": "2", "port": 1}, {"name": "b", "image": "1"}])
    assert difference(live, would) == (
        {"spec": [{"name": "a", "image": "1"}]},
        {"spec": [{"name": "a", "image": "2"}]},
    )
    turned = spec([{"name": "b", "image": "1"}, {"name": "a", "image": "1", "port": 1}])
    assert difference(live, turned) == ({"spec": live["spec"]}, {"spec": turned["spec"]})


def test_differences_of_other_values_have_other_digests():
    assert difference_digest({"a": 1}, {"a": 2}) != difference_digest({"a": 1}, {"a": 3})


def test_what_secrets_hold_is_masked_in_part_of_them_too():
    result = change(
        Ref("v1", "Secret", "n", "s"), "update", {"data": {"k": "b2xk"}}, {"data": {"k": "bmV3"}}, Redactor()
    )
    assert (result.before, result.after) == ({"data": {"k": MASK}}, {"data": {"k": MASK}})
    assert result.address == "v1/Secret/n/s"
    plain = change(
        Ref("v1", "ConfigMap", "n", "c"), "create", None, {"data": {"k": "x hunter22"}}, Redactor(["hunter22"])
    )
    assert plain.after == {"data": {"k": f"x {MASK}"}}


@pytest.mark.parametrize(
    ("path", "other"),
    [
        (".spec.replicas", True),
        (".spec.other", False),
        ('.spec.template.spec.containers[name="web"].image', True),
        ('.spec.template.spec.containers[name="web"].command', False),
        ('.spec.template.spec.containers[name="db"].image', False),
        ('.spec.ports[port=80,protocol="TCP"].targetPort', True),
        (".metadata.annotations.example.com/a.b", True),
        (".metadata.annotations.example.com/other", False),
        ('.metadata.finalizers[="x/y"]', True),
        (".spec[", False),
    ],
)
def test_fields_as_the_server_names_them_are_found_in_a_manifest(path, other):
    manifest = {
        "metadata": {"annotations": {"example.com/a.b": "1"}, "finalizers": ["x/y"]},
        "spec": {
            "replicas": 2,
            "ports": [{"port": 80, "targetPort": 8080}],
            "template": {"spec": {"containers": [{"name": "web", "image": "i"}]}},
        },
    }
    assert holds(manifest, path) is other


def test_a_manifest_says_whose_it_is_and_keeps_its_own_annotations():
    result = owned(
        {"kind": "X", "metadata": {"name": "n", "annotations": {"a": "b"}}, "status": {}}, "t/s/p", "ns"
    )
    assert (owner_of(result), result["metadata"]["namespace"], "status" in result) == ("t/s/p", "ns", False)
    assert result["metadata"]["annotations"]["a"] == "b"
    assert "namespace" not in owned({"metadata": {"name": "n", "namespace": "x"}}, "t/s/p", "")["metadata"]


def named(kind):
    return Named(api_version="v1", kind=kind, name="x")


@given(st.permutations(["Widget", "Namespace", "Service", "Deployment", "CustomResourceDefinition", "Secret"]))
def test_what_others_stand_on_comes_first_and_goes_last(kinds):
    up = [[item.kind for item in tier] for tier in tiers(map(named, kinds))]
    assert [sorted(tier) for tier in up] == [
        ["Namespace"], ["CustomResourceDefinition"], ["Secret"], ["Service"], ["Deployment", "Widget"],
    ]  # fmt: skip
    assert [tier[0].kind for tier in tiers(map(named, kinds), reverse=True)][-1] == "Namespace"


def test_an_object_is_the_same_in_every_version_of_its_group():
    assert Ref("apps/v1", "D", "n", "x").key == Ref("apps/v1beta1", "D", "n", "x").key
    assert Ref("v1", "D", "n", "x").key != Ref("apps/v1", "D", "n", "x").key


def test_documents_of_other_executors_are_refused():
    held = Held(api_version="v1", kind="ConfigMap", name="x", uid="u", manifest={"a": 1})
    inventory = Inventory(cluster="c", namespace="n", objects=(held,))
    assert read_inventory(inventory.pack()) == inventory
    assert read_inventory(None) == Inventory()
    terraform = b'{"version": 4, "serial": 1, "lineage": "x", "cluster": "", "namespace": "", "resources": []}'
    for read in (read_inventory, read_plan):
        for other in (terraform, b'{"format": "else"}', b"PK", b"[]"):
            with pytest.raises(ObjectCorrupt):
                read(other)
    assert inventory_addresses(inventory.pack()) == ("v1/ConfigMap/x",)
    assert inventory_addresses(terraform) is None


def deployment(spec, status, generation=2, observed=2):
    return {
        "kind": "Deployment",
        "metadata": {"generation": generation},
        "spec": spec,
        "status": {"observedGeneration": observed, **status},
    }


@pytest.mark.parametrize(
    ("item", "done", "why"),
    [
        (deployment({"replicas": 2}, {"updatedReplicas": 2, "replicas": 2, "availableReplicas": 2}), True, ""),
        (deployment({"replicas": 2}, {"updatedReplicas": 1, "replicas": 2}), False, "1 of 2 replicas are updated"),
        (deployment({"replicas": 1}, {"updatedReplicas": 1, "replicas": 2}), False, "1 old replicas"),
        (deployment({}, {"updatedReplicas": 1, "replicas": 1}), False, "0 of 1 replicas are available"),
        (deployment({"replicas": 0}, {}), True, ""),
        (deployment({}, {}, observed=1), False, "not seen by its controller"),
        ({"kind": "ConfigMap"}, True, ""),
        ({"kind": "Job", "status": {}}, False, "no condition Complete"),
        ({"kind": "Job", "status": {"conditions": [{"type": "Complete", "status": "True"}]}}, True, ""),
        ({"kind": "StatefulSet", "spec": {"replicas": 2}, "status": {"readyReplicas": 1}}, False, "1 of 2"),
        ({"kind": "DaemonSet", "status": {"desiredNumberScheduled": 3}}, False, "0 of 3 pods are updated"),
    ],
)
def test_workloads_are_judged_as_kubectl_does(item, done, why):
    verdict = rollout(item)
    assert (verdict.done, verdict.failed) == (done, False)
    assert why in verdict.why


def test_what_will_not_come_any_more_is_not_waited_for():
    job = {"kind": "Job", "status": {"conditions": [{"type": "Failed", "status": "True", "reason": "Deadline"}]}}
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    assert rollout(job).failed
    assert rollout(deployment({}, {"conditions": [late]})).failed


@pytest.mark.parametrize(
    ("wait", "done"),
    [
        ({"condition": "Ready"}, True),
        ({"condition": "Synced=False"}, True),
        ({"condition": "Synced"}, False),
        ({"condition": "Other"}, False),
        ({"path": "{.status.phase}", "equals": "Up"}, True),
        ({"path": "{.status.phase}", "equals": "Down"}, False),
        ({"path": "{.status.phase}"}, True),
        ({"path": "{.status.nothing}"}, False),
        ({"path": "{.status.count}", "equals": 3}, True),
    ],
)
def test_conditions_and_fields_are_waited_for(wait, done):
    conditions = [{"type": "Ready", "status": "True"}, {"type": "Synced", "status": "False"}]
    item = {"status": {"conditions": conditions, "phase": "Up", "count": 3}}
    assert judge(Wait.model_validate({"object": "Widget/x", **wait}))(item).done is done


def test_a_pod_says_why_it_is_not_ready():
    waiting = {"name": "main", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
    pod = {"metadata": {"name": "p"}, "status": {"phase": "Pending", "containerStatuses": [waiting]}}
    assert pod_reason(pod) == "pod p, container main: ImagePullBackOff: no such image"
    full = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
    pod = {"metadata": {"name": "p"}, "status": {"conditions": [full]}}
    assert pod_reason(pod) == "pod p is not scheduled: Unschedulable: 0/3 nodes"
    assert not pod_reason({"status": {"conditions": [{"type": "Ready", "status": "True"}]}})


def test_a_deletion_that_is_stuck_says_what_holds_it():
    metadata = {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["a/b"]}
    assert (
        stuck_reason({"metadata": metadata}) == "being deleted since 2026-01-01T00:00:00Z: waits for finalizer a/b"
    )
    left = {"type": "NamespaceContentRemaining", "status": "True", "reason": "Some", "message": "pods. has 1"}
    item = {"kind": "Namespace", "metadata": {"deletionTimestamp": "t"}, "status": {"conditions": [left]}}
    assert "pods. has 1" in stuck_reason(item)


def test_outputs_of_secrets_are_decoded_and_others_may_have_a_default():
    secret = {"kind": "Secret", "data": {"p": base64.b64encode(b"hunter2").decode(), "bad": "/w=="}}

    def output(path, **more):
        return ObjectOutput.model_validate({"from": "Secret/x", "path": path, **more})

    assert value_at(output("{.data.p}"), secret) == "hunter2"
    assert value_at(output("{.data.none}", default="d"), secret) == "d"
    assert value_at(output("{.data.p}"), None) is None
    with pytest.raises(ValueError, match="not text"):
        value_at(output("{.data.bad}"), secret)
