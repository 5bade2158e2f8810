"""Every operation on a Helm and on a Kubernetes step: real workflows, a real Helm, a real API server.

The same test runs for both: nothing in it, as nothing in the workflows, knows which executor is at work.
"""

from __future__ import annotations

import ast
import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from helm_kit import helm
from platforms import LocalPlatform, publish, running

from bondstone.base.errors import BondError
from bondstone.client import Operation
from bondstone.client.direct.client import DirectClient
from bondstone.model.service import OperationRecord, OperationStatus
from harness.pinned import ROOT
from harness.servers.kubernetes import ControlPlane

pytestmark = pytest.mark.integration

KINDS = ["helm", "kubernetes"]
PROMISE = """
apiVersion: bondstone.dev/v1
kind: Promise
metadata: {name: NAME, version: VERSION, title: A thing, owner: shop}
spec:
  description: A thing in a cluster.
  inputs:
    type: object
    required: [namespace]
    additionalProperties: false
    properties:
      namespace: {type: string}
      COLOUR: {type: string, default: blue}
  outputs:
    colour: {type: string, value: "${steps.app.outputs.colour}"}
    version: {type: string, value: "${steps.app.outputs.version}"}
  steps:
    - id: app
      SECTION
  policies: [policies/]
"""
SECTIONS = {
    "helm": """
      helm:
        chart: chart
        namespace: "${inputs.namespace}"
        release: thing
        values: {colour: "${inputs.COLOUR}"}
    """,
    "kubernetes": """
      kubernetes:
        manifests: [app.yaml]
        namespace: "${inputs.namespace}"
    """,
}
OUTPUTS = """
        outputs:
          colour: {from: ConfigMap/thing, path: "{.data.colour}"}
          version: {from: ConfigMap/thing, path: "{.data.version}"}
"""
POLICY = """
package colours
import rego.v1

deny contains msg if {
    some item in input.plan.manifests
    item.kind == "ConfigMap"
    item.data.colour == "forbidden"
    msg := "that colour is forbidden"
}
"""
CONFIG = """
apiVersion: v1
kind: ConfigMap
metadata: {name: thing}
data: {colour: 'COLOUR', version: VERSION}
"""
MORE = """
---
apiVersion: v1
kind: ConfigMap
metadata: {name: since-1.0.1}
data: {key: value}
"""
VOLUME = """
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: held}
spec: {accessModes: [ReadWriteOnce], storageClassName: "", resources: {requests: {storage: 1Gi}}}
"""
WAIT = """
        wait: [{object: PersistentVolumeClaim/held, path: "{.status.phase}", equals: Bound}]
"""
NOT_HEALTHY = """
  patch:
    health: [{expression: "outputs.version != '1.0.2'", within: 1s, every: 1s}]
"""
UPGRADE = """
  upgrade:
    from: ">=1.0.0"
    inputs: {namespace: "${inputs.namespace}", shade: "${inputs.colour}ish"}
"""


def write(folder: Path, kind: str, version: str) -> Path:
    """The promise in one version.

    1.0.1 has one object more, 1.0.2 is not healthy, 1.0.3 waits for a volume, 1.1.0 renames an input.
    """
    colour = "shade" if version == "1.1.0" else "colour"
    section = SECTIONS[kind].strip() + OUTPUTS
    if (kind, version) == ("kubernetes", "1.0.3"):  # Helm waits for it unasked
        section += WAIT
    text = PROMISE.replace("SECTION", section).replace("NAME", f"thing-{kind}").replace("VERSION", version)
    text += {"1.0.2": NOT_HEALTHY, "1.1.0": UPGRADE}.get(version, "")
    config = CONFIG.replace("VERSION", version) + ("" if version == "1.0.0" else MORE)
    config += VOLUME if version == "1.0.3" else ""
    files = {"promise.yaml": text.replace("COLOUR", colour), "policies/colours.rego": POLICY}
    if kind == "helm":
        files["chart/Chart.yaml"] = "apiVersion: v2\nname: thing\nversion: 0.1.0\n"
        files["chart/templates/app.yaml"] = config.replace("COLOUR", "{{ .Values.colour }}")
    else:
        files["app.yaml"] = config.replace("COLOUR", f"${{inputs.{colour}}}")
    for name, content in files.items():
        path = folder / kind / version / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder / kind / version


