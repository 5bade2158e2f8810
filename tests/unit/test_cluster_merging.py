"""What a client sends so that an object follows its manifest; recorded from Kubernetes' own Go code (0.37)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bondstone.activities.clusters.merge_rules import is_built_in
from bondstone.activities.clusters.merging import merge_patch, strategic_patch

RECORDED = json.loads((Path(__file__).parent / "recorded" / "strategic_patches.json").read_text())
DNS = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "dns", "labels": {"tier": "one"}},
    "spec": {
        "ports": [{"port": 53, "protocol": "UDP", "name": "udp"}, {"port": 53, "protocol": "TCP", "name": "tcp"}]
    },
}


@pytest.mark.parametrize("case", RECORDED, ids=range(len(RECORDED)))
def test_the_patch_is_the_one_that_kubernetes_itself_computes(case):
    assert strategic_patch(case["old"], case["new"], case["live"]) == case["patch"]


def test_one_port_for_two_protocols_is_not_sent_when_nothing_of_it_changes():
    live = json.loads(json.dumps(DNS))
    for port in live["spec"]["ports"]:
        port["targetPort"] = 53
    live["spec"]["clusterIP"] = "10.0.0.2"
    assert strategic_patch(DNS, DNS, live) == {}
    new = {**DNS, "metadata": {"name": "dns", "labels": {"tier": "two"}}}
    assert strategic_patch(DNS, new, live) == {"metadata": {"labels": {"tier": "two"}}}


def test_true_is_not_one():
    old = {"apiVersion": "v1", "kind": "Service", "spec": {"publishNotReadyAddresses": True}}
    live = {"apiVersion": "v1", "kind": "Service", "spec": {"publishNotReadyAddresses": 1}}
    assert strategic_patch(old, old, live) == {"spec": {"publishNotReadyAddresses": True}}


def test_a_list_without_its_key_is_replaced():
    old = {"kind": "Service", "apiVersion": "v1", "spec": {"ports": [{"name": "x"}]}}
    new = {"kind": "Service", "apiVersion": "v1", "spec": {"ports": [{"name": "y"}]}}
    assert strategic_patch(old, new, old) == {"spec": {"ports": [{"name": "y"}]}}


@pytest.mark.parametrize(
    ("old", "new", "live", "patch"),
    [
        ({"a": 1}, {"a": 1}, {"a": 1, "b": 2}, {}),
        ({"a": 1}, {"a": 1}, {"a": 3}, {"a": 1}),
        ({"a": 1, "gone": {"x": 1}}, {"a": 1}, {"a": 1, "gone": {"x": 1, "y": 2}}, {"gone": None}),
        ({"s": {"a": 1, "b": 2}}, {"s": {"a": 1}}, {"s": {"a": 1, "b": 2, "c": 3}}, {"s": {"b": None}}),
        ({"s": {"a": None}}, {"s": {"a": None}}, {"s": {"a": {"default": 1}}}, {}),
        ({"s": {"a": 1}}, {"s": {"a": None}}, {"s": {"a": 1}}, {"s": {"a": None}}),
        ({"l": [1]}, {"l": [1, 2]}, {"l": [1]}, {"l": [1, 2]}),
    ],
)
def test_kinds_without_a_strategic_merge_get_a_merge_patch(old, new, live, patch):
    assert merge_patch(old, new, live) == patch


def test_built_in_kinds_are_known_by_their_group():
    built_in = ("v1", "apps/v1", "policy/v1", "rbac.authorization.k8s.io/v1", "apiextensions.k8s.io/v1")
    assert all(map(is_built_in, built_in))
    others = (
        "example.org/v1",
        "gateway.networking.k8s.io/v1",
        "apiregistration.k8s.io/v1",
        "snapshot.storage.k8s.io/v1",
    )
    assert not any(map(is_built_in, others))
