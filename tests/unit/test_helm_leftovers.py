"""What failed revisions have left: which revisions count, and what of an object goes."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bondstone.activities.clusters.manifests import Ref
from bondstone.activities.helm.changes import Reality, planned_changes
from bondstone.activities.helm.history import split
from bondstone.activities.helm.leftovers import remains, without
from bondstone.activities.helm.release import RELEASE_NAME, RELEASE_NAMESPACE, Release
from bondstone.base.redact import Redactor

REF = Ref("apps/v1", "Deployment", "shop", "web")


def revisions(*statuses: str) -> list[Release]:
    return [Release("web", "shop", number, status) for number, status in enumerate(statuses, 1)]


@pytest.mark.parametrize(
    ("statuses", "base", "failed"),
    [
        (["deployed"], 1, []),
        (["superseded", "deployed"], 2, []),
        (["deployed", "failed"], 1, [2]),
        (["deployed", "pending-upgrade"], 1, [2]),
        # the rollback of a failed upgrade was killed, or failed: Helm then calls the upgrade superseded
        (["deployed", "failed", "pending-rollback"], 1, [3, 2]),
        (["superseded", "deployed", "superseded", "failed"], 2, [4, 3]),
        # rolled back: Helm may still have been at work on the second when it rolled it back
        (["superseded", "failed", "deployed"], 3, [2]),
        (["superseded", "failed", "superseded", "deployed"], 4, []),
        # never deployed: Helm starts from the newest
        (["failed"], 1, []),
        (["failed", "failed", "pending-upgrade"], 3, [2, 1]),
        (["superseded", "superseded", "failed"], 3, [2]),
    ],
)
def test_which_revisions_helm_knows_nothing_of(statuses, base, failed):
    result, others = split(revisions(*statuses))
    assert (result.revision, [item.revision for item in others]) == (base, failed)


def deployment(containers: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    metadata = {"name": "web", **({"labels": more.pop("labels")} if "labels" in more else {})}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {"template": {"spec": {"containers": containers}}, **more},
    }


def main(*ports: dict[str, Any], env: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    return {
        "name": "main",
        "ports": [*ports],
        "env": [{"name": name, "value": "1"} for name in env],
        **more,
    }


def live(manifest: dict[str, Any]) -> dict[str, Any]:
    """As the API server holds it: defaults, Helm's own marks, and whose the fields are."""
    result = copy.deepcopy(manifest)
    result["spec"].setdefault("replicas", 1)
    for container in result["spec"]["template"]["spec"]["containers"]:
        container.setdefault("imagePullPolicy", "Always")
        for port in container.get("ports", ()):
            port.setdefault("protocol", "TCP")
    metadata = result["metadata"]
    metadata["labels"] = {**metadata.get("labels", {}), "app.kubernetes.io/managed-by": "Helm"}
    metadata["annotations"] = {RELEASE_NAME: "web", RELEASE_NAMESPACE: "shop", "by/somebody": "else"}
    metadata["managedFields"] = [{"manager": "helm", "fieldsV1": fields(manifest)}]
    return result


KEYS = {"containers": ("name",), "env": ("name",), "ports": ("containerPort", "protocol")}