@pytest.fixture(scope="module")
def platform(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPlatform]:
    root = tmp_path_factory.mktemp("operations")
    clusters = {"default": {"kubeconfig": str(control_plane.kubeconfig)}}
    with running(root / "data", {"BOND_HELM": helm(), "BOND_CLUSTERS": json.dumps(clusters)}) as local:

        async def all_versions() -> None:
            async with local.client() as bond:
                for kind in KINDS:
                    for version in ("1.0.0", "1.0.1", "1.0.2", "1.0.3", "1.1.0"):
                        await publish(bond, write(root, kind, version))

        asyncio.run(all_versions())
        yield local


@dataclass
class Thing:
    """A service of version 1.0.0, and what the cluster holds of it."""

    bond: DirectClient
    plane: ControlPlane
    namespace: str
    service: str

    @property
    def path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/configmaps"

    @property
    def data(self) -> dict[str, str]:
        result: dict[str, str] = self.plane.call("GET", f"{self.path}/thing")["data"]
        return result

    @property
    def names(self) -> set[str]:
        items = self.plane.call("GET", self.path)["items"]
        return {item["metadata"]["name"] for item in items} - {"kube-root-ca.crt"}

    def by_hand(self, **data: str) -> None:
        """Somebody changes the object without asking."""
        answer = self.plane.call("GET", f"{self.path}/thing")
        self.plane.call("PUT", f"{self.path}/thing", {**answer, "data": {**answer["data"], **data}})


async def ends(operation: Operation, status: OperationStatus = OperationStatus.SUCCEEDED) -> OperationRecord:
    async with asyncio.timeout(150):
        record = await operation.wait(through_approvals=True)
    assert record.status is status, record.error
    return record


