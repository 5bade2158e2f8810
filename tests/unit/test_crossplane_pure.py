"""When an object of Crossplane is ready, and what it is made of: pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from bondstone.activities.clusters.api import Resource
from bondstone.activities.clusters.manifests import Ref
from bondstone.activities.kubernetes import waiting
from bondstone.activities.kubernetes.crossplane import composed_refs, expected_conditions, has_current

BOTH = ("Synced", "Ready")


def item(*conditions: tuple[str, str, int | None], generation: int = 2, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "example.org/v1",
        "kind": "Database",
        "metadata": {"name": "main", "namespace": "shop", "generation": generation},
        "spec": spec,
        "status": {
            "conditions": [
                {"type": name, "status": status, "reason": "R", "message": "m"}
                | ({} if observed is None else {"observedGeneration": observed})
                for name, status, observed in conditions
            ]
        },
    }


@pytest.mark.parametrize(
    ("conditions", "why"),
    [
        ([("Synced", "True", 2), ("Ready", "True", 2)], ""),
        ([("Synced", "True", None), ("Ready", "True", None)], ""),
        ([("Synced", "True", 3), ("Ready", "True", 2)], ""),
        (
            [("Synced", "True", 2), ("Ready", "True", 1)],
            "condition Ready is of generation 1, and the object is at 2",
        ),
        ([("Synced", "False", 1), ("Ready", "True", 1)], "condition Synced is of generation 1"),
        ([("Synced", "False", 2), ("Ready", "True", 2)], "condition Synced is False, not True: R: m"),
        ([("Synced", "True", 2), ("Ready", "Unknown", 2)], "condition Ready is Unknown, not True: R: m"),
        ([("Synced", "True", 2)], "its status has no condition Ready yet"),
        ([], "its status has no condition Synced yet"),
    ],
)
def test_it_is_ready_when_both_conditions_are_true_of_its_generation(conditions, why):
    verdict = has_current(item(*conditions), BOTH)
    assert (verdict.done, verdict.failed) == (not why, False)
    assert verdict.why.startswith(why)


@pytest.mark.parametrize(
    ("api_version", "kind", "spec", "categories", "expected"),
    [
        ("example.org/v1", "Database", {}, {"composite"}, BOTH),
        ("example.org/v1", "DatabaseClaim", {}, {"claim"}, BOTH),
        ("s3.aws.m.upbound.io/v1beta1", "Bucket", {}, {"crossplane", "managed", "aws"}, BOTH),
        ("aws.m.upbound.io/v1beta1", "ProviderConfig", {}, {"crossplane", "providerconfig", "aws"}, ()),
        ("apiextensions.crossplane.io/v2", "CompositeResourceDefinition", {}, {"crossplane"}, ("Established",)),
        (
            "apiextensions.crossplane.io/v1",
            "CompositeResourceDefinition",
            {"claimNames": {"kind": "DatabaseClaim"}},
            {"crossplane"},
            ("Established", "Offered"),
        ),
        ("apiextensions.crossplane.io/v1", "Composition", {}, {"crossplane"}, ()),
        ("pkg.crossplane.io/v1", "Provider", {}, {"crossplane", "pkg"}, ("Installed", "Healthy")),
        ("v1", "Secret", {}, set(), ()),
    ],
)
def test_what_is_waited_for_depends_on_the_kind(api_version, kind, spec, categories, expected):
    resource = Resource("/apis/x", "xs", namespaced=True, categories=frozenset(categories))
    assert expected_conditions(resource, {"apiVersion": api_version, "kind": kind, "spec": spec}) == expected


def test_a_composite_and_a_claim_name_what_they_are_made_of():
    disk = {"apiVersion": "example.org/v1", "kind": "Disk", "name": "a"}
    disks = [Ref("example.org/v1", "Disk", "shop", "a")]
    assert composed_refs(item(crossplane={"resourceRefs": [disk]})) == disks
    assert composed_refs(item(resourceRefs=[disk, {**disk, "name": "b", "namespace": "other"}])) == [
        *disks,
        Ref("example.org/v1", "Disk", "other", "b"),
    ]
    assert composed_refs(item(resourceRef=disk)) == disks
    no_name = {"apiVersion": "example.org/v1", "kind": "Disk"}
    assert composed_refs(item(crossplane={"resourceRefs": [no_name]}, resourceRefs="text")) == []
    assert composed_refs({"metadata": {"name": "x"}, "spec": None}) == []


async def test_what_keeps_one_object_is_not_said_of_the_next(monkeypatch: pytest.MonkeyPatch):
    async def look(_: Any, item: Mapping[str, Any]) -> list[str]:
        return [f"below {item['metadata']['uid']}"]

    monkeypatch.setattr(waiting, "_EXPLAIN_SECONDS", 0.0)
    api: Any = None
    explained = waiting._Explained(api, look)
    first, second = ({"metadata": {"uid": uid}} for uid in ("one", "two"))
    assert await explained.reason(first) == "; below one"
    monkeypatch.setattr(explained, "_next", float("inf"))
    assert await explained.reason(first) == "; below one"
    assert await explained.reason(second) == ""