def fields(value: Any, name: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {f"f:{key}": fields(item, key) for key, item in value.items()}
    if isinstance(value, list) and name in KEYS:
        defaults = {"protocol": "TCP"}
        keys = [{key: item.get(key, defaults.get(key)) for key in KEYS[name]} for item in value]
        return {f"k:{json.dumps(key)}": fields(item) for key, item in zip(keys, value, strict=True)}
    if isinstance(value, list) and name == "finalizers":
        return {f"v:{json.dumps(item)}": {} for item in value}
    return {}


def spec(item: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = item["spec"]
    return result


def test_fields_that_only_a_failed_revision_set_go_and_no_others():
    base = deployment([main({"containerPort": 80}, env=("A",))])
    failed = deployment(
        [
            main({"containerPort": 80}, {"containerPort": 81}, env=("A", "B"), livenessProbe={"exec": {}}),
            {"name": "side"},
        ],
        labels={"app.kubernetes.io/managed-by": "Helm", "left": "x"},
        paused=True,
        strategy={"type": "Recreate"},
    )
    result = live(failed)
    result["spec"]["template"]["spec"]["containers"].append({"name": "injected"})
    cleaned = without(result, [failed], [base, base])
    [container, injected] = spec(cleaned)["template"]["spec"]["containers"]
    assert container == {
        "name": "main",
        "imagePullPolicy": "Always",
        "ports": [{"containerPort": 80, "protocol": "TCP"}],
        "env": [{"name": "A", "value": "1"}],
    }
    assert injected == {"name": "injected"}
    assert set(spec(cleaned)) == {"template", "replicas"}
    assert cleaned["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "Helm"}
    assert cleaned["metadata"]["annotations"] == result["metadata"]["annotations"]


def test_what_comes_next_keeps_what_it_has_in_common_with_what_failed():
    base, failed, new = (deployment([main(env=env)]) for env in ((), ("A", "B"), ("B",)))
    [container] = spec(without(live(failed), [failed], [new, base]))["template"]["spec"]["containers"]
    assert [item["name"] for item in container["env"]] == ["B"]


def test_ports_are_told_apart_by_protocol():
    tcp, udp = {"containerPort": 53}, {"containerPort": 53, "protocol": "UDP"}
    result = without(live(deployment([main(tcp, udp)])), [deployment([main(tcp, udp)])], [deployment([main(tcp)])])
    [container] = spec(result)["template"]["spec"]["containers"]
    assert container["ports"] == [{"containerPort": 53, "protocol": "TCP"}]


def test_a_finalizer_that_only_a_failed_revision_set_goes():
    failed = {"metadata": {"name": "x", "finalizers": ["a", "b"]}}
    result = {"metadata": {"finalizers": ["a", "b", "c"], "managedFields": [{"fieldsV1": fields(failed)}]}}
    kept = without(result, [failed], [{"metadata": {"finalizers": ["a"]}}])
    assert kept["metadata"]["finalizers"] == ["a", "c"]


containers = st.lists(
    st.builds(
        lambda name, env, probe: {
            "name": name,
            "env": [{"name": item, "value": "1"} for item in sorted(env)],
            **({"livenessProbe": {"exec": {"command": ["x"]}}} if probe else {}),
        },
        st.sampled_from("abc"),
        st.sets(st.sampled_from("xyz")),
        st.booleans(),
    ),
    unique_by=lambda item: item["name"],
)
manifests = st.builds(
    lambda result, labels, more: deployment(result, labels=labels, **more),
    containers,
    st.dictionaries(st.sampled_from("kl"), st.just("v")),
    st.dictionaries(st.sampled_from(["paused", "minReadySeconds"]), st.just(1)),
)


def leaves(value: Any, prefix: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    if isinstance(value, dict):
        every = ((key, item) for key, item in value.items() if key != "managedFields")
        return {prefix}.union(*(leaves(item, (*prefix, key)) for key, item in every))
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return {prefix}.union(*(leaves(item, (*prefix, str(item["name"]))) for item in value))
    return {prefix}


@given(base=manifests, failed=manifests, new=manifests)
def test_nothing_is_left_that_nobody_wants_and_nothing_goes_that_somebody_does(base, failed, new):
    result = live(failed)
    cleaned = without(result, [failed], [new, base])
    wanted = leaves(new) | leaves(base)
    gone = leaves(result) - leaves(cleaned)
    assert not (gone & wanted)
    unwanted = {path for path in leaves(failed) - wanted if path[0] != "metadata" or path[1] == "labels"}
    assert not (leaves(cleaned) & unwanted)
    assert without(cleaned, [failed], [new, base]) == cleaned


def test_what_is_left_is_in_the_change_set_only_as_long_as_it_is_there():
    base, failed = deployment([main(env=("A",))]), deployment([main(env=("A", "B"))])
    left = remains({REF: base}, {REF: base}, [{REF: failed}])

    def changes(item: dict[str, Any]) -> list[Any]:
        return planned_changes({REF: base}, {REF: base}, Reality({REF: item}, {REF: item}), Redactor(), left)

    [change] = changes(live(failed))
    assert change.action == "update"
    assert "B" in json.dumps(change.before)
    assert "B" not in json.dumps(change.after)
    assert changes(live(base)) == []


def test_objects_that_only_failed_revisions_held_are_to_go_unless_they_are_to_be_kept():
    item = {"kind": "ConfigMap", "metadata": {"name": "web"}}
    kept = {"kind": "ConfigMap", "metadata": {"name": "web", "annotations": {"helm.sh/resource-policy": "keep"}}}
    other_version = Ref("apps/v1beta1", "Deployment", "shop", "web")
    for manifest, base, new, lost in (
        (item, {}, {}, True),
        (kept, {}, {}, False),
        (item, {REF: item}, {}, False),
        (item, {}, {REF: item}, False),
        (item, {}, {other_version: item}, False),
    ):
        [result] = remains(base, new, [{REF: manifest}])
        assert result.lost is lost
