"""`ready: crossplane` against Crossplane itself, its patch-and-transform function and a provider."""

from __future__ import annotations

import json
import urllib.error
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from kubernetes_kit import Bench, shown

from bondstone.activities.executors import DIED
from bondstone.activities.kubernetes import waiting
from bondstone.base.errors import StepTimedOut
from bondstone.model.service import OperationStatus
from harness import local_platform
from harness.local_platform import LocalPlatform
from harness.servers.crossplane_core import CrossplaneCore
from harness.waiting import until, until_async

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

SHOP = "/apis/shop.example.org/v1"
NOP = "/apis/nop.crossplane.io/v1alpha1/nopresources"


@pytest.fixture
def namespace(crossplane: CrossplaneCore) -> Iterator[str]:
    name = f"xp-{uuid.uuid4().hex[:8]}"
    crossplane.plane.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    yield name
    crossplane.plane.call("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture
async def bench(tmp_path: Path, crossplane: CrossplaneCore, namespace: str) -> Bench:
    return await Bench.open(tmp_path, crossplane.plane.kubeconfig, namespace)


def options(**more) -> dict:
    return {"ready": "crossplane", "timeout": "120s", **more}


def store(name: str, size: str, **spec: str) -> str:
    return json.dumps(
        {
            "apiVersion": "shop.example.org/v1",
            "kind": "Store",
            "metadata": {"name": name},
            "spec": {"size": size, **spec},
        }
    )


def is_gone(crossplane: CrossplaneCore, path: str) -> bool:
    try:
        crossplane.plane.call("GET", path)
    except urllib.error.HTTPError as error:
        return error.code == 404
    return False


async def test_a_namespaced_composite_is_waited_for_in_its_current_generation_and_goes_with_what_it_made(
    bench, crossplane, namespace
):
    told = options(
        outputs={
            "size": {"from": "shop.example.org/v1/Store/orders", "path": "{.status.size}"},
            "password": {"from": "Secret/orders-login", "path": "{.data.password}"},
        }
    )
    bench.write(store("orders", "small"))
    outcome = await bench.provision(**told)
    assert (outcome.outputs["size"].value, outcome.outputs["size"].sensitive) == ("small", False)
    assert outcome.outputs["password"].value == "canary-of-a-composed-secret-2291"
    assert outcome.outputs["password"].sensitive
    assert (await bench.plan(**told)).empty, "what Crossplane writes into the object is no change of it"

    bench.write(store("orders", "large"))
    planned = await bench.plan(**told)
    assert shown(planned) == [("update", f"shop.example.org/v1/Store/{namespace}/orders")]
    await bench.apply(planned, **told)
    # Crossplane copies it from the shelf as it was observed, and may be ready one reconcile before that.
    path = f"{SHOP}/namespaces/{namespace}/stores/orders"
    await until(lambda: crossplane.plane.call("GET", path)["status"]["size"] == "large", "the new size")
    assert (await bench.provision(**told)).outputs["size"].value == "large"
    assert (await bench.executor.detect_drift(bench.context(**told))).failed_checks == []

    await bench.destroy(**told)
    assert is_gone(crossplane, path)
    assert is_gone(crossplane, f"/api/v1/namespaces/{namespace}/secrets/orders-login")
    assert "canary-of-a-composed-secret" not in "".join(bench.log)


async def test_a_composite_whose_resource_never_gets_ready_is_named_with_it(bench, monkeypatch, namespace):
    monkeypatch.setattr(waiting, "_EXPLAIN_SECONDS", 0.5)
    bench.write(store("orders", "small", quota="refused"))
    with pytest.raises(StepTimedOut, match=f"Store/{namespace}/orders is not ready after 8s") as caught:
        await bench.provision(**options(timeout="8s"))
    first = caught.value.problems[0].message
    assert "condition Ready is False, not True: Creating: Unready resources: shelf" in first
    bench.write(store("orders", "small"))
    await bench.provision(**options())
    await bench.destroy(**options())


async def test_a_resource_of_a_provider_that_never_gets_ready_is_named_with_its_reason(
    bench, crossplane, monkeypatch
):
    monkeypatch.setattr(waiting, "_EXPLAIN_SECONDS", 0.5)
    name = f"r{uuid.uuid4().hex[:6]}"
    told = options(cluster_scoped=True)

    def region(ready: str) -> str:
        return f"""
        apiVersion: shop.example.org/v1
        kind: Region
        metadata: {{name: {name}}}
        spec: {{ready: "{ready}"}}
        """

    bench.write(region("False"))
    with pytest.raises(StepTimedOut, match=f"Region/{name} is not ready after 10s") as caught:
        await bench.provision(**{**told, "timeout": "10s"})
    first, below = [problem.message for problem in caught.value.problems]
    assert "condition Ready is False, not True: Creating: Unready resources: network" in first
    assert below.startswith("nop.crossplane.io/v1alpha1/NopResource/")
    assert " (network): condition Ready is False, not True: NoAddressesLeft" in below
    assert any("NoAddressesLeft" in beat.note for beat in bench.beats), "said while it waits, too"
    drift = await bench.executor.detect_drift(bench.context(**told))
    assert [text.partition(": ")[0] for text in drift.failed_checks] == [f"shop.example.org/v1/Region/{name}"]

    bench.write(region("True"))
    await bench.provision(**told)
    await bench.destroy(**told)
    assert is_gone(crossplane, f"{SHOP}/regions/{name}")


async def test_a_claim_is_followed_to_what_is_composed_and_what_holds_its_deletion_is_named(
    bench, crossplane, namespace
):
    name = f"d{uuid.uuid4().hex[:6]}"
    told = options(outputs={"password": {"from": f"Secret/{name}-login", "path": "{.data.password}"}})

    def claim(ready: str) -> str:
        return f"""
        apiVersion: shop.example.org/v1
        kind: Database
        metadata: {{name: {name}}}
        spec:
          ready: "{ready}"
          compositeDeletePolicy: Foreground
          writeConnectionSecretToRef: {{name: {name}-login}}
        """

    bench.write(claim("False"))
    with pytest.raises(StepTimedOut) as caught:
        await bench.provision(**{**told, "timeout": "10s"})
    first, deepest, composite = [problem.message for problem in caught.value.problems]
    assert first.startswith(f"shop.example.org/v1/Database/{namespace}/{name}: condition Ready is False")
    assert deepest.startswith("nop.crossplane.io/v1alpha1/NopResource/")
    assert "OutOfQuota" in deepest
    assert composite.startswith(f"shop.example.org/v1/XDatabase/{name}-")
    bench.write(claim("True"))
    outcome = await bench.provision(**told)
    assert (outcome.outputs["password"].value, outcome.outputs["password"].sensitive) == (
        "canary-of-a-claim-7730",
        True,
    )
    assert (await bench.plan(**told)).empty

    [server] = [
        item
        for item in crossplane.plane.call("GET", NOP)["items"]
        if item["metadata"]["labels"].get("crossplane.io/claim-name") == name
    ]
    hold(crossplane, server["metadata"]["name"], add=True)
    with pytest.raises(StepTimedOut, match="1 object is still there") as caught:
        await bench.destroy(**{**told, "timeout": "10s"})
    first, deepest, composite = [problem.message for problem in caught.value.problems]
    assert "waits for finalizer finalizer.apiextensions.crossplane.io" in first
    assert deepest.startswith(f"nop.crossplane.io/v1alpha1/NopResource/{server['metadata']['name']}")
    assert "example.org/audit" in deepest
    assert composite.startswith(f"shop.example.org/v1/XDatabase/{name}-")
    hold(crossplane, server["metadata"]["name"], add=False)
    await bench.destroy(**told)
    assert is_gone(crossplane, f"{SHOP}/namespaces/{namespace}/databases/{name}")
    assert is_gone(crossplane, f"{NOP}/{server['metadata']['name']}")


def hold(crossplane: CrossplaneCore, name: str, *, add: bool) -> None:
    """Add a finalizer of somebody else to a managed resource, or take it away."""
    while True:
        item = crossplane.plane.call("GET", f"{NOP}/{name}")
        others = [one for one in item["metadata"].get("finalizers") or () if one != "example.org/audit"]
        item["metadata"]["finalizers"] = [*others, "example.org/audit"] if add else others
        try:
            crossplane.plane.call("PUT", f"{NOP}/{name}", item)
        except urllib.error.HTTPError as error:
            if error.code != 409:
                raise
            continue
        return


async def test_what_waits_survives_that_crossplane_is_killed(bench, crossplane, namespace):
    crossplane.core.kill()
    bench.write(store("orders", "small"))
    try:
        with pytest.raises(StepTimedOut, match="is not ready after 4s") as caught:
            await bench.provision(**options(timeout="4s"))
    finally:
        crossplane.core.start()
    assert "has no condition Synced yet" in caught.value.problems[0].message
    await bench.provision(**options())
    await bench.destroy(**options())


PROMISE = """
apiVersion: bondstone.dev/v1
kind: Promise
metadata: {name: store, version: VERSION, title: Store, owner: shop}
spec:
  description: A store, as a composite.
  inputs:
    type: object
    required: [namespace]
    additionalProperties: false
    properties: {namespace: {type: string}}
  outputs:
    release: {type: string, value: "${steps.store.outputs.release}"}
  steps:
    - id: store
      kubernetes:
        manifests: [store.yaml]
        namespace: "${inputs.namespace}"
        ready: crossplane
        outputs:
          release: {from: "shop.example.org/v1/Store/${service.name}", path: "{.status.release}"}
"""
STORE = """
apiVersion: shop.example.org/v1
kind: Store
metadata: {name: "${service.name}"}
spec:
  size: small
  crossplane: {compositionRevisionSelector: {matchLabels: {release: "RELEASE"}}}
"""
CAMPAIGN = """
apiVersion: bondstone.dev/v1
kind: Campaign
metadata: {name: second-release, owner: shop, reason: the second release of the composition}
spec:
  operation: patch
  promise: store
  to: 1.0.1
  select: {where: "team == 'shop'"}
  waves:
    - {name: canary, count: 1}
    - {name: rest, rest: true}
"""


@pytest.fixture(scope="module")
def platform(crossplane: CrossplaneCore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPlatform]:
    clusters = {"default": {"kubeconfig": str(crossplane.plane.kubeconfig)}}
    data = tmp_path_factory.mktemp("platform") / "data"
    with local_platform.running(data, {"BOND_CLUSTERS": json.dumps(clusters)}) as local:
        for version, release in (("1.0.0", "1"), ("1.0.1", "2")):
            folder = data.parent / version
            folder.mkdir()
            (folder / "promise.yaml").write_text(PROMISE.replace("VERSION", version))
            (folder / "store.yaml").write_text(STORE.replace("RELEASE", release))
            local.bond("promise", "publish", str(folder))
        yield local


@pytest.mark.kills
async def test_a_worker_that_is_killed_while_a_composite_gets_ready_is_continued_with_nothing_made_twice(
    crossplane, namespace, platform
):
    def uids(path: str) -> dict[str, str]:
        items = crossplane.plane.call("GET", path)["items"]
        return {item["metadata"]["name"]: item["metadata"]["uid"] for item in items}

    stores, core = f"{SHOP}/namespaces/{namespace}/stores", f"/api/v1/namespaces/{namespace}"
    async with platform.client() as bond:
        crossplane.core.kill()
        try:
            inputs = {"namespace": namespace}
            operation = await bond.services.request("store", "shop/killed", inputs, version="1.0.0")

            async def waits() -> bool:
                progress = (await bond.operations.get(operation.id)).progress
                return any("has no condition Synced yet" in each.waits_for for each in progress)

            await until_async(waits, "the step waits for Crossplane")
            before, worker = uids(stores), platform.pid("executor")
            platform.kill(worker)
        finally:
            crossplane.core.start()
        record = await operation.wait()
        assert record.status is OperationStatus.SUCCEEDED, record.error
        assert record.steps[0].earlier_attempts == (DIED,)
        assert platform.pid("executor") != worker
        assert (list(before), uids(stores)) == (["killed"], before), "the same composite"
        composed = uids(f"{core}/configmaps").keys() - {"kube-root-ca.crt"}
        assert (len(composed), list(uids(f"{core}/secrets"))) == (1, ["killed-login"])
        assert (await (await bond.services.reconcile("shop/killed")).wait()).drift == 0
        removed = await (await bond.services.decommission("shop/killed")).wait()
        assert removed.status is OperationStatus.SUCCEEDED, removed.error
    assert uids(stores) == {}


def test_a_campaign_moves_a_fleet_to_another_revision_of_the_composition(
    crossplane, namespace, platform, tmp_path
):
    plane = crossplane.plane

    def releases() -> list[str]:
        items = plane.call("GET", f"{SHOP}/namespaces/{namespace}/stores")["items"]
        return sorted(item["status"]["release"] for item in items)

    for index in range(3):
        request = ["service", "request", "store", f"shop/s{index}", "--version", "1.0.0"]
        platform.bond(*request, "--set", f"namespace={namespace}", "--wait", seconds=150)
    assert releases() == ["1", "1", "1"]

    path = "/apis/apiextensions.crossplane.io/v1/compositions/stores"
    composition = plane.call("GET", path)
    composition["metadata"]["labels"]["release"] = "2"
    shelf = composition["spec"]["pipeline"][0]["input"]["resources"][0]
    shelf["base"]["data"]["release"] = "2"
    plane.call("PUT", path, composition)
    assert releases() == ["1", "1", "1"], "a new composition alone moves nobody"

    (tmp_path / "campaign.yaml").write_text(CAMPAIGN)
    ran = platform.bond("campaign", "run", "-f", str(tmp_path / "campaign.yaml"), "--wait", seconds=240)
    assert "3 of 3" in ran.stdout or "completed" in ran.stdout, ran.stdout
    assert releases() == ["2", "2", "2"]
    for index in range(3):
        platform.bond("service", "decommission", f"shop/s{index}", "--yes", "--wait", seconds=150)
    assert plane.call("GET", f"{SHOP}/namespaces/{namespace}/stores")["items"] == []
