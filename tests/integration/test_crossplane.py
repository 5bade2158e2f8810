"""`ready: crossplane` on a real API server and its garbage collector; a stand-in plays Crossplane."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from kubernetes_kit import Bench, shown

from bondstone.activities.kubernetes import waiting
from bondstone.base.errors import StepTimedOut, ToolFailed
from harness.servers import crossplane as stand_in
from harness.servers.crossplane import MADE_UP, Crossplane

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def crossplane(control_plane) -> Iterator[Crossplane]:
    with stand_in.running(control_plane) as running:
        yield running


@pytest.fixture
def namespace(control_plane):
    name = f"xp-{uuid.uuid4().hex[:8]}"
    control_plane.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    return name


@pytest.fixture
async def bench(tmp_path: Path, control_plane, namespace):
    return await Bench.open(tmp_path, control_plane.kubeconfig, namespace)


def store(crossplane: Crossplane, name: str, *, size: int = 1, release: str = "") -> str:
    selector = f"{{compositionRevisionSelector: {{matchLabels: {{release: '{release}'}}}}}}"
    machinery = f", crossplane: {selector}" if release else ""
    return f"""
apiVersion: {crossplane.group}/v1
kind: Store
metadata: {{name: {name}}}
spec: {{size: {size}{machinery}}}
"""


def claim(crossplane: Crossplane, name: str, *, size: int = 1) -> str:
    return f"""
apiVersion: {crossplane.group}/v1
kind: StoreClaim
metadata: {{name: {name}}}
spec: {{size: {size}, compositeDeletePolicy: Foreground, writeConnectionSecretToRef: {{name: {name}-login}}}}
"""


def options(crossplane: Crossplane, kind: str, name: str, **more) -> dict:
    path_of_store = f"{crossplane.group}/v1/{kind}/{name}"
    login = {"from": f"Secret/{name}-login", "path": "{.data.password}"}
    outputs = {
        "password": login,
        **({"size": {"from": path_of_store, "path": "{.status.size}"}} if kind == "Store" else {}),
    }
    return {"ready": "crossplane", "timeout": "90s", "outputs": outputs, **more}


async def test_a_composite_of_version_2_is_waited_for_in_its_current_generation_and_goes_with_what_it_made(
    bench, crossplane, namespace
):
    name = f"s{uuid.uuid4().hex[:6]}"
    told = options(crossplane, "Store", name)
    bench.write(store(crossplane, name, release="1"))
    outcome = await bench.provision(**told)
    assert (outcome.outputs["size"].value, outcome.outputs["size"].sensitive) == (1, False)
    assert (outcome.outputs["password"].value, outcome.outputs["password"].sensitive) == (MADE_UP, True)
    assert (await bench.plan(**told)).empty, "what Crossplane writes into the object is no change of it"

    bench.write(store(crossplane, name, size=5, release="2"))
    planned = await bench.plan(**told)
    assert shown(planned) == [("update", f"{crossplane.group}/v1/Store/{namespace}/{name}")]
    # the status is still that of the generation before when the change is applied
    assert (await bench.apply(planned, **told)).outputs["size"].value == 5
    [disk] = [item for item in crossplane.objects("disks") if item["metadata"]["name"].startswith(name)]
    assert disk["spec"]["forProvider"] == {"size": 5, "release": "2"}
    await bench.destroy(**told)
    assert (crossplane.named("stores", name), crossplane.named("disks", name)) == (None, None)
    assert MADE_UP not in "".join(bench.log)


async def test_what_never_gets_ready_is_named_with_its_reason_and_its_event(
    bench, crossplane, namespace, monkeypatch
):
    monkeypatch.setattr(waiting, "_EXPLAIN_SECONDS", 0.5)
    name = f"s{uuid.uuid4().hex[:6]}"
    crossplane.failing[name] = "no disk of that size in region eu-1"
    bench.write(store(crossplane, name))
    told = options(crossplane, "Store", name)
    with pytest.raises(StepTimedOut, match=f"Store/{namespace}/{name} is not ready after 6s") as caught:
        await bench.provision(**{**told, "timeout": "6s"})
    first, below = [problem.message for problem in caught.value.problems]
    assert first.endswith("condition Ready is False, not True: Creating: Unready resources: disk")
    assert below == (
        f"{crossplane.group}/v1/Disk/{namespace}/{name}-disk (disk): condition Synced is False, not True: "
        "ReconcileError: create failed: see its events; event CannotCreateExternalResource: "
        "no disk of that size in region eu-1"
    )
    assert any("no disk of that size" in beat.note for beat in bench.beats), "said while it waits, too"
    drift = await bench.executor.detect_drift(bench.context(**told))
    assert (list(drift.changes), [text.partition(": ")[0] for text in drift.failed_checks]) == (
        [],
        [f"{crossplane.group}/v1/Store/{namespace}/{name}"],
    )
    del crossplane.failing[name]
    await bench.provision(**told)
    assert (await bench.executor.detect_drift(bench.context(**told))).failed_checks == []
    await bench.destroy(**told)


async def test_a_claim_of_version_1_is_followed_to_what_is_composed_and_deleted_with_it(
    bench, crossplane, namespace
):
    name = f"c{uuid.uuid4().hex[:6]}"
    told = options(crossplane, "StoreClaim", name)
    crossplane.failing[name] = "the quota of the account is used up"
    bench.write(claim(crossplane, name))
    with pytest.raises(StepTimedOut) as caught:
        await bench.provision(**{**told, "timeout": "6s"})
    first, deepest, composite = [problem.message for problem in caught.value.problems]
    assert first.startswith(f"{crossplane.group}/v1/StoreClaim/{namespace}/{name}: condition Ready is False")
    assert deepest.startswith(f"{crossplane.group}/v1/ClusterDisk/{name}-")
    assert "the quota of the account is used up" in deepest
    assert composite.startswith(f"{crossplane.group}/v1/XStore/{name}-")
    del crossplane.failing[name]
    assert (await bench.provision(**told)).outputs["password"].value == MADE_UP

    crossplane.held.add(name)
    with pytest.raises(StepTimedOut, match="1 object is still there") as caught:
        await bench.destroy(**{**told, "timeout": "6s"})
    first, deepest, composite = [problem.message for problem in caught.value.problems]
    assert "waits for finalizer finalizer.apiextensions.crossplane.io" in first
    assert deepest.startswith(f"{crossplane.group}/v1/ClusterDisk/{name}-")
    assert "waits for finalizer finalizer.managedresource.crossplane.io" in deepest
    assert deepest.endswith("; Synced is False: delete failed: the disk is in use by another machine")
    assert "what it owns is still there" in composite
    assert crossplane.named("storeclaims", name) is not None
    crossplane.held.remove(name)
    await bench.destroy(**told)
    for plural in ("storeclaims", "xstores", "clusterdisks"):
        assert crossplane.named(plural, name) is None


async def test_a_step_without_an_object_of_crossplane_is_refused_before_anything_is_applied(bench, crossplane):
    bench.write("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: plain}\ndata: {key: value}\n")
    with pytest.raises(ToolFailed, match="none of its objects is a claim"):
        await bench.plan(ready="crossplane")