@asynccontextmanager
async def a_thing(kind: str, platform: LocalPlatform, plane: ControlPlane) -> AsyncIterator[Thing]:
    name = f"ops-{uuid.uuid4().hex[:8]}"
    plane.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    async with platform.client() as bond:
        service = f"shop/{name}"
        await ends(await bond.services.request(f"thing-{kind}", service, {"namespace": name}, version="1.0.0"))
        yield Thing(bond, plane, name, service)
    plane.call("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture(params=KINDS)
async def thing(request, platform: LocalPlatform, control_plane: ControlPlane) -> AsyncIterator[Thing]:
    async with a_thing(request.param, platform, control_plane) as opened:
        yield opened


async def test_it_is_patched_upgraded_and_goes_back(thing: Thing):
    bond, service = thing.bond, thing.service
    assert (thing.data, thing.names) == ({"colour": "blue", "version": "1.0.0"}, {"thing"})

    dry = await ends(await bond.services.patch(service, to="1.0.1", dry_run=True))
    assert (dry.steps[0].changes.create, dry.steps[0].changes.update) == (1, 1)
    assert thing.data["version"] == "1.0.0"
    patched = await ends(await bond.services.patch(service, to="1.0.1"))
    assert patched.steps[0].changes == dry.steps[0].changes
    assert (thing.data["version"], thing.names) == ("1.0.1", {"thing", "since-1.0.1"})

    await ends(await bond.services.patch(service, to="1.0.2"), OperationStatus.ROLLED_BACK)
    assert thing.data["version"] == "1.0.1"
    state = await bond.services.get(service)
    assert (state.resolved.revision.version, state.phase) == ("1.0.1", "ready")

    await ends(await bond.services.upgrade(service, to="1.1.0"))
    assert thing.data == {"colour": "blueish", "version": "1.1.0"}
    assert await bond.services.outputs(service) == thing.data
    await ends(await bond.services.rollback(service))
    assert (thing.data, thing.names) == ({"colour": "blue", "version": "1.0.1"}, {"thing", "since-1.0.1"})
    assert await bond.services.outputs(service) == thing.data


async def test_drift_is_found_and_undone_and_in_the_end_all_of_it_goes(thing: Thing):
    bond, service = thing.bond, thing.service
    assert (await ends(await bond.services.reconcile(service))).drift == 0
    thing.by_hand(colour="pink")
    result = await ends(await bond.services.reconcile(service))
    assert (result.drift, result.steps[0].drift) == (1, (f"v1/ConfigMap/{thing.namespace}/thing",))
    assert thing.data["colour"] == "pink"
    await ends(await bond.services.reconcile(service, repair=True))
    assert thing.data["colour"] == "blue"
    thing.plane.call("DELETE", f"{thing.path}/thing")
    await ends(await bond.services.reconcile(service, repair=True))
    assert thing.data["colour"] == "blue"
    await ends(await bond.services.decommission(service))
    assert thing.names == set()


async def test_policies_see_the_manifests_and_people_approve_exactly_one_plan(
    thing: Thing, platform: LocalPlatform
):
    bond, service = thing.bond, thing.service
    denied = await ends(await bond.services.update(service, {"colour": "forbidden"}), OperationStatus.FAILED)
    assert denied.error is not None
    assert "that colour is forbidden" in json.dumps(denied.model_dump(mode="json"))
    assert thing.data["colour"] == "blue"

    operation = await bond.services.update(service, {"colour": "red"}, ask=True)
    async with asyncio.timeout(120):
        while not (approvals := (await bond.operations.record(operation.id)).approvals):  # noqa: ASYNC110 - a fact of other processes
            await asyncio.sleep(0.1)
    [plan] = await operation.plans()
    [change] = plan.changes
    assert (approvals[0].digest, change.action, change.type) == (plan.digest, "update", "ConfigMap")
    async with platform.client("grace") as grace:
        request = grace.operation(operation.id)
        with pytest.raises(BondError, match="waits for a word on plan"):
            await request.approve("0" * 64, step="app")
        # meanwhile somebody is at it by hand: what was approved still says all that happens
        thing.by_hand(colour="pink")
        await request.approve(plan.digest, step="app")
    record = await ends(operation)
    assert [approval.digest for approval in record.approvals] == [plan.digest], "nobody was asked twice"
    assert thing.data["colour"] == "red"


@pytest.mark.kills
async def test_workers_and_their_tools_die_in_the_middle_of_a_patch_and_it_goes_on(platform, control_plane):
    async with (
        a_thing("helm", platform, control_plane) as chart,
        a_thing("kubernetes", platform, control_plane) as manifests,
    ):
        things = (chart, manifests)
        operations = [await each.bond.services.patch(each.service, to="1.0.3") for each in things]
        async with asyncio.timeout(120):
            while any(each.data["version"] != "1.0.3" for each in things):  # noqa: ASYNC110 - of other processes
                await asyncio.sleep(0.05)
        kill_all(platform.workers("executor").values())
        releases = chart.plane.call(
            "GET", f"/api/v1/namespaces/{chart.namespace}/secrets?labelSelector=owner%3Dhelm"
        )
        assert releases["items"][-1]["metadata"]["labels"]["status"] == "pending-upgrade"
        for each in things:
            claim = {"namespace": each.namespace, "name": "held"}
            spec = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}}
            volume = {"metadata": {"name": each.namespace}, "spec": {**spec, "claimRef": claim}}
            control_plane.call("POST", "/api/v1/persistentvolumes", volume)
        for operation in operations:
            await ends(operation)
        for each in things:
            assert each.names == {"thing", "since-1.0.1"}
            assert (await ends(await each.bond.services.reconcile(each.service))).drift == 0
            await ends(await each.bond.services.decommission(each.service))
            assert each.names == set()
            control_plane.call("DELETE", f"/api/v1/persistentvolumes/{each.namespace}")


def kill_all(pids: Iterable[int]) -> None:
    """Hosts that go down: the workers and all that they started, with no time to say anything."""
    family = [
        item for pid in pids for item in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True))
    ]
    for process in family:
        process.suspend()
    for process in family:
        process.kill()
    psutil.wait_procs(family, timeout=60)


def test_no_workflow_knows_an_executor():
    for path in (ROOT / "workflows").glob("*.py"):
        tree = ast.parse(path.read_text())
        words = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        assert not words & {"terraform", *KINDS}, path
